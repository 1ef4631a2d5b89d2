"""How much work an inference is, by kind, from the operators of a `.tflite` file."""

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
"""Operators whose work the graph around them does not tell."""


class Work(msgspec.Struct, frozen=True):
    """Of one inference."""

    dense: float
    """Million multiply-accumulates of convolutions over all channels."""
    depthwise: float
    """Million multiply-accumulates of depthwise convolutions."""
    connected: float
    """Million multiply-accumulates of dense layers, each of which reads a weight of its own."""
    values: float
    """Million values that operators read and write, weights not counted."""
    ops: float
    """Operators."""

    def cost(self, unit: Work) -> float:
        """The sum over all kinds, with what one of each costs."""
        return float(sum(getattr(self, kind) * getattr(unit, kind) for kind in KINDS))


KINDS = tuple(Work.__struct_fields__)


def work_of(data: bytes, name: str) -> Work:
    """Counts a file's operators.

    Raises:
        DataError: no such file, or operators that don't tell.
    """
    found = dict.fromkeys(KINDS, 0.0)
    for operator in read_operators(data, name):
        if operator.custom or operator.name in OPAQUE:
            msg = f"{name} has the operator {operator.name}, whose work is not known"
            raise DataError(msg)
        kind, macs = _macs(operator)
        if kind is not None:
            found[kind] += macs / 1e6
        found["values"] += sum(one.size for one in (*operator.given, *operator.outputs)) / 1e6
        found["ops"] += 1
    return Work(**found)


def _macs(operator: Operator) -> tuple[str | None, float]:
    """Kind and multiply-accumulates; None of an operator that only moves values."""
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D"):
        return None, 0.0
    weights = next((one for one in operator.inputs[1:] if one is not None and len(one.shape) >= 2), None)
    if weights is None:
        return None, 0.0
    if operator.name == "FULLY_CONNECTED":
        return "connected", weights.size * max(1, operator.outputs[0].size // max(1, weights.shape[0]))
    if operator.name == "TRANSPOSE_CONV":
        source = operator.given[-1]
        return "dense", weights.size * math.prod(source.shape[1:-1])
    places = math.prod(operator.outputs[0].shape[1:-1])
    return ("depthwise" if operator.name == "DEPTHWISE_CONV_2D" else "dense"), weights.size * places
