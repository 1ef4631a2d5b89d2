"""Check the structure of a `.tflite` file before a native library reads it, because damaged offsets can crash it.

The file is a FlatBuffer: tables that refer to other tables, vectors and strings by offsets. LiteRT does not check most
of them.

Sources: https://flatbuffers.dev/internals and `tensorflow/compiler/mlir/lite/schema/schema.fbs` (Apache-2.0).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

Fields = dict[int, str]
"""Kind of each field of a table by its number: a letter of `SIZES` for a number, `*` and such a letter for a vector of
numbers, `text`, `:Name` for a table, or `*:Name` for a vector of tables. Other fields are only checked to lie in their
table."""

SIZES = {"b": 1, "h": 2, "i": 4, "I": 4, "q": 8, "Q": 8}
"""Letters of `struct` for numbers, and their sizes in bytes."""

FORMATS = {letter: f"<{letter}" for letter in (*SIZES, "H")}
"""Format of each number in `struct`. All numbers are little-endian."""

TABLES: dict[str, Fields] = {
    "Model": {0: "I", 1: "*:OperatorCode", 2: "*:SubGraph", 3: "text", 4: "*:Buffer", 5: "*i", 6: "*:Metadata"}
    | {7: "*:SignatureDef"},
    "OperatorCode": {0: "b", 1: "text", 2: "i", 3: "i"},
    "SubGraph": {0: "*:Tensor", 1: "*i", 2: "*i", 3: "*:Operator", 4: "text"},
    "Tensor": {0: "*i", 1: "b", 2: "I", 3: "text", 4: ":Quantization", 5: "b", 6: ":Sparsity", 7: "*i", 8: "b"}
    | {9: "*:Variant"},
    "Variant": {0: "*i", 1: "b", 2: "b"},
    "Quantization": {0: "*i", 1: "*i", 2: "*i", 3: "*q", 4: "b", 5: ":Custom", 6: "i"},
    "Custom": {0: "*b"},
    "Sparsity": {0: "*i", 1: "*i", 2: "*:Dimension"},
    "Dimension": {0: "b", 1: "i", 2: "b", 3: ":Indices", 4: "b", 5: ":Indices"},
    "Indices": {0: "*b"},
    "Operator": {0: "I", 1: "*i", 2: "*i", 3: "b", 4: ":Options", 5: "*b", 6: "b", 7: "*b", 8: "*i", 9: "Q", 10: "Q"}
    | {11: "b", 12: ":Options"},
    "Options": {},
    "Buffer": {0: "*b", 1: "Q", 2: "Q"},
    "Metadata": {0: "text", 1: "I"},
    "SignatureDef": {0: "*:TensorMap", 1: "*:TensorMap", 2: "text", 4: "I"},
    "TensorMap": {0: "text", 1: "I"},
}
"""Fields of each table."""

OPTIONS: dict[int, Fields] = {
    3: {1: "*i", 2: "*i"},
    8: {5: "*:Options"},
    17: {0: "*i"},
    30: {0: "*i"},
    115: {0: "*i"},
} | {111: {0: "text", 1: "text"}}
"""Fields with offsets in the options of an operator, by the member of the union `BuiltinOptions`."""

VECTOR_SHARE, VECTOR_BYTES = 64, 1 << 22
"""Maximum total size of the vectors of all tables in bytes: `VECTOR_SHARE` times the size of the file, plus
`VECTOR_BYTES`. A vector counts once for each table that refers to it, because readers copy it each time."""

MAX_AXES = 16
"""Maximum number of axes of a tensor."""


class Vector(NamedTuple):
    """A vector of numbers in the file."""

    at: int
    """Position of the first element."""
    length: int


class _File:
    """Walks through the tables of a file.

    Raises:
        ValueError: An offset, a size or an index is wrong.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._size = data, len(data)
        self._tables_left = self._size // 4
        self._bytes_left = VECTOR_SHARE * self._size + VECTOR_BYTES

    def root(self) -> dict[int, Any]:
        """Return the fields of the first table."""
        return self.table(self._follow(0), TABLES["Model"])

    def table(self, at: int, kinds: Fields) -> dict[int, Any]:
        """Return the fields of the table at a position by their numbers.

        Fields with their default value are omitted.
        """
        self._tables_left -= 1
        if self._tables_left < 0:
            self._fail("it refers to more tables than it can contain")
        start = at - self._number("i", at)
        length, size = self._number("H", start), self._number("H", start + 2)
        if length < 4 or length % 2 or start + length > self._size or size < 4 or at + size > self._size:
            self._fail(f"the table at byte {at} is not inside the file")
        fields: dict[int, Any] = {}
        offsets = struct.unpack_from(f"<{length // 2 - 2}H", self._data, start + 4)
        for number, offset in enumerate(offsets):
            if offset >= size:
                self._fail(f"field {number} of the table at byte {at} is outside the table")
            if offset and (kind := kinds.get(number)) is not None:
                fields[number] = self._field(at + offset, kind)
        if 4 in fields and kinds is TABLES["Operator"] and (special := OPTIONS.get(fields.get(3, 0))) is not None:
            self.table(fields[4][0], special)
        return fields

    def numbers(self, letter: str, vector: Vector | None) -> tuple[int, ...]:
        """Return the elements of a vector."""
        return () if vector is None else struct.unpack_from(f"<{vector.length}{letter}", self._data, vector.at)

    def _field(self, at: int, kind: str) -> Any:
        if kind in SIZES:
            return self._number(kind, at)
        place = self._follow(at)
        if kind == ":Options":
            return place, self.table(place, TABLES["Options"])
        if kind.startswith(":"):
            return self.table(place, TABLES[kind[1:]])
        if kind.startswith("*:"):
            places = self._vector(place, 4)
            kinds = TABLES[kind[2:]]
            return [self.table(self._follow(places.at + 4 * index), kinds) for index in range(places.length)]
        return self._vector(place, 1 if kind == "text" else SIZES[kind[1]])

    def _vector(self, at: int, size: int) -> Vector:
        count = self._number("I", at)
        if at + 4 + count * size > self._size:
            self._fail(f"the vector at byte {at} has {count} elements, more than the file contains")
        self._bytes_left -= count * size
        if self._bytes_left < 0:
            self._fail("it refers to the same vectors too often")
        return Vector(at + 4, count)

    def _follow(self, at: int) -> int:
        place = at + self._number("I", at)
        if place % 4 or place + 4 > self._size or place <= at:
            self._fail(f"the offset at byte {at} is wrong")
        return place

    def _number(self, letter: str, at: int) -> int:
        try:
            number: int = (
                struct.unpack_from(f"<{letter}", self._data, at)[0] if at >= 0 else self._fail("it is cut off")
            )
        except struct.error:
            self._fail(f"it refers to byte {at} of {self._size}")
        return number

    @staticmethod
    def _fail(reason: str) -> Any:
        raise ValueError(reason)


def check_tflite(data: bytes) -> None:
    """Check that all offsets and indices of a `.tflite` file are inside the file, and that no table is used too often.

    Raises:
        ValueError: The file is damaged. The message describes the damage.
    """
    if data[4:8] != b"TFL3":
        msg = "its content lacks the signature TFL3"
        raise ValueError(msg)
    file = _File(data)
    model = file.root()
    buffers, codes = model.get(4, []), len(model.get(1, []))
    for buffer in buffers:
        if buffer.get(1, 0) > 1 and buffer.get(1, 0) + buffer.get(2, 0) > len(data):
            msg = "a constant lies after the end of the file"
            raise ValueError(msg)
    if not model.get(2):
        msg = "it has no graph"
        raise ValueError(msg)
    for graph in model[2]:
        _check_graph(file, graph, codes, len(buffers))


def _check_graph(file: _File, graph: dict[int, Any], codes: int, buffers: int) -> None:
    tensors = graph.get(0, [])
    for tensor in tensors:
        _check_tensor(file, tensor, buffers)
    _check_indices(file, (graph.get(1), graph.get(2)), 0, len(tensors))
    for operator in graph.get(3, []):
        if operator.get(0, 0) >= codes:
            msg = f"an operator has the code {operator.get(0, 0)}, but there are only {codes} codes"
            raise ValueError(msg)
        _check_indices(file, (operator.get(1), operator.get(8)), -1, len(tensors))
        _check_indices(file, (operator.get(2),), 0, len(tensors))


def _check_tensor(file: _File, tensor: dict[int, Any], buffers: int) -> None:
    shape = file.numbers("i", tensor.get(0))
    if len(shape) > MAX_AXES or any(size < 0 for size in shape):
        msg = f"a tensor has the shape {list(shape[:MAX_AXES])}"
        raise ValueError(msg)
    if tensor.get(2, 0) >= max(1, buffers):
        msg = f"a tensor has the constant {tensor.get(2, 0)}, but there are only {buffers} constants"
        raise ValueError(msg)
    quantization = tensor.get(4)
    if quantization is not None:
        scales, zeros = (0 if part is None else part.length for part in (quantization.get(2), quantization.get(3)))
        axis = quantization.get(6, 0)
        if zeros not in (0, scales) or (scales > 1 and not (0 <= axis < len(shape) and shape[axis] == scales)):
            msg = f"a tensor of shape {list(shape)} has {scales} scales and {zeros} zero points for axis {axis}"
            raise ValueError(msg)


def _check_indices(file: _File, vectors: tuple[Vector | None, ...], low: int, high: int) -> None:
    for vector in vectors:
        indices = file.numbers("i", vector)
        if indices and not (low <= min(indices) and max(indices) < high):
            msg = f"an operator or the graph refers to the tensors {min(indices)} to {max(indices)} of {high}"
            raise ValueError(msg)
