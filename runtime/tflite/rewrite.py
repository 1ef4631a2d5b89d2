"""Rewrite `.tflite` files. Repeated content is written once."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from orilla.devices.errors import BundleError, MissingExtraError

ALIGNMENT = 16
"""Alignment of constants, bytes. Source: TensorFlow, `tensorflow/compiler/mlir/lite/schema/schema.fbs` (`Buffer`)."""


def rewritten(data: bytes, edit: Callable[[Any, Any], None] = lambda _model, _schema: None) -> bytes:
    """Rewrite a model file after `edit(model, schema)`, which receives its `ModelT` and the module of its tables.

    Equal strings and vectors are written once. The zero points of int8 weights, which are all 0 with one per channel,
    are a tenth of a small network's file.

    Args:
        data: Content of the file.
        edit: Function that changes the model.

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
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for one in model.buffers:
        if one.offset > 1:  # content behind the tables moves when they change
            one.data = np.frombuffer(data, np.uint8, one.size, one.offset)
            one.offset = one.size = 0
    edit(model, schema)

    class Builder(flatbuffers.Builder):
        """Builder that remembers the position of what it wrote."""

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
                    # The base class next writes a vector that is aligned to its elements, which starts here.
                    self.Prep(ALIGNMENT, x.nbytes)
                self._known[key] = super().CreateNumpyVector(x)
            return self._known[key]

    builder = Builder(len(data) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
