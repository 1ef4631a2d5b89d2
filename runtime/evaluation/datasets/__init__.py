"""Data sets, one file per kind. Training, export and verification read them with the same code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orilla.runtime.bundle.card import Source
    from orilla.runtime.evaluation.datasets.dataset import (
        ArraySample,
        BoxedImage,
        ClassifiedImage,
        ClassifiedText,
        Dataset,
        LabelledImage,
        Sample,
    )
    from orilla.runtime.evaluation.datasets.registry import open_dataset

__all__ = [
    "ArraySample",
    "BoxedImage",
    "ClassifiedImage",
    "ClassifiedText",
    "Dataset",
    "LabelledImage",
    "Sample",
    "Source",
    "open_dataset",
]

_HOMES = {"Source": "orilla.runtime.bundle.card", "open_dataset": f"{__name__}.registry"}
"""Modules of the public names that are not in the module `dataset`."""


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, because the options of commands do not need NumPy."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES.get(name, f"{__name__}.dataset")), name)
