"""Read the nodes and the shapes of the weights of an `.onnx` file, and write small files, without the package `onnx`.

Source: `onnx/onnx.proto3` (Apache-2.0), and the encoding at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orilla.devices.onnx_file import fields

TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}
"""Code of each element type in ONNX files."""

OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of the main graph, and the shapes of the constants by name."""

    nodes: tuple[Node, ...]
    constants: dict[str, tuple[int, ...]]


def read_graph(data: bytes) -> Graph:
    """Read the main graph. Raise `ValueError` if the file is damaged."""
    nodes: list[Node] = []
    constants: dict[str, tuple[int, ...]] = {}
    for field, graph in fields(memoryview(data)):
        if field != 7:
            continue
        for kind, content in fields(graph):
            if kind == 1:
                nodes.append(_node(content))
            elif kind == 5:
                name, shape = _constant(content)
                constants[name] = shape
    return Graph(tuple(nodes), constants)


def _node(content: memoryview) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    for field, value in fields(content):
        if field in texts:
            texts[field].append(bytes(value).decode(errors="replace"))
    return Node("".join(texts[3]), "".join(texts[4]), tuple(texts[1]), tuple(texts[2]))


def _constant(content: memoryview) -> tuple[str, tuple[int, ...]]:
    name, shape = "", []
    for field, value in fields(content):
        if field == 1:
            shape += list(_numbers(bytes(value)))
        elif field == 8:
            name = bytes(value).decode(errors="replace")
    return name, tuple(shape)


def _numbers(content: bytes) -> Iterator[int]:
    """Yield the numbers of a packed field."""
    number = shift = 0
    for byte in content:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant to write into a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes


def write_model(
    nodes: Sequence[Node],
    constants: Sequence[Constant],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
) -> bytes:
    """Return the content of an `.onnx` file.

    Args:
        nodes: The nodes, without attributes.
        constants: The constants.
        inputs: Shape of each input by name. All inputs are float32.
        outputs: Shape of each output by name. All outputs are float32.
    """
    graph = b"".join(_message(1, _encoded_node(node)) for node in nodes) + _message(2, b"g")
    graph += b"".join(_message(5, _encoded_constant(constant)) for constant in constants)
    for field, tensors in ((11, inputs), (12, outputs)):
        graph += b"".join(_message(field, _value(name, shape)) for name, shape in tensors.items())
    return _number(1, IR_VERSION) + _message(8, _message(1, b"") + _number(2, OPSET)) + _message(7, graph)


def _encoded_node(node: Node) -> bytes:
    names = [(1, name) for name in node.inputs] + [(2, name) for name in node.outputs]
    return b"".join(_message(field, text.encode()) for field, text in [*names, (3, node.name), (4, node.operator)])


def _encoded_constant(constant: Constant) -> bytes:
    sizes = b"".join(_number(1, size) for size in constant.shape)
    return (
        sizes + _number(2, TYPES[constant.dtype]) + _message(8, constant.name.encode()) + _message(9, constant.content)
    )


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_message(1, _number(1, size)) for size in shape)
    return _message(1, name.encode()) + _message(2, _message(1, _number(1, TYPES["float32"]) + _message(2, sizes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])
