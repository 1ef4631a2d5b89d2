"""Small files that expand to a large size (decompression bombs) are rejected before they use much memory or time."""

from __future__ import annotations

import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from orilla.devices.errors import BundleError, DataError, SourceError
from orilla.runtime.bundle import container
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.registry import open_dataset
from orilla.runtime.sources.records import Records


def zip_of_nothing(path: Path, entries: int, *, wide: bool = False) -> Path:
    """Write a zip whose list contains empty files that do not exist. `wide` selects the records for large zips."""
    entry = b"PK\x01\x02" + struct.pack("<4B4HL2L5H2L", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    listed = b"".join(entry + b"%07d" % index for index in range(entries))
    end = b""
    if wide:
        end = b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, entries, entries, len(listed), 0)
        end += b"PK\x06\x07" + struct.pack("<LQL", 0, len(listed), 1)
    count = 0xFFFF if wide else entries
    size = 0xFFFFFFFF if wide else len(listed)
    start = 0xFFFFFFFF if wide else 0
    path.write_bytes(listed + end + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, size, start, 0))
    return path


@pytest.mark.parametrize("wide", [False, True])
def test_a_bundle_with_very_many_entries(tmp_path: Path, wide: bool):
    path = zip_of_nothing(tmp_path / "many.orilla", 60_000, wide=wide)
    with pytest.raises(BundleError, match="list of 60000 files"):
        Bundle.open(path)


def test_the_written_zip_is_valid(tmp_path: Path):
    assert len(zipfile.ZipFile(zip_of_nothing(tmp_path / "a.zip", 50)).namelist()) == 50
    assert len(zipfile.ZipFile(zip_of_nothing(tmp_path / "b.zip", 50, wide=True)).namelist()) == 50


def test_a_folder_with_very_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(container, "MAX_PATHS", 20)
    (tmp_path / "manifest.json").write_text("{}")
    for index in range(30):
        (tmp_path / str(index)).write_bytes(b"")
    with pytest.raises(BundleError, match="more than 20 files"):
        Bundle.open(tmp_path)


def test_a_data_set_with_very_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "MAX_LIST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="list of 60000 files"):
        open_dataset(zip_of_nothing(tmp_path / "many.zip", 60_000))


def test_a_zip_with_many_folders_is_listed_once(tmp_path: Path):
    """The time is proportional to the number of files, not to the product of the numbers of folders and files."""
    path = tmp_path / "wide.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(3000):
            archive.writestr(f"{index:04}/a.txt", b"")
    started = time.process_time()
    top = tree.root(path)
    assert top is not None
    assert len(tree.files_below(top, (".txt",))) == 3000
    assert time.process_time() - started < 10


HEADERS = {
    "more than the memory": b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }",
    "more than a number": b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }" % (b"9" * 5000),
    "many axes": b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }" % (b"1," * 5000),
    "code": b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }",
    "nested brackets": b"(" * 9000,
    "fields": b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
    "an unknown type": b"{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }",
    "an open string": b"{'descr': '''",
    "a negative length": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
}


@pytest.mark.parametrize("attack", HEADERS)
def test_a_header_of_an_array(attack: str, tmp_path: Path):
    header = HEADERS[attack]
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(SourceError):
        Records.open(str(tmp_path / "x.npy"))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(SourceError):
        Records.open(str(tmp_path / "x.npz"))
    with pytest.raises(DataError):
        open_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "<i8", "|b1", "<f2"])
def test_arrays_that_numpy_wrote_are_read(order: str, dtype: str, tmp_path: Path):
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    source = Records.open(str(tmp_path / "x.npy"))
    np.testing.assert_array_equal(source.read().arrays["x"], array[0])
