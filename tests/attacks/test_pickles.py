"""A pickle in a data set runs no code, crashes nothing and takes little memory."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import datasets, layouts

from orilla.devices.errors import DataError, SourceError
from orilla.runtime.evaluation.datasets import pickles
from orilla.runtime.evaluation.datasets.registry import open_dataset
from orilla.runtime.sources.records import Records


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *words: object) -> None:
        self._call = function, words

    def __reduce__(self) -> object:
        return self._call


DEEP = b")" + b"\x85" * 5_000_000
"""An empty tuple inside five million tuples."""

ATTACKS = {
    "a shell command": pickle.dumps(Runs(os.system, "touch /tmp/orilla-attack")),
    "evaluated text": pickle.dumps(Runs(eval, "1")),
    "an import": b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    "an address as an array": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an attribute of a name": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__class__\x93.",
    "a deep tuple as a key": b"\x80\x02}" + DEEP + b"K\x01s.",
    "a deep tuple": b"\x80\x02" + DEEP + b".",
    "a large memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02U\x01xQ.",
    "a long string": b"\x80\x04\x8d" + (1 << 60).to_bytes(8, "little") + b"x.",
    "an instance": b"\x80\x02(cos\nsystem\no.",
    "an instance by name": b"(ios\nsystem\n.",
    "nothing": b"",
    "half of a list": b"\x80\x02](K\x01",
    "an empty stack": b"\x80\x02a.",
    "a number": b"\x80\x02K\x01.",
    "a buffer outside": b"\x80\x05\x97.",
}
RESISTED = (pickle.UnpicklingError, DataError, ValueError, TypeError, IndexError, EOFError, AttributeError, KeyError)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_pickle_is_refused(attack: str):
    try:
        loaded = pickles.load(io.BytesIO(ATTACKS[attack]))
    except RESISTED:
        return
    assert isinstance(loaded, int | list | pickles.PickledArray)
    assert not Path("/tmp/orilla-attack").exists()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["imdb", "cifar"])
def test_a_hostile_data_set_is_refused(kind: str, attack: str, tmp_path: Path):
    data = ATTACKS[attack]
    if kind == "imdb":
        path = datasets.imdb(tmp_path / "data")
        header = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }".ljust(0x76)
        datasets.replace_in_npz(next(Path(path).parent.rglob("imdb.npz")), {"x_train": header + data})
    else:
        path = layouts.cifar(tmp_path / "data")
        next(Path(path).rglob("data_batch_1")).write_bytes(data)
    with pytest.raises(DataError):
        open_dataset(path)
    assert not Path("/tmp/orilla-attack").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_published_pickles_are_read(protocol: int):
    reviews = np.empty(3, object)
    reviews[:] = [[1, 2, 300], [70_000], []]
    loaded = pickles.load(io.BytesIO(pickle.dumps(reviews, protocol=protocol)))
    assert loaded.items == [[1, 2, 300], [70_000], []]
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}
    loaded = pickles.load(io.BytesIO(pickle.dumps(batch, protocol=protocol)), encoding="bytes")
    assert loaded[b"labels"] == [1, 2]


def test_arrays_of_objects_are_refused_with_the_line_that_converts_them(tmp_path: Path):
    objects = np.empty(2, object)
    objects[:] = [[1], [2]]
    np.savez(tmp_path / "x.npz", x=objects)
    with pytest.raises(DataError, match=r"could run code: save it again as numbers, with np\.savez"):
        open_dataset(tmp_path / "x.npz")
    with pytest.raises(SourceError, match="could run code"):
        Records.open(str(tmp_path / "x.npz"))
