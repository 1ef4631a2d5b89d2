"""Operators of a `.tflite` file in execution order, with their tensors."""

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
"""Bits per element; 32 for every other type."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One value of the graph. Operators that read the same value share the object."""

    name: str
    dtype: str
    """Type name in the schema, such as `INT8`."""
    shape: tuple[int, ...]
    constant: np.ndarray | None
    """Content as bytes if the file contains it, else None."""
    dynamic: bool
    """True if a side is unknown until the model runs."""
    scales: int
    """Number of scales; more than one means per channel."""

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the size in bytes."""
        return self.size * BITS.get(self.dtype, 32) // 8

    def numbers(self) -> np.ndarray | None:
        """Return the content of an int32 or int64 constant, in its shape."""
        if self.constant is None or self.dtype not in ("INT32", "INT64"):
            return None
        kind = np.int32 if self.dtype == "INT32" else np.int64
        return np.frombuffer(self.constant.tobytes(), kind).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator."""

    name: str
    """Operator name in the schema, such as `CONV_2D`, or the name of a custom operator."""
    custom: bool
    version: int
    inputs: tuple[Tensor | None, ...]
    """Inputs in the operator's order; None for an omitted one."""
    outputs: tuple[Tensor, ...]
    options: Any
    """Options table of the schema, or None."""

    @property
    def given(self) -> list[Tensor]:
        """Return the inputs that are not in the file: activations, not weights."""
        return [one for one in self.inputs if one is not None and one.constant is None]

    @property
    def parameters(self) -> list[Tensor]:
        """Return the inputs that are in the file."""
        return [one for one in self.inputs if one is not None and one.constant is not None]


def read_operators(data: bytes, name: str) -> tuple[Operator, ...]:
    """Read the operators of a `.tflite` file's main graph.

    Args:
        data: Content of the file.
        name: Name of the file in messages.

    Raises:
        DataError: The file is not a `.tflite` file, or is damaged.
        MissingExtraError: The schema is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        msg = "ai_edge_litert"
        raise MissingExtraError(msg, "export") from error
    if data[4:8] != b"TFL3":
        msg = f"{name} is not a .tflite file"
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
    if content is None and buffer.offset > 1:  # content behind the tables, in files above two gigabytes
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
