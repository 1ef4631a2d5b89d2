"""Read the operators of a `.tflite` file, with their tensors, in the order of their execution."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from orilla.devices.errors import DataError, MissingExtraError, OrillaError
from orilla.devices.tflite_file import check_tflite

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
"""Number of bits of an element. The keys are the types. An element of a type that is not listed has 32 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of the graph. Operators that use the same tensor share this object."""

    name: str
    dtype: str
    """Name of the type in the schema, such as `INT8`."""
    shape: tuple[int, ...]
    constant: np.ndarray | None
    """Content as an array of bytes if the file contains it, else None."""
    dynamic: bool
    """True if the size of a dimension is unknown until the model runs."""
    scales: tuple[float, ...] = ()
    """Scales of a quantised tensor. More than one means that it is quantised per channel."""
    axis: int = 0
    """Dimension of the channels, if there is more than one scale."""

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the size in bytes."""
        return self.size * BITS.get(self.dtype, 32) // 8

    def numbers(self) -> np.ndarray | None:
        """Return the content of a constant of type int32 or int64, in its shape. None for every other tensor."""
        if self.constant is None or self.dtype not in ("INT32", "INT64"):
            return None
        kind = np.int32 if self.dtype == "INT32" else np.int64
        return np.frombuffer(self.constant.tobytes(), kind).reshape(self.shape)

    def weights(self) -> np.ndarray | None:
        """Return a constant of type float32, or of type int8 or int32 with zero points of 0, as float32 in its shape.

        None for every other tensor.
        """
        kind = {"FLOAT32": np.float32, "INT8": np.int8, "INT32": np.int32}.get(self.dtype)
        if self.constant is None or kind is None or (kind is not np.float32 and not self.scales):
            return None
        values = np.frombuffer(self.constant.tobytes(), kind).reshape(self.shape)
        if kind is np.float32:
            return values
        channels = [1] * values.ndim
        channels[self.axis] = len(self.scales)
        return values * np.reshape(np.array(self.scales, np.float32), channels)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of the graph."""

    name: str
    """Name of the operator in the schema, such as `CONV_2D`, or the name of a custom operator."""
    custom: bool
    """True for an operator that is not in the schema."""
    version: int
    inputs: tuple[Tensor | None, ...]
    """Inputs in the order of the operator. An omitted input is None."""
    outputs: tuple[Tensor, ...]
    options: Any
    """The operator's options, in a table that the schema defines. None if there are no options."""

    @property
    def activations(self) -> list[Tensor]:
        """Return the inputs that are computed while the model runs."""
        return [tensor for tensor in self.inputs if tensor is not None and tensor.constant is None]

    @property
    def parameters(self) -> list[Tensor]:
        """Return the inputs whose content is in the file, such as weights."""
        return [tensor for tensor in self.inputs if tensor is not None and tensor.constant is not None]


def read_operators(data: bytes, name: str) -> tuple[Operator, ...]:
    """Read the operators of the main graph of a `.tflite` file.

    Args:
        data: Content of the file.
        name: Name of the file for messages.

    Raises:
        DataError: The file is not a `.tflite` file, or is damaged.
        MissingExtraError: The package with the schema is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        msg = "ai_edge_litert"
        raise MissingExtraError(msg, "export") from error
    if data[4:8] != b"TFL3":
        msg = f"{name} is not a .tflite file: its content lacks the signature TFL3"
        raise DataError(msg)
    try:
        check_tflite(data)
        return _operators(schema.ModelT.InitFromPackedBuf(data, 0), data, schema)
    except OrillaError:
        raise
    except Exception as error:
        beyond = isinstance(error, struct.error | IndexError) or "buffer" in str(error)
        detail = f"it refers to data after its end, at byte {len(data)}" if beyond else "its tables are inconsistent"
        msg = f"{name} is incomplete or damaged ({detail}): download it again, and compare its size with the original's"
        raise DataError(msg) from error


def _operators(model: Any, data: bytes, schema: Any) -> tuple[Operator, ...]:
    types, operators = _names(schema.TensorType), _names(schema.BuiltinOperator)
    main = model.subgraphs[0]
    tensors = [_tensor(table, _buffer(model, table), types, data) for table in main.tensors]
    read = []
    for table in main.operators:
        code = model.operatorCodes[table.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = number == schema.BuiltinOperator.CUSTOM
        read.append(
            Operator(
                _text(code.customCode) if custom else operators[number],
                custom,
                code.version,
                tuple(tensors[index] if index >= 0 else None for index in table.inputs),
                tuple(tensors[index] for index in table.outputs),
                table.builtinOptions,
            )
        )
    return tuple(read)


def _buffer(model: Any, table: Any) -> Any:
    """Return the buffer of a tensor, or None for buffer 0, which is empty by convention and may be missing."""
    return model.buffers[table.buffer] if table.buffer else None


def _tensor(table: Any, buffer: Any, types: dict[int, str], data: bytes) -> Tensor:
    shape = () if table.shape is None else tuple(int(size) for size in table.shape)
    dynamic = table.shapeSignature is not None and any(size < 0 for size in table.shapeSignature)
    content = None if buffer is None else buffer.data
    # In a file of more than two gigabytes, the content of constants follows the tables.
    if content is None and buffer is not None and buffer.offset > 1:
        content = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
    quantisation = table.quantization
    scales = None if quantisation is None else quantisation.scale
    return Tensor(
        _text(table.name),
        types[table.type],
        shape,
        None if content is None or len(content) == 0 else np.asarray(content, np.uint8),
        bool(dynamic),
        () if scales is None else tuple(map(float, scales)),
        0 if quantisation is None else quantisation.quantizedDimension,
    )


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""
