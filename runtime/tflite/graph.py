"""The operators of a `.tflite` file, in the order they run, with the tensors they read and write."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from orilla.devices.errors import DataError, MissingExtraError

BITS = {
    "FLOAT64": 64,
    "INT64": 64,
    "UINT64": 64,
    "FLOAT16": 16,
    "INT16": 16,
    "INT8": 8,
    "UINT8": 8,
    "BOOL": 8,
    "INT4": 4,
}
"""Of an element; 32 of every other type."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One value of the graph; itself, wherever it is read."""

    name: str
    dtype: str
    """The schema's name, such as `INT8`."""
    shape: tuple[int, ...]
    constant: np.ndarray | None
    """Its content as bytes, where the file holds it."""
    dynamic: bool
    """Whether a side is open until the model runs."""
    scales: int
    """How many scales it has; more than one is per channel."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.size * BITS.get(self.dtype, 32) // 8

    def numbers(self) -> np.ndarray | None:
        """The content of a constant of int32 or int64, in its shape."""
        if self.constant is None or self.dtype not in ("INT32", "INT64"):
            return None
        kind = np.int32 if self.dtype == "INT32" else np.int64
        return np.frombuffer(self.constant.tobytes(), kind).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """One step."""

    name: str
    """The schema's name, such as `CONV_2D`; of a custom operator its own."""
    custom: bool
    version: int
    inputs: tuple[Tensor | None, ...]
    """In the operator's order; None where one is left out."""
    outputs: tuple[Tensor, ...]
    options: Any
    """The schema's table of options, or None."""

    @property
    def given(self) -> list[Tensor]:
        """What is not in the file: activations, not weights."""
        return [one for one in self.inputs if one is not None and one.constant is None]

    @property
    def parameters(self) -> list[Tensor]:
        """What is in the file."""
        return [one for one in self.inputs if one is not None and one.constant is not None]


def read_operators(data: bytes, name: str) -> tuple[Operator, ...]:
    """Reads the operators of a `.tflite` file's main graph.

    Args:
        data: the file.
        name: of the file, in messages.

    Raises:
        DataError: it is none, or damaged.
        MissingExtraError: the schema is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        msg = "ai_edge_litert"
        raise MissingExtraError(msg, "export") from error
    if data[4:8] != b"TFL3":
        msg = f"{name} is no .tflite file"
        raise DataError(msg)
    try:
        return _operators(schema.ModelT.InitFromPackedBuf(data, 0), data, schema)
    except (struct.error, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        msg = f"{name} is damaged: {error}"
        raise DataError(msg) from error


def _operators(model: Any, data: bytes, schema: Any) -> tuple[Operator, ...]:
    types, operators = _names(schema.TensorType), _names(schema.BuiltinOperator)
    main = model.subgraphs[0]
    tensors = [_tensor(one, model.buffers[one.buffer], types, data) for one in main.tensors]
    found = []
    for step in main.operators:
        code = model.operatorCodes[step.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = number == schema.BuiltinOperator.CUSTOM
        found.append(
            Operator(
                _text(code.customCode) if custom else operators[number],
                custom,
                code.version,
                tuple(tensors[place] if place >= 0 else None for place in step.inputs),
                tuple(tensors[place] for place in step.outputs),
                step.builtinOptions,
            )
        )
    return tuple(found)


def _tensor(one: Any, buffer: Any, types: dict[int, str], data: bytes) -> Tensor:
    shape = () if one.shape is None else tuple(int(side) for side in one.shape)
    open_sides = one.shapeSignature is not None and any(side < 0 for side in one.shapeSignature)
    content = buffer.data
    if content is None and buffer.offset > 1:  # behind the tables, in files above two gigabytes
        content = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
    scales = one.quantization.scale if one.quantization is not None else None
    return Tensor(
        _text(one.name),
        types[one.type],
        shape,
        None if content is None or len(content) == 0 else np.asarray(content, np.uint8),
        bool(open_sides),
        0 if scales is None else len(scales),
    )


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""
