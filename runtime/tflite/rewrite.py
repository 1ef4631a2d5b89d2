"""Rewrite `.tflite` files. Values that occur several times are written only once."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from orilla.devices.errors import BundleError, MissingExtraError
from orilla.devices.tflite_file import check_tflite

ALIGNMENT = 16
"""Alignment of constants in bytes. Source: TensorFlow, `tensorflow/compiler/mlir/lite/schema/schema.fbs` (`Buffer`)."""


def rewritten(data: bytes, edit: Callable[[Any, Any], None] = lambda _model, _schema: None) -> bytes:
    """Change a model file and write it again.

    Equal strings and vectors are written only once. This makes the file of a small network about a tenth smaller,
    because each layer with int8 weights has one zero point per channel, and all zero points are 0.

    Args:
        data: Content of the file.
        edit: Function that changes the model. It receives the `ModelT` of the file and the module of the schema.

    Raises:
        MissingExtraError: The packages that write the file are not installed.
        BundleError: The file cannot be read.
    """
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError(error.name or "flatbuffers", "export") from error
    try:
        return _rewritten(data, edit, flatbuffers, schema)
    except (struct.error, TypeError, ValueError, IndexError, AttributeError) as error:
        msg = f"the model file cannot be rewritten: {error}"
        raise BundleError(msg) from error


def _rewritten(data: bytes, edit: Callable[[Any, Any], None], flatbuffers: Any, schema: Any) -> bytes:
    check_tflite(data)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        # Content that follows the tables is moved into them, because its position depends on the size of the tables.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    edit(model, schema)

    class Builder(flatbuffers.Builder):
        """A builder that remembers the positions of the strings and vectors that it has written."""

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._known: dict[tuple[str, bytes], int] = {}

        def CreateString(self, s: str | bytes, *arguments: Any) -> int:  # noqa: N802
            key = ("text", s.encode() if isinstance(s, str) else bytes(s))
            if key not in self._known:
                self._known[key] = super().CreateString(s, *arguments)
            return self._known[key]

        def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
            key = (x.dtype.str, x.tobytes())
            if key not in self._known:
                if x.dtype == np.uint8:
                    # The base class would align a vector only to the size of its elements.
                    self.Prep(ALIGNMENT, x.nbytes)
                self._known[key] = super().CreateNumpyVector(x)
            return self._known[key]

    builder = Builder(len(data) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
