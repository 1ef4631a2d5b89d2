"""Check that an `.onnx` file does not refer to data in other files.

ONNX Runtime would read these files relative to the current folder. Source: `onnx/onnx.proto3` (Apache-2.0), and the
encoding at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

KEY = b"location"
"""Key of the entry that names the file of external data."""

INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
"""Nested messages of each kind of message. The keys are the numbers of the fields."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a tensor with external data."""

MAX_DEPTH = 64
"""Maximum nesting depth of messages."""


def check_onnx(data: bytes) -> None:
    """Check that all data of a model is in its file.

    Raises:
        ValueError: The model refers to another file, or is damaged.
    """
    if KEY in data:  # A tensor can refer to another file only if this key occurs.
        _check(memoryview(data), "model", MAX_DEPTH)


def _check(message: memoryview, kind: str, depth: int) -> None:
    if not depth:
        msg = "its graphs are nested too deeply"
        raise ValueError(msg)
    for field, content in fields(message):
        if kind == "tensor" and field in (EXTERNAL_DATA, DATA_LOCATION) and bytes(content) != b"\0":
            msg = "a tensor refers to external data in another file: save the model with its weights inside"
            raise ValueError(msg)
        inner = INSIDE.get(kind, {}).get(field)
        if inner is not None:
            _check(content, inner, depth - 1)


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the field number and the content of each field. The content of an integer is its bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 2:
            size, at = _varint(message, at)
            end = at + size
        elif wire in (1, 5):
            end = at + (8 if wire == 1 else 4)
        elif wire == 0:
            _, end = _varint(message, at)
        else:
            msg = f"it has a field of the unknown type {wire}"
            raise ValueError(msg)
        if end > len(message):
            msg = "it is cut off"
            raise ValueError(msg)
        yield tag >> 3, message[at:end]
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return an integer and the position after it."""
    value = 0
    for place in range(10):
        if at + place >= len(message):
            break
        value |= (message[at + place] & 0x7F) << 7 * place
        if message[at + place] < 0x80:
            return value, at + place + 1
    msg = "it is cut off"
    raise ValueError(msg)
