"""Convert samples of a data set into inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.runtime.evaluation.datasets.dataset import ArraySample, ClassifiedText, Sample
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, ModelInput, RawInput


def raw_of(sample: Sample) -> RawInput:
    """Return the raw input of a sample: an image, a string, or arrays by name."""
    if isinstance(sample, ArraySample):
        return sample.arrays
    return sample.text if isinstance(sample, ClassifiedText) else sample.image


def named_raw(sample: Sample, preprocessor: InputPreprocessor) -> RawInput:
    """Return the raw input of a sample. If the network has one input, a single array gets the name of this input."""
    raw = raw_of(sample)
    names = preprocessor.input_names
    if isinstance(raw, Mapping) and len(names) == len(raw) == 1:
        return {names[0]: next(iter(raw.values()))}
    return raw


def prepared(sample: Sample, preprocessor: InputPreprocessor) -> ModelInput:
    """Return the network's input for a sample.

    If the network has one input, the name of the sample's array is ignored.
    """
    return preprocessor(named_raw(sample, preprocessor))
