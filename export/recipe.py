"""Read and select the recipes in `recipes.toml`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, unknown_name
from orilla.export.model_info import ModelInfo

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}
"""Suffix of model files. The keys are the file formats."""


def _rewritten(data: bytes) -> bytes:
    from orilla.runtime.tflite.rewrite import rewritten  # It imports NumPy, which the help does not need.

    return rewritten(data)


COMPACT: dict[str, Callable[[bytes], bytes]] = {"tflite": _rewritten}
"""For some file formats, the function that makes a converted file smaller without changing its network."""

GROUPS = ("all", "fast")
"""Names that select several recipes."""

IMPORT_DEFAULT = "default"
"""Default selection for an imported model: an unchanged copy of the file and, with calibration data, int8 in the same
format."""

Need = Literal["lstm", "no loops", "no sequences", "no convolutions"]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to build a variant. Functions are given in the form `module:function`."""

    format: str
    """Format of the file: `tflite` or `onnx`."""
    base: str
    """Function that converts the Keras model to a file. It runs once for all recipes with the same base."""
    weights: str
    activations: str
    quantise: str | None = None
    """Function that makes the variant from the converted file. If None, the converted file is the variant."""
    options: dict[str, str | list[str]] = {}
    """Additional arguments of `quantise`."""
    sequences: str | None = None
    """Function that replaces `base` and `quantise` for models with recurrent layers or embeddings."""
    calibrated: bool = False
    """True if the recipe needs calibration samples."""
    needs: tuple[Need, ...] = ()
    accelerator: str | None = None
    """Accelerator for which the variant is made, such as `edgetpu`. None for variants for any machine."""
    fast: bool = False
    verbatim: bool = False
    """True if the converted file keeps every byte, and is not made smaller."""

    def fit(self, info: ModelInfo) -> Recipe:
        """Return the recipe for a model. `sequences` replaces `base` and `quantise` if the model needs it."""
        if self.sequences is None or not (info.recurrent or info.embeddings):
            return self
        return msgspec.structs.replace(self, base=self.sequences, quantise=None, options={})

    def not_applicable(self, info: ModelInfo) -> str | None:
        """Return the reason why the recipe does not apply to a model, or None if it applies."""
        return next((reason for need in self.needs if (reason := _UNMET[need](info)) is not None), None)


def _lstm(info: ModelInfo) -> str | None:
    return info.not_fused if info.recurrent else "the model has no LSTM"


def _no_loops(info: ModelInfo) -> str | None:
    return (
        "recurrent layers become loops, which cannot be quantised; use a recipe whose name ends in _fused"
        if info.recurrent
        else None
    )


def _no_sequences(info: ModelInfo) -> str | None:
    skipped = ", ".join([*info.recurrent, *info.embeddings])
    return f"the quantiser does not support the layers {skipped}" if skipped else None


def _no_convolutions(info: ModelInfo) -> str | None:
    # Source: ONNX Runtime's documentation, "Quantize ONNX models", which recommends dynamic quantisation for RNNs and
    # transformers, and static quantisation for CNNs.
    return "dynamically quantised convolutions are slower than float convolutions" if info.convolutions else None


_UNMET: dict[Need, Callable[[ModelInfo], str | None]] = {
    "lstm": _lstm,
    "no loops": _no_loops,
    "no sequences": _no_sequences,
    "no convolutions": _no_convolutions,
}


@cache
def recipes() -> dict[str, Recipe]:
    """Return all recipes by name, in the order of `recipes.toml`."""
    from orilla.devices import toml

    rows = toml.loads(files("orilla.export").joinpath("recipes.toml").read_text())
    return {name: msgspec.convert(row, Recipe) for name, row in rows.items()}


def select(text: str) -> dict[str, Recipe]:
    """Return the recipes that a string selects.

    Args:
        text: `all`, `fast`, or names of recipes separated by commas.

    Raises:
        ConfigError: A name is unknown, or there is no name.
    """
    known = recipes()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        msg = f"recipes={text!r} selects no recipe: choose from all, fast, {', '.join(known)}"
        raise ConfigError(msg)
    selected: dict[str, Recipe] = {}
    for name in names:
        if name in GROUPS:
            selected |= {key: recipe for key, recipe in known.items() if recipe.fast or name == "all"}
        elif name in known:
            selected[name] = known[name]
        else:
            raise unknown_name(name, [*GROUPS, *known], kind="recipe")
    return selected
