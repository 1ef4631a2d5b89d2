"""Rules of Coral's compiler: which operators it rejects, for what reason, and which operators can replace them.

Source: Coral's documentation, "TensorFlow models on the Edge TPU" (model requirements, supported operations). Where the
documentation is incomplete, the rules follow published logs and compiled models.
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
"""Largest factor by which one operator may enlarge the height or width.

The documentation mentions a limit "to avoid loss in precision", but not its value. This value is an assumption.
"""

Refusal = tuple[str, str, str]
"""The compiler's message, the property of the operator that causes it, and an alternative that would be mapped."""

Rule = Callable[[Operator], Refusal | None]


def refusal(operator: Operator) -> Refusal | None:
    """Return the reason why an operator is rejected for its own properties, or None if it is not rejected."""
    if operator.name == "DEQUANTIZE":  # The compiler's logs show this rejection.
        return DTYPE, "its output is float", INSTEAD["DEQUANTIZE"]
    if operator.custom or operator.name not in RULES:
        return UNKNOWN, f"the Edge TPU has no operator {operator.name}", INSTEAD.get(operator.name, "")
    newest = VERSIONS.get(operator.name)
    if newest is not None and operator.version > newest:
        return (
            VERSION,
            f"its version is {operator.version}, but the compiler accepts at most {newest}",
            INSTEAD.get(operator.name, ""),
        )
    return _dtype(operator) or _shape(operator) or RULES[operator.name](operator)


def _dtype(operator: Operator) -> Refusal | None:
    if operator.name == "QUANTIZE" and any(tensor.dtype == "FLOAT32" for tensor in operator.activations):
        return LIMIT, "its input is float", "export with uint8 or int8 inputs (recipe litert_wi8_ai8_u8)"
    state = ("INT16",) if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM" else ()
    for tensor in (*operator.activations, *operator.outputs):
        if tensor.dtype not in (*BYTES, *state):
            return DTYPE, f"tensor {tensor.name} has type {tensor.dtype}", "quantise the whole model to int8"
    return None


def _shape(operator: Operator) -> Refusal | None:
    for tensor in (*operator.activations, *operator.outputs):
        if tensor.dynamic or 0 in tensor.shape:
            return (
                LIMIT,
                f"tensor {tensor.name} has an axis of unknown size",
                "fix the shape of the input, with batch size 1",
            )
        if any(side > 1 for side in tensor.shape[:-3]):
            return (
                RANK,
                f"tensor {tensor.name} has shape {list(tensor.shape)}",
                "make only the last three axes larger than 1",
            )
    return None


def _always(_operator: Operator) -> Refusal | None:
    return None


def _no_activation(operator: Operator) -> Refusal | None:
    if operator.options is not None and operator.options.fusedActivationFunction != 0:
        return LIMIT, "it has a fused activation", "use a separate activation layer"
    return None


def _convolution(operator: Operator) -> Refusal | None:
    if _weights(operator) is None:
        return LIMIT, "its weights are computed at run time", "use constant weights"
    options = operator.options
    if options.dilationWFactor != options.dilationHFactor:
        return LIMIT, "its dilation differs between height and width", "use the same dilation for both"
    return None


def _fully_connected(operator: Operator) -> Refusal | None:
    weights = _weights(operator)
    if weights is None:
        return LIMIT, "its weights are computed at run time", "use constant weights"
    if operator.options is not None and operator.options.weightsFormat != 0:
        return LIMIT, "its weights have a shuffled format", "use the default weight format"
    # The compiler predates per-channel scales for dense layers.
    if len(weights.scales) > 1:
        return VERSION, "its weights are quantised per channel", "use per-tensor scales for dense layers"
    if any(side > 1 for side in operator.outputs[0].shape[:-1]):
        return LIMIT, f"its output has shape {list(operator.outputs[0].shape)}", "use one vector at a time"
    return None


def _weights(operator: Operator) -> Tensor | None:
    tensor = operator.inputs[1] if len(operator.inputs) > 1 else None
    return tensor if tensor is not None and tensor.constant is not None else None


def _transposed(operator: Operator) -> Refusal | None:
    weights = operator.inputs[1]
    return (
        None
        if weights is not None and weights.constant is not None
        else (LIMIT, "its weights are computed at run time", "")
    )


def _concatenation(operator: Operator) -> Refusal | None:
    constants = operator.parameters
    zeros = all(not tensor.constant.any() for tensor in constants if tensor.constant is not None)
    if constants and (len(operator.inputs) > 2 or not zeros):
        return (
            LIMIT,
            "one of its inputs is a constant",
            "concatenate one input with one constant that contains only zeros",
        )
    return _no_activation(operator)


def _reduction(operator: Operator) -> Refusal | None:
    axes = _axes(operator)
    if axes is None:
        return LIMIT, "its axes are computed at run time", "use constant axes"
    shape = operator.activations[0].shape
    if len(shape) == 4 and 0 in axes:
        return LIMIT, "it reduces the batch axis", "do not reduce the first axis"
    if len(shape) - 1 in axes and len(shape) == 4 and shape[-1] % 4:
        return LIMIT, f"it reduces an axis of {shape[-1]} channels", "use a multiple of 4 channels"
    return None


def _axes(operator: Operator) -> set[int] | None:
    numbers = operator.inputs[1].numbers() if len(operator.inputs) > 1 and operator.inputs[1] is not None else None
    rank = len(operator.activations[0].shape) if operator.activations else 0
    return None if numbers is None else {int(number) % rank for number in np.ravel(numbers)} if rank else set()


def _pad(operator: Operator) -> Refusal | None:
    pads = operator.inputs[1].numbers() if operator.inputs[1] is not None else None
    if pads is None:
        return LIMIT, "its padding is computed at run time", "use constant padding"
    if len(pads) == 4 and pads[0].any():
        return LIMIT, "it pads the batch axis", "pad only height, width or channels"
    return None


def _resize(operator: Operator) -> Refusal | None:
    options, (height, width) = operator.options, operator.activations[0].shape[1:3]
    rows, columns = operator.outputs[0].shape[1:3]
    instead = "repeat the values with concatenation and reshape operators, or use a transposed convolution"
    if getattr(options, "halfPixelCenters", False):
        return VERSION, "it uses half-pixel centres, which are newer than the compiler", instead
    grows = (rows > height == 1) or (columns > width == 1)
    if grows or rows > RESIZE_LIMIT * height or columns > RESIZE_LIMIT * width:
        return LIMIT, f"it resizes {height}x{width} to {rows}x{columns}, which would lose precision", instead
    return None


def _softmax(operator: Operator) -> Refusal | None:
    shape = operator.activations[0].shape
    if any(side > 1 for side in shape[:-1]) or shape[-1] > MAX_SOFTMAX:
        return (
            LIMIT,
            f"its input has shape {list(shape)}",
            f"use one vector of at most {MAX_SOFTMAX} values, or compute the softmax on the host",
        )
    return None


def _strided_slice(operator: Operator) -> Refusal | None:
    strides = operator.inputs[3].numbers() if len(operator.inputs) > 3 and operator.inputs[3] is not None else None
    options = operator.options
    if strides is None or (strides != 1).any() or options.ellipsisMask or options.newAxisMask:
        return (
            LIMIT,
            "it has an ellipsis, a new axis, or strides other than the constant 1",
            "use indices with strides of 1",
        )
    return None


def _split(operator: Operator) -> Refusal | None:
    axis = operator.inputs[0].numbers() if operator.inputs[0] is not None else None
    if axis is not None and int(np.ravel(axis)[0]) == 0:
        return LIMIT, "it splits the batch axis", "split another axis"
    return None


def _prelu(operator: Operator) -> Refusal | None:
    alpha = operator.inputs[1]
    if alpha is None or sum(side > 1 for side in alpha.shape) > 1:
        return LIMIT, "it has a separate slope for each position", "use PReLU with shared_axes=[1, 2]"
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
"""Operators that version 14 of the runtime supports, and the rule for each.

Sources: Coral's documentation, supported operations; google-coral/edgetpu, CHANGES.md.
"""

VERSIONS = {"RESIZE_BILINEAR": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "TRANSPOSE_CONV": 2}
"""Newest version of each operator that the compiler accepts. Source: google-coral/edgetpu issues 420 and 147."""

INSTEAD = {
    "LEAKY_RELU": "use ReLU, or PReLU with shared_axes=[1, 2]",
    "ELU": "use ReLU",
    "HARD_SWISH": "use ReLU6",
    "GELU": "use ReLU",
    "ARG_MAX": "compute the argmax on the host from the scores",
    "GATHER": "compute the embedding on the host, and pass vectors to the network",
    "DEPTH_TO_SPACE": "use a transposed convolution",
    "DEQUANTIZE": "export with uint8 or int8 outputs (recipe litert_wi8_ai8_u8)",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "use two unidirectional LSTMs",
    "WHILE": "use the fused form of the LSTM (recipe litert_wi8_ai8_fused)",
    "RESIZE_NEAREST_NEIGHBOR": "repeat the values with concatenation and reshape operators",
    "RESIZE_BILINEAR": "repeat the values with concatenation and reshape operators, or use a transposed convolution",
    "TRANSPOSE_CONV": "use a transposed convolution without bias, followed by an addition",
}
"""Alternatives to operators that are rejected because of their kind or version."""
