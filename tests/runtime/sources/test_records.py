"""Models that take arrays read files and JSON lines, and answer each sample."""

import io
import json
import sys

import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import SourceError
from orilla.runtime.cli import main
from orilla.runtime.frame import Event
from orilla.runtime.sources.records import Records

SAMPLES = np.random.default_rng(4).uniform(0, 255, (5, 32, 48, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return factories.array_bundle(tmp_path_factory.mktemp("records") / "arrays.orilla")


@pytest.fixture(scope="module")
def expected(bundle):
    with orilla.runtime.open(bundle) as model:
        return [model(sample).result.arrays["output"] for sample in SAMPLES]


def write(folder, suffix):
    path = folder / f"samples{suffix}"
    if suffix == ".npz":
        np.savez(path, pixels=SAMPLES)
    elif suffix == ".npy":
        np.save(path, SAMPLES)
    else:
        path.write_text("".join(json.dumps({"pixels": sample.tolist()}) + "\n" for sample in SAMPLES))
    return path


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".jsonl"])
def test_each_sample_of_a_file_is_answered(suffix, bundle, expected, tmp_path):
    with orilla.runtime.open(bundle) as model:
        answers = [tick.result.arrays["output"] for tick in model.stream(write(tmp_path, suffix))]
    assert np.allclose(answers, expected, atol=1e-6)


def test_samples_of_the_caller_are_answered(bundle, expected):
    with orilla.runtime.open(bundle) as model:
        ticks = list(model.stream([{"pixels": sample} for sample in SAMPLES]))
    assert np.allclose([tick.result.arrays["output"] for tick in ticks], expected, atol=1e-6)
    assert [tick.index for tick in ticks] == [0, 1, 2, 3, 4]


def test_the_command_answers_a_file(bundle, tmp_path, capsys):
    assert main(["run", str(bundle), "--source", str(write(tmp_path, ".npz"))]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 5
    assert len(lines[0]["result"]["arrays"]["output"]) == 2


def test_json_lines_come_from_standard_input(bundle, tmp_path, capsys, monkeypatch):
    data = write(tmp_path, ".jsonl").read_bytes()
    file = tmp_path / "stdin"
    file.write_bytes(data)
    with file.open("rb") as raw:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
        assert main(["run", str(bundle), "--source", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("header", ["", "left,right\n"])
def test_a_table_is_one_sample_per_row(header, tmp_path):
    (tmp_path / "t.csv").write_text(f"{header}1,2\n3,4.5\n")
    source = Records.open(str(tmp_path / "t.csv"))
    assert [source.read().arrays["x"].tolist() for _ in range(2)] == [[1.0, 2.0], [3.0, 4.5]]
    assert source.read() is None


def test_a_line_without_arrays_is_skipped(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"x": [1, 2]}\nno json\n{"x": ["a"]}\n[3, 4]\n')
    source = Records.open(str(tmp_path / "t.jsonl"))
    read = [source.read() for _ in range(4)]
    assert [isinstance(entry, Event) for entry in read] == [False, True, True, False]
    assert "line 2 is skipped" in read[1].detail
    assert read[3].arrays["x"].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "no such file"),
        ("a.npz", b"nonsense", "cannot read"),
        ("a.npy", b"nonsense", "cannot read"),
        ("a.csv", b"a,b\nc,d\n", "cannot read"),
        ("a.txt", b"1 2", "is not a file of arrays: a model that takes arrays reads .npz"),
    ],
)
def test_other_files_are_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        Records.open(str(tmp_path / name))


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(SourceError, match="cannot read"):
        Records.open(str(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "text",
    ["left,right\n1,2\n3,4.5\n", "left;right\r\n1;2\r\n3;4,5\r\n", "1\t2\r3\t4.5\r", "1,2\n3,4.5\n\n"],
)
@pytest.mark.parametrize("kind", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_any_spreadsheet(text, kind, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode(kind))
    source = Records.open(str(tmp_path / "t.csv"))
    assert [source.read().arrays["x"].tolist() for _ in range(2)] == [[1.0, 2.0], [3.0, 4.5]]
    assert source.read() is None
