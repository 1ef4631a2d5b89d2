"""Labelled data, read the same way by training, export and verification; one file for each kind."""

from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets.dataset import (
    ArraySample,
    ClassifiedImage,
    ClassifiedText,
    Dataset,
    LabelledImage,
    Sample,
    open_dataset,
)

__all__ = [
    "ArraySample",
    "ClassifiedImage",
    "ClassifiedText",
    "Dataset",
    "LabelledImage",
    "Sample",
    "Source",
    "open_dataset",
]
