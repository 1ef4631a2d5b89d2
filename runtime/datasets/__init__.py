"""Labelled data, read the same way by training, export and verification; one file for each kind."""

from orilla.runtime.datasets.labelled import (
    ClassifiedImage,
    ClassifiedText,
    Dataset,
    LabelledImage,
    Sample,
    Source,
    open_dataset,
)

__all__ = ["ClassifiedImage", "ClassifiedText", "Dataset", "LabelledImage", "Sample", "Source", "open_dataset"]
