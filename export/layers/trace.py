"""The interface of a trace: a model file whose intermediate tensors can be read after each inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.engines.session import Binding
from orilla.runtime.preprocessing.input_kind import ModelInput

MODULES = {"tflite": "orilla.export.layers.litert_trace", "onnx": "orilla.export.layers.onnx_trace"}
"""Module with the function `open_trace` for each format of model files."""

INPUT = "input"
"""Operator of a tensor that is an input of the model."""


@dataclass(frozen=True, slots=True)
class TracedTensor:
    """A tensor that the model computes, or an input of the model."""

    name: str
    operator: str
    """Type of the operator that computes the tensor, such as `CONV_2D` or `Conv`, or `INPUT`."""
    reads: tuple[str, ...]
    """Names of the computed tensors that the operator reads."""
    span: tuple[float, float] | None
    """Smallest and largest real number that the tensor can represent. None if the tensor is not quantised."""
    step: float
    """Difference between two adjacent quantised values. 0 if the tensor is not quantised."""


class Trace(Protocol):
    """A model file that is opened to read its intermediate tensors."""

    tensors: tuple[TracedTensor, ...]
    """The tensors in the order of their computation."""
    channels_first: bool
    """True if the channels of a tensor with four axes are its second axis, False if they are its last axis."""

    def run(self, prepared: ModelInput) -> Mapping[str, NDArray[np.float32]]:
        """Run one inference on a prepared sample. Return the dequantised tensors by name, with the batch axis."""


def open_trace(format_: str, data: bytes, binding: Binding) -> Trace:
    """Open the content of a model file.

    Args:
        format_: Format of the file: `tflite` or `onnx`.
        data: Content of the file.
        binding: Mapping of the names and pixel values of the bundle.
    """
    trace: Trace = import_module(MODULES[format_]).open_trace(data, binding)
    return trace
