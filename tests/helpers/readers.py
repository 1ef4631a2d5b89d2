"""Readers of untrusted files, each with a small valid file. The fuzz test passes damaged copies to them."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import bundles, results


class Reader(NamedTuple):
    """A reader of files."""

    name: str
    """Name of the file that the reader opens."""
    seed: Callable[[], bytes]
    """Function that returns the content of a valid file."""
    read: Callable[[Path], object]
    """Function that opens the file and uses its content."""


ROAD = bundles.BUNDLES / "road.orilla"


def _npz(x: np.ndarray, y: np.ndarray | None = None) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **({"x": x} if y is None else {"x": x, "y": y}), allow_pickle=False)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _member(name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with zipfile.ZipFile(ROAD) as archive:
            return archive.read(name)

    return read


@cache
def _small_bundle() -> bytes:
    """Return a bundle without most of its variants, because each copy is hashed and checked."""
    from orilla.runtime.bundle.bundle import Bundle, write
    from orilla.runtime.bundle.slim import slim

    manifest, files = slim(Bundle.open(ROAD), "litert_fp32", None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "small.orilla"
        write(out, manifest, files)
        return out.read_bytes()


def _bundle(path: Path) -> object:
    from orilla.runtime.bundle.bundle import Bundle

    return Bundle.open(path)


def _golden(path: Path) -> object:
    """Read a bundle whose golden output has this content and a correct hash."""
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.golden import decode_outputs

    return decode_outputs(path.read_bytes(), path.name, Bundle.open(ROAD, every_file=False).manifest.outputs)


def _manifest(path: Path) -> object:
    from orilla.runtime.bundle import manifest

    return manifest.decode(path.read_bytes())


def _replay(path: Path) -> object:
    from orilla.runtime.commands.replay import SimulatedLoop
    from orilla.runtime.loop.policy import Policy
    from orilla.runtime.loop.replay import Replay

    replay = Replay.read(path)
    replay.recorded_decisions()
    replay.repeated_decisions()
    replay.simulate()
    return [SimulatedLoop.from_outcome(replay.simulate(Policy.parse(policy))) for policy in ("every", "rate:5")]


@cache
def _recording() -> bytes:
    import orilla.runtime

    with tempfile.TemporaryDirectory() as folder, orilla.runtime.open(ROAD) as model:
        path = Path(folder) / "loop.rec"
        for _ in model.stream(np.zeros((3, 20, 30, 3), np.uint8), record=path):
            pass
        return path.read_bytes()


def _result(path: Path) -> object:
    from orilla.runtime.bench import result
    from orilla.runtime.bench.report.lines import result_parts

    read = result.read_all(path)
    return result_parts(result.merge(read))


def _result_file() -> bytes:
    import msgspec

    return msgspec.json.encode(results.made(count=200))


def _budgets(path: Path) -> object:
    from orilla.devices.budget import read_budgets

    return read_budgets(path)


def _catalogue(path: Path) -> object:
    from orilla.devices.spec import catalog

    return catalog(path)


def _card(path: Path) -> object:
    from orilla.runtime.bundle.run_folder import read_run

    (path.parent / "card.json").write_bytes(path.read_bytes())
    return read_run(path.parent)


def _records(path: Path) -> object:
    from orilla.runtime.sources.records import Records

    source = Records.open(str(path))
    count = 0
    while source.read() is not None and count < 100:
        count += 1
    return count


def _lines(path: Path) -> object:
    from orilla.runtime.sources.text_lines import Lines

    source = Lines.open(str(path))
    while source.read() is not None:
        pass
    return None


def _labels(path: Path) -> object:
    from orilla.export.labels import read_labels

    return read_labels(path)


def _operators(path: Path) -> object:
    from orilla.runtime.tflite.graph import read_operators

    return read_operators(path.read_bytes(), path.name)


def _kind(path: Path) -> object:
    from orilla.runtime.bundle.file_kinds import recognise

    return recognise(path)


def _dataset(path: Path) -> object:
    from orilla.runtime.evaluation.datasets.registry import open_dataset

    dataset = open_dataset(str(path))
    for split in dataset.splits:
        for index in range(min(3, len(dataset.names(split)))):
            dataset.load(split, index)
    return dataset


def _image(path: Path) -> object:
    from orilla.runtime.preprocessing.image_file import read_image

    return read_image(path)


def _labelled_arrays() -> bytes:
    return _npz(x=np.zeros((4, 8, 8, 3), np.uint8), y=np.arange(4))


BUDGETS = b'[[budget]]\nbundle = "road"\nvariant = "litert_fp32"\nmax_mib = 1.5\np90_ratio = [0.1, 0.6]\n'
CATALOGUE = b'[devices.mine]\ntitle = "Mine"\nsource = "x"\nengines = ["litert"]\nprecisions = ["int8"]\nmhz = 900\n'
LABELS = json.dumps({"0": "cat", "1": "dog"}).encode()

READERS = {
    "bundle": Reader("b.orilla", _small_bundle, _bundle),
    "manifest": Reader("manifest.json", _member("manifest.json"), _manifest),
    "golden output": Reader("g.npy", _member("golden/000.output.npy"), _golden),
    "recording": Reader("loop.rec", _recording, _replay),
    "result": Reader("result.json", _result_file, _result),
    "budgets": Reader("budgets.toml", lambda: BUDGETS, _budgets),
    "catalogue": Reader("devices.toml", lambda: CATALOGUE, _catalogue),
    "card": Reader("run.json", lambda: b'{"preprocess": {"size_hw": [32, 64]}, "data": "x"}', _card),
    "arrays of a source": Reader("x.npz", lambda: _npz(x=np.zeros((3, 4))), _records),
    "array of a source": Reader("x.npy", lambda: _npy(np.zeros((3, 4))), _records),
    "table of a source": Reader("x.csv", lambda: b"a,b\n1,2\n3,4\n", _records),
    "lines of a source": Reader("x.jsonl", lambda: b'{"x": [1, 2]}\n[3, 4]\n', _records),
    "texts of a source": Reader("x.txt", lambda: "a film\nein schöner Film\n".encode(), _lines),
    "labels": Reader("labels.json", lambda: LABELS, _labels),
    "operators": Reader("m.tflite", _member("variants/litert_fp32.tflite"), _operators),
    "file kind": Reader("m.bin", _member("variants/litert_fp32.tflite"), _kind),
    "arrays": Reader("a.npz", _labelled_arrays, _dataset),
    "image": Reader("a.png", _member("golden/000.prepared.png"), _image),
}
"""Readers by name."""
