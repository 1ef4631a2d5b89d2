"""Damaged and hostile model files are rejected before a native library reads them."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import pytest
from helpers.bundles import BUNDLES

from orilla.devices.errors import BundleError, DataError, EngineError
from orilla.devices.onnx_file import check_onnx
from orilla.devices.tflite_file import check_tflite
from orilla.runtime.bundle.bundle import ZOO, Bundle
from orilla.runtime.engines.loader import load_bytes
from orilla.runtime.tflite.graph import read_operators
from orilla.runtime.tflite.model_metadata import read_metadata
from orilla.runtime.tflite.rewrite import rewritten

ALL = sorted([*ZOO.glob("*.orilla"), *BUNDLES.glob("*.orilla")])


def model(variant: str) -> bytes:
    bundle = Bundle.open(BUNDLES / "road.orilla", every_file=False)
    return bundle.read(bundle.manifest.variant(variant).file)


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_files_pass(path: Path):
    bundle = Bundle.open(path)
    for variant in bundle.manifest.variants:
        for name in (variant.file, *variant.compiled.values()):
            {"tflite": check_tflite, "onnx": check_onnx}[variant.format](bundle.read(name))


def offset_of_vectors(data: bytes) -> list[int]:
    """Return the positions of the offsets to the vectors of the model, as in `Model` of the schema."""
    root = struct.unpack_from("<I", data, 0)[0]
    start = root - struct.unpack_from("<i", data, root)[0]
    count = struct.unpack_from("<H", data, start)[0] // 2 - 2
    offsets = struct.unpack_from(f"<{count}H", data, start + 4)
    return [root + offset for slot, offset in enumerate(offsets) if offset and slot in (1, 2, 4)]


@pytest.mark.parametrize("value", [0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])
def test_a_wrong_offset_or_length(value: int):
    data = model("litert_fp32")
    for at in offset_of_vectors(data):
        place = at + struct.unpack_from("<I", data, at)[0]
        for position in (0, at, *([place] if value > 3 else [])):
            changed = bytearray(data)
            struct.pack_into("<I", changed, position, value)
            with pytest.raises(ValueError, match=r"."):
                check_tflite(bytes(changed))


def bomb(count: int) -> bytes:
    """Return a file with `count` graphs that share one table, whose `count` operators also share one table."""
    file = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def table(fields: int) -> tuple[int, list[int]]:
        """Append a table with offsets. Return its position, and the positions of the offsets."""
        start = len(file)
        file.extend(struct.pack(f"<{2 + fields}H", 4 + 2 * fields, 4 + 4 * fields, *(4 + 4 * n for n in range(fields))))
        file.extend(bytes(-len(file) % 4))
        at = len(file)
        file.extend(struct.pack("<i", at - start) + bytes(4 * fields))
        return at, [at + 4 + 4 * number for number in range(fields)]

    def vector(at: int, target_of: list[int]) -> None:
        """Append a vector, and let the offset at a position refer to it.

        All elements of the vector refer to the same table.
        """
        struct.pack_into("<I", file, at, len(file) - at)
        file.extend(struct.pack("<I", count))
        target_of.extend(range(len(file), len(file) + 4 * count, 4))
        file.extend(bytes(4 * count))

    root, slots = table(3)
    struct.pack_into("<I", file, 0, root)
    graphs: list[int] = []
    operators: list[int] = []
    for slot in slots:
        vector(slot, graphs)
    graph, graph_slots = table(4)
    for slot in graph_slots:
        vector(slot, operators)
    leaf, _ = table(0)
    for place in graphs:
        struct.pack_into("<I", file, place, graph - place)
    for place in operators:
        struct.pack_into("<I", file, place, leaf - place)
    return bytes(file)


@pytest.mark.parametrize("count", [200, 3000])
def test_a_table_that_is_named_again_and_again(count: int):
    data = bomb(count)
    started = time.process_time()
    with pytest.raises(DataError):
        read_operators(data, "bomb.tflite")
    with pytest.raises(BundleError):
        rewritten(data)
    assert read_metadata(data) is None
    with pytest.raises(EngineError):
        load_bytes("litert", data)
    assert time.process_time() - started < 10


def test_changed_numbers_are_refused_or_consistent():
    """The graph reader reads every file that the check accepts without a Python error."""
    data, chance = model("litert_wi8_ai8"), random.Random(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        at = chance.randrange(2, len(data) // 4) * 4
        struct.pack_into("<I", changed, at, chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 16)]))
        try:
            check_tflite(bytes(changed))
        except ValueError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off(share: float):
    data = model("litert_fp32")
    with pytest.raises(EngineError, match="cannot load this variant"):
        load_bytes("litert", data[: int(share * len(data))])


def field(number: int, content: bytes) -> bytes:
    """Encode a field of a protobuf message."""
    head = bytes([(number << 3 | 2) & 0x7F | 0x80, (number << 3 | 2) >> 7])
    return head + bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content


ENTRY = field(13, field(1, b"location") + field(2, b"../../../etc/passwd"))
PLACE = b"\x70\x01"
"""This is the field `data_location` with the value `EXTERNAL`."""

EXTERNAL = {
    "an initializer": field(7, field(5, ENTRY + PLACE)),
    "an initializer without its place": field(7, field(5, ENTRY)),
    "a constant": field(7, field(1, field(5, field(5, ENTRY + PLACE)))),
    "a list of constants": field(7, field(1, field(5, field(10, ENTRY + PLACE)))),
    "a graph inside an operator": field(7, field(1, field(5, field(6, field(5, ENTRY + PLACE))))),
    "a sparse tensor": field(7, field(15, field(1, ENTRY + PLACE))),
    "a function": field(25, field(7, field(5, field(5, ENTRY + PLACE)))),
}


@pytest.mark.parametrize("where", EXTERNAL)
def test_an_onnx_file_that_names_another_file(where: str):
    whole = model("onnx_fp32")
    for data in (EXTERNAL[where], whole + EXTERNAL[where]):
        with pytest.raises(ValueError, match="external data"):
            check_onnx(data)
        with pytest.raises(EngineError, match="external data"):
            load_bytes("onnx", data)


def test_a_name_with_the_word_location_is_allowed():
    check_onnx(model("onnx_fp32") + field(14, field(1, b"location") + field(2, b"Porto")))


def test_graphs_inside_graphs():
    data = b"location"
    for _ in range(70):
        data = field(6, field(1, field(5, data)))
    with pytest.raises(ValueError, match=r"nested|cut off|unknown type"):
        check_onnx(field(7, field(1, field(5, data))))
