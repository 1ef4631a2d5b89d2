"""Rules of Coral's compiler for each operator: what it rejects, why, and what would map instead.

Source: Coral's documentation, "TensorFlow models on the Edge TPU" (model requirements, supported operations). The
comment of each rule names the published logs and compiled models that settle open points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orilla.runtime.tflite.graph import Operator, Tensor

UNKNOWN = "Operation not supported"
VERSION = "Operation version not supported"
DTYPE = "Operation is working on an unsupported data type"
LIMIT = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"

BYTES = ("INT8", "UINT8")
MAX_SOFTMAX = 16_000
RESIZE_LIMIT = 16
"""Factor by which one resize may enlarge a side "to avoid loss in precision"; assumed."""

Refusal = tuple[str, str, str]
"""The compiler's words, the property of this operator, and an alternative that would map."""

Rule = Callable[[Operator], Refusal | None]


def refusal(operator: Operator) -> Refusal | None:
    """Return the reason why an operator itself is not mapped, or None."""
    if operator.name == "DEQUANTIZE":  # the compiler's logs show this
        return DTYPE, "its output is float", INSTEAD["DEQUANTIZE"]
    if operator.custom or operator.name not in RULES:
        return UNKNOWN, f"{operator.name} is not an operator of the Edge TPU", INSTEAD.get(operator.name, "")
    newest = VERSIONS.get(operator.name)
    if newest is not None and operator.version > newest:
        return VERSION, f"version {operator.version}, {newest} at most", INSTEAD.get(operator.name, "")
    return _dtype(operator) or _shape(operator) or RULES[operator.name](operator)


def _dtype(operator: Operator) -> Refusal | None:
    if operator.name == "QUANTIZE" and any(tensor.dtype == "FLOAT32" for tensor in operator.activations):
        return LIMIT, "its input is float", "export with uint8 or int8 input (recipe litert_wi8_ai8_u8)"
    state = ("INT16",) if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM" else ()
    for tensor in (*operator.activations, *operator.outputs):
        if tensor.dtype not in (*BYTES, *state):
            return DTYPE, f"{tensor.name} is {tensor.dtype}", "quantise the whole model to int8"
    return None


def _shape(operator: Operator) -> Refusal | None:
    for tensor in (*operator.activations, *operator.outputs):
        if tensor.dynamic or 0 in tensor.shape:
            return LIMIT, f"{tensor.name} has an axis of unknown size", "fix the input's shape, batch 1 included"
        if any(side > 1 for side in tensor.shape[:-3]):
            return RANK, f"{tensor.name} is {list(tensor.shape)}", "use batch 1 and at most three axes above 1"
    return None


def _always(_operator: Operator) -> Refusal | None:
    return None


def _no_activation(operator: Operator) -> Refusal | None:
    if operator.options is not None and operator.options.fusedActivationFunction != 0:
        return LIMIT, "it has a fused activation", "use a separate activation layer"
    return None


def _convolution(operator: Operator) -> Refusal | None:
    if _weights(operator) is None:
        return LIMIT, "its weights are computed", "make the weights constants"
    options = operator.options
    if options.dilationWFactor != options.dilationHFactor:
        return LIMIT, "its dilation differs in x and y", "use the same dilation in both axes"
    return None


def _fully_connected(operator: Operator) -> Refusal | None:
    weights = _weights(operator)
    if weights is None:
        return LIMIT, "its weights are computed", "make the weights constants"
    if operator.options is not None and operator.options.weightsFormat != 0:
        return LIMIT, "its weights are shuffled", "use the default weight format"
    # Dense layers with per-channel scales are newer than the compiler.
    if weights.scales > 1:
        return VERSION, "its weights are quantised per channel", "use per-tensor scales for dense layers"
    if any(side > 1 for side in operator.outputs[0].shape[:-1]):
        return LIMIT, f"its output is {list(operator.outputs[0].shape)}", "use one vector at a time"
    return None


def _weights(operator: Operator) -> Tensor | None:
    tensor = operator.inputs[1] if len(operator.inputs) > 1 else None
    return tensor if tensor is not None and tensor.constant is not None else None


def _transposed(operator: Operator) -> Refusal | None:
    weights = operator.inputs[1]
    return None if weights is not None and weights.constant is not None else (LIMIT, "its weights are computed", "")


def _concatenation(operator: Operator) -> Refusal | None:
    constants = operator.parameters
    zeros = all(not tensor.constant.any() for tensor in constants if tensor.constant is not None)
    if constants and (len(operator.inputs) > 2 or not zeros):
        return LIMIT, "one of its inputs is a constant", "use one input and a constant of zeros"
    return _no_activation(operator)


def _reduction(operator: Operator) -> Refusal | None:
    axes = _axes(operator)
    if axes is None:
        return LIMIT, "its axes are computed", "constant axes"
    shape = operator.activations[0].shape
    if len(shape) == 4 and 0 in axes:
        return LIMIT, "it reduces over the batch", "keep the first axis"
    if len(shape) - 1 in axes and len(shape) == 4 and shape[-1] % 4:
        return LIMIT, f"it reduces over {shape[-1]} channels", "a multiple of 4"
    return None


def _axes(operator: Operator) -> set[int] | None:
    numbers = operator.inputs[1].numbers() if len(operator.inputs) > 1 and operator.inputs[1] is not None else None
    rank = len(operator.activations[0].shape) if operator.activations else 0
    return None if numbers is None else {int(number) % rank for number in np.ravel(numbers)} if rank else set()


def _pad(operator: Operator) -> Refusal | None:
    pads = operator.inputs[1].numbers() if operator.inputs[1] is not None else None
    if pads is None:
        return LIMIT, "its padding is computed", "constant padding"
    if len(pads) == 4 and pads[0].any():
        return LIMIT, "it pads the batch", "pad height, width or channels"
    return None


def _resize(operator: Operator) -> Refusal | None:
    options, (height, width) = operator.options, operator.activations[0].shape[1:3]
    rows, columns = operator.outputs[0].shape[1:3]
    instead = "UpSampling by repeating (concatenation and reshape) or a transposed convolution"
    if getattr(options, "halfPixelCenters", False):
        return VERSION, "half-pixel centres are newer than the compiler", instead
    grows = (rows > height == 1) or (columns > width == 1)
    if grows or rows > RESIZE_LIMIT * height or columns > RESIZE_LIMIT * width:
        return LIMIT, f"from {height}x{width} to {rows}x{columns}: precision would be lost", instead
    return None


def _softmax(operator: Operator) -> Refusal | None:
    shape = operator.activations[0].shape
    if any(side > 1 for side in shape[:-1]) or shape[-1] > MAX_SOFTMAX:
        return (
            LIMIT,
            f"its input is {list(shape)}",
            f"use one vector of at most {MAX_SOFTMAX} values, or compute it on the host",
        )
    return None


def _strided_slice(operator: Operator) -> Refusal | None:
    strides = operator.inputs[3].numbers() if len(operator.inputs) > 3 and operator.inputs[3] is not None else None
    options = operator.options
    if strides is None or (strides != 1).any() or options.ellipsisMask or options.newAxisMask:
        return LIMIT, "strides other than 1, or masks", "strides of 1"
    return None


def _split(operator: Operator) -> Refusal | None:
    axis = operator.inputs[0].numbers() if operator.inputs[0] is not None else None
    if axis is not None and int(np.ravel(axis)[0]) == 0:
        return LIMIT, "it splits the batch", "split another axis"
    return None


def _prelu(operator: Operator) -> Refusal | None:
    alpha = operator.inputs[1]
    if alpha is None or sum(side > 1 for side in alpha.shape) > 1:
        return LIMIT, "it has a slope for each position", "use PReLU with shared_axes=[1, 2]"
    return None


RULES: dict[str, Rule] = {
    "ADD": _always,
    "AVERAGE_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "EXPAND_DIMS": _always,
    "FULLY_CONNECTED": _fully_connected,
    "L2_NORMALIZATION": _always,
    "LOGISTIC": _always,
    "MAXIMUM": _always,
    "MAX_POOL_2D": _no_activation,
    "MEAN": _reduction,
    "MINIMUM": _always,
    "MUL": _always,
    "PACK": _always,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _always,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RELU": _always,
    "RELU6": _always,
    "RELU_N1_TO_1": _always,
    "RESHAPE": _always,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RSQRT": _always,
    "SLICE": _always,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _always,
    "SPLIT": _split,
    "SQUARED_DIFFERENCE": _always,
    "SQUEEZE": _always,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _always,
    "SUM": _reduction,
    "TANH": _always,
    "TRANSPOSE": _always,
    "TRANSPOSE_CONV": _transposed,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _always,
}
"""Operators that runtime 14 knows, and further rules for each. Source: Coral's documentation, supported operations;
google-coral/edgetpu, CHANGES.md."""

VERSIONS = {"RESIZE_BILINEAR": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "TRANSPOSE_CONV": 2}
"""Newest operator versions that the compiler accepts. Source: google-coral/edgetpu issues 420 and 147."""

INSTEAD = {
    "LEAKY_RELU": "ReLU, or PReLU with shared_axes=[1, 2]",
    "ELU": "ReLU",
    "HARD_SWISH": "ReLU6",
    "GELU": "ReLU",
    "ARG_MAX": "on the host, on the scores",
    "GATHER": "an embedding stays on the host: give the network vectors",
    "DEPTH_TO_SPACE": "a transposed convolution",
    "DEQUANTIZE": "export with uint8 or int8 output (recipe litert_wi8_ai8_u8)",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "two one-way LSTMs",
    "WHILE": "the fused form of the LSTM (recipe litert_wi8_ai8_fused)",
    "RESIZE_NEAREST_NEIGHBOR": "repeating by concatenation and reshape",
    "RESIZE_BILINEAR": "repeating by concatenation and reshape, or a transposed convolution",
    "TRANSPOSE_CONV": "a transposed convolution without bias, then an addition",
}
"""Alternatives to operators that are never mapped."""
