"""Read the metadata that a `.tflite` file may contain: labels, normalisation and colour.

Source of the tables: tensorflow/tflite-support, `tensorflow_lite_support/metadata/metadata_schema.fbs`, version 1.1.0.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import Any, Literal

from orilla.devices.errors import MissingExtraError
from orilla.devices.text_files import lines_of
from orilla.devices.tflite_file import check_tflite

NAME = "TFLITE_METADATA"
"""Name of the entry in the model's table of metadata."""

VALUE_LABELS, AXIS_LABELS = 3, 2
"""Members of the enumeration `AssociatedFileType`: labels of values, and labels along an axis."""

NORMALISATION = 1
"""Member `NormalizationOptions` of the union `ProcessUnitOptions`."""

COLORS: dict[int, Literal["rgb", "grey"]] = {1: "rgb", 2: "grey"}
"""Colour of each member of the enumeration `ColorSpaceType`."""

MAX_LABEL_BYTES = 4 << 20
"""Maximum size of a file with labels, in bytes."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Content of the metadata. A value is empty or None if the metadata does not state it."""

    name: str
    description: str
    labels: tuple[str, ...]
    """Labels of the first output, in order."""
    mean: tuple[float, ...]
    """Mean of the first input."""
    std: tuple[float, ...]
    """Standard deviation of the first input. The input of the network is `(pixel - mean) / std`."""
    color: Literal["rgb", "grey"] | None


def read_metadata(data: bytes) -> ModelMetadata | None:
    """Return the metadata of a `.tflite` file, or None if it has none or if it is damaged.

    Raises:
        MissingExtraError: The packages that read the tables are not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
        from flatbuffers.table import Table
    except ImportError as error:
        raise MissingExtraError(error.name or "flatbuffers", "export") from error
    try:
        check_tflite(data)
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        for entry in model.metadata or []:
            name = entry.name.decode() if isinstance(entry.name, bytes) else entry.name
            if name == NAME:
                content = bytes(model.buffers[entry.buffer].data)
                root = Table(content, struct.unpack_from("<I", content, 0)[0])
                return _metadata(_Table(root), data)
    except (struct.error, TypeError, ValueError, IndexError, AttributeError, zipfile.BadZipFile):
        return None
    return None


def _metadata(root: _Table, data: bytes) -> ModelMetadata:
    graphs = root.tables(3)
    inputs, outputs = (graphs[0].tables(2), graphs[0].tables(3)) if graphs else ([], [])
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    color = None
    if inputs:
        for unit in inputs[0].tables(4):
            if unit.byte(0) == NORMALISATION and (options := unit.table(1)) is not None:
                mean, std = options.floats(0), options.floats(1)
        content = inputs[0].table(3)
        if content is not None and (properties := content.table(1)) is not None:
            color = COLORS.get(properties.byte(0))
    files = [file for output in outputs for file in output.tables(6)]
    names = [file.text(0) for file in files if file.byte(2) in (AXIS_LABELS, VALUE_LABELS)]
    return ModelMetadata(root.text(0), root.text(1), _labels(data, names[0]) if names else (), mean, std, color)


def _labels(data: bytes, name: str) -> tuple[str, ...]:
    """Return the lines of a file that is attached to the model as a zip archive.

    The index of a line is the index of its class, so an empty line before the last name is a class without a name.
    Source: `BuildLabelMapFromFiles` in `tflite-support`, `task/core/label_map_item.cc`.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(name) as stream:
        text = stream.read(MAX_LABEL_BYTES).decode("utf-8-sig", errors="replace")
    return tuple(line or f"class {number}" for number, line in enumerate(lines_of(text)))


class _Table:
    """A table of a FlatBuffer. Its fields are read by their numbers."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def byte(self, slot: int) -> int:
        offset = self._offset(slot)
        return int(self._table.Bytes[self._table.Pos + offset]) if offset else 0

    def text(self, slot: int) -> str:
        offset = self._offset(slot)
        if not offset:
            return ""
        content = self._table.String(self._table.Pos + offset)
        return bytes(content).decode(errors="replace")

    def table(self, slot: int) -> _Table | None:
        offset = self._offset(slot)
        if not offset:
            return None
        return self._at(self._table.Indirect(self._table.Pos + offset))

    def tables(self, slot: int) -> list[_Table]:
        offset = self._offset(slot)
        if not offset:
            return []
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        self._check(count)
        return [self._at(self._table.Indirect(start + 4 * place)) for place in range(count)]

    def floats(self, slot: int) -> tuple[float, ...]:
        offset = self._offset(slot)
        if not offset:
            return ()
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        self._check(count)
        return struct.unpack_from(f"<{count}f", self._table.Bytes, start)

    def _offset(self, slot: int) -> int:
        return int(self._table.Offset(4 + 2 * slot))

    def _at(self, position: int) -> _Table:
        return _Table(type(self._table)(self._table.Bytes, position))

    def _check(self, count: int) -> None:
        if count * 4 > len(self._table.Bytes):
            msg = f"a vector has {count} elements, which is more than the file can contain"
            raise ValueError(msg)
