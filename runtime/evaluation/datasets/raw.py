"""Convert samples of a data set into inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.runtime.evaluation.datasets.dataset import ArraySample, ClassifiedText, Sample
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.tensor import TensorPreprocess


def raw_of(sample: Sample) -> RawInput:
    """Return the raw input of a sample: an image, a string, or arrays by name."""
    if isinstance(sample, ArraySample):
        return sample.arrays
    return sample.text if isinstance(sample, ClassifiedText) else sample.image


def prepared(sample: Sample, preprocessor: InputPreprocessor) -> ModelInput:
    """Return the network's input for a sample. If the network has one input, the sample's array may have any name."""
    raw, spec = raw_of(sample), preprocessor.spec
    if isinstance(spec, TensorPreprocess) and isinstance(raw, Mapping) and len(spec.inputs) == len(raw) == 1:
        raw = {spec.inputs[0].name: next(iter(raw.values()))}
    return preprocessor(raw)
