"""Labelled pictures, read the same way by training, export and verification."""

from orilla.runtime.datasets.labelled import Dataset, LabelledImage, Source, open_dataset

__all__ = ["Dataset", "LabelledImage", "Source", "open_dataset"]
