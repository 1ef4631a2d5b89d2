"""Count the work of an inference by kind, from the operators of a `.tflite` file."""

from __future__ import annotations

import math

import msgspec

from orilla.devices.errors import DataError
from orilla.runtime.tflite.graph import Operator, read_operators

OPAQUE = (
    "BATCH_MATMUL",
    "WHILE",
    "IF",
    "CALL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "STABLEHLO_COMPOSITE",
)
"""Operators whose work cannot be computed from the graph."""


class Work(msgspec.Struct, frozen=True):
    """Work of one inference."""

    dense: float
    """Multiply-accumulates of convolutions over all channels, in millions."""
    depthwise: float
    """Multiply-accumulates of depthwise convolutions, in millions."""
    connected: float
    """Multiply-accumulates of dense layers, in millions. Each multiply-accumulate reads its own weight."""
    values: float
    """Number of values, excluding weights, that operators read and write, in millions."""
    ops: float
    """Number of operators."""

    def cost(self, unit: Work) -> float:
        """Return the total cost, given the cost of one unit of each kind of work."""
        return float(sum(getattr(self, kind) * getattr(unit, kind) for kind in KINDS))


KINDS = tuple(Work.__struct_fields__)


def work_of(data: bytes, name: str) -> Work:
    """Count the work of one inference with the model in a `.tflite` file.

    Raises:
        DataError: The file is invalid, or the work of an operator is unknown.
    """
    work = dict.fromkeys(KINDS, 0.0)
    for operator in read_operators(data, name):
        if operator.custom or operator.name in OPAQUE:
            msg = f"{name} has the operator {operator.name}, whose work is unknown"
            raise DataError(msg)
        kind, macs = work_of_operator(operator)
        if kind is not None:
            work[kind] += macs / 1e6
        work["values"] += sum(tensor.size for tensor in (*operator.activations, *operator.outputs)) / 1e6
        work["ops"] += 1
    return Work(**work)


def work_of_operator(operator: Operator) -> tuple[str | None, float]:
    """Return an operator's kind of work and the number of its multiply-accumulates.

    The kind is None if the operator has no multiply-accumulates.
    """
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D"):
        return None, 0.0
    weights = next((tensor for tensor in operator.inputs[1:] if tensor is not None and len(tensor.shape) >= 2), None)
    if weights is None:
        return None, 0.0
    if operator.name == "FULLY_CONNECTED":
        return "connected", weights.size * max(1, operator.outputs[0].size // max(1, weights.shape[0]))
    if operator.name == "TRANSPOSE_CONV":
        source = operator.activations[-1]
        return "dense", weights.size * math.prod(source.shape[1:-1])
    places = math.prod(operator.outputs[0].shape[1:-1])
    return ("depthwise" if operator.name == "DEPTHWISE_CONV_2D" else "dense"), weights.size * places
