"""Data sets, one file per kind. Training, export and verification read them with the same code."""

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
