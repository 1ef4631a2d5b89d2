"""The JSON Schema of every command, and the documents that commands print, which must match it."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from helpers import results, ticks
from helpers.json_schemas import errors

from orilla.runtime.bench.result import write
from orilla.runtime.cli import COMMANDS, main
from orilla.runtime.frame import Event

DOCUMENTS = [*COMMANDS, "line", "event"]


def printed(capsys, *words):
    """Return the document that a command prints."""
    code = main([*map(str, words), "--json"])
    output = capsys.readouterr()
    assert code in (0, 1, 3), output.err  # Exit code 3 means that the machine was disturbed during a benchmark.
    return json.loads(output.out)


def schema(capsys, *names):
    assert main(["--schema", *names]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def measured(tmp_path):
    """Paths of two results of a benchmark."""
    paths = [tmp_path / "a" / "a.json", tmp_path / "a" / "b.json"]
    paths[0].parent.mkdir()
    for path, ms in zip(paths, (4.0, 5.0), strict=True):
        write(path, results.made(ms, count=200))
    return paths


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_has_a_valid_schema(name, capsys):
    document = schema(capsys, name)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["title"] == name
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    assert not validator.is_valid({"nonsense": 1})
    assert not validator.is_valid([])


def test_the_schema_of_all_documents_names_each_of_them(capsys, measured):
    document = schema(capsys)
    assert [choice["$ref"] for choice in document["anyOf"]] == [f"#/$defs/{name}" for name in DOCUMENTS]
    validator = jsonschema.Draft202012Validator(document)
    validator.validate(printed(capsys, "bench", "compare", *measured))
    validator.validate(msgspec.to_builtins(ticks.tick(0, ticks.cascaded()).to_dict()))


def test_the_fields_are_described(capsys):
    document = schema(capsys, "line", "replay")
    assert "monotonic clock" in document["$defs"]["TickDocument"]["properties"]["captured_ns"]["description"]
    assert "most likely" in document["$defs"]["ClassificationDocument"]["properties"]["top"]["description"]
    assert "counted from 0" in document["$defs"]["ReplayCheck"]["properties"]["first_difference"]["description"]


def test_an_unknown_document_is_refused(capsys):
    assert main(["--schema", "rnu"]) == 2
    assert "did you mean run?" in capsys.readouterr().err


CASES = {
    "run": lambda bundle, data, out: ["--source", "scenes", "--frames", 3, "--sink", f"jsonl:{out}/a.jsonl"],
    "run --dry-run": lambda bundle, data, out: ["--source", "scenes"],
    "run --print-config": lambda bundle, data, out: ["--source", "scenes"],
    "tune": lambda bundle, data, out: ["--seconds", 5, "--threads", 1, "--dry-run"],
    "verify": lambda bundle, data, out: ["--data", data],
    "verify --budget": lambda bundle, data, out: [_budget(out)],
    "show": lambda bundle, data, out: [],
    "extract": lambda bundle, data, out: ["--out", out / "a.tflite"],
    "slim": lambda bundle, data, out: ["--keep", "default", "--out", out / "a.orilla"],
    "layers": lambda bundle, data, out: [],
    "edgetpu": lambda bundle, data, out: ["--predict", "--variant", "litert_wi8_ai8"],
}
"""Arguments after the bundle. The keys are the names of the commands and their first options."""


def _budget(folder: Path) -> Path:
    path = folder / "budgets.toml"
    path.write_text('[[budget]]\nbundle = "tiny"\nmax_mib = 0.001\n')
    return path


@pytest.mark.parametrize("case", CASES)
def test_commands_on_a_bundle(case, capsys, tiny_bundle, tiny_data, tmp_path):
    name, *option = case.split()
    document = printed(capsys, name, tiny_bundle, *option, *CASES[case](tiny_bundle, tiny_data, tmp_path))
    assert errors(name, document) == []


def test_a_run_with_several_sources(capsys, tiny_bundle, tmp_path):
    lines = tmp_path / "lines.jsonl"
    words = ("--source", "a=scenes", "--source", "b=scenes:1", "--frames", 4, "--sink", f"jsonl:{lines}")
    document = printed(capsys, "run", tiny_bundle, *words)
    assert set(document["sources"]) == {"a", "b"}
    assert errors("run", document) == []
    documents = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(documents) >= 4
    assert [error for document in documents for error in errors("line", document)] == []


@pytest.mark.parametrize(
    "words",
    [
        ("compare", 0, 1),
        ("history", "folder"),
        ("estimate", "road", "--device", "pi4"),
    ],
)
def test_modes_of_bench(words, capsys, measured):
    places = {0: measured[0], 1: measured[1], "folder": measured[0].parent}
    document = printed(capsys, "bench", *(places.get(word, word) for word in words))
    assert document["mode"] == words[0]
    assert errors("bench", document) == []


def test_a_measurement(capsys, tiny_bundle):
    document = printed(capsys, "bench", "run", tiny_bundle, "--seconds", 1)
    assert document["mode"] == "run"
    assert errors("bench", document) == []


def test_report(capsys, measured, tmp_path):
    pytest.importorskip("matplotlib")
    assert errors("report", printed(capsys, "report", *measured, "--out", tmp_path / "page.html")) == []


@pytest.mark.parametrize("words", [(), ("--policy", "rate:5")])
def test_replay(words, capsys, tiny_bundle, tmp_path):
    recording = tmp_path / "a.rec"
    main(["run", str(tiny_bundle), "--source", "scenes", "--frames", "3", "--record", str(recording), "--json"])
    capsys.readouterr()
    assert errors("replay", printed(capsys, "replay", recording, *words)) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data", ("list",)),
        ("data", ("show", "DATA")),
        ("devices", ()),
        ("devices", ("pi4",)),
        ("cameras", ()),
        ("doctor", ()),
    ],
)
def test_commands_without_a_bundle(name, words, capsys, tiny_data):
    document = printed(capsys, name, *(tiny_data if word == "DATA" else word for word in words))
    assert errors(name, document) == []


def test_service(capsys, tiny_bundle, tmp_path):
    config = tmp_path / "rover.toml"
    config.write_text(f'bundle = "{tiny_bundle}"\nsource = "0"\nsink = "jsonl:out.jsonl"\n')
    assert errors("service", printed(capsys, "service", "show", config)) == []


@pytest.mark.slow
def test_export_and_import(capsys, tiny_run, tmp_path):
    words = ("export", tiny_run, "--recipes", "litert_fp32", "--no-timing", "--out", tmp_path / "a.orilla")
    assert errors("export", printed(capsys, *words)) == []
    main(["extract", str(tmp_path / "a.orilla"), "--out", str(tmp_path / "a.tflite")])
    capsys.readouterr()
    words = ("import", tmp_path / "a.tflite", "--task", "segment", "--no-timing", "--out", tmp_path / "b.orilla")
    assert errors("import", printed(capsys, *words)) == []


@pytest.mark.slow
def test_train(capsys, animals, tmp_path):
    words = ("train", "lenet", "--data", animals, "--epochs", 1, "--batch", 8, "--out", tmp_path / "run")
    assert errors("train", printed(capsys, *words)) == []


def test_sign(capsys, tmp_path):
    pytest.importorskip("cryptography")
    key = tmp_path / "robot.key"
    assert errors("sign", printed(capsys, "sign", "--new-key", key)) == []
    words = ("sign", "road", "--key", key, "--counter", 1, "--out", tmp_path / "a.orilla")
    assert errors("sign", printed(capsys, *words)) == []


def test_demo():
    from orilla.runtime.commands.demo import DemoResult

    result = DemoResult(1.5, {"bundle": "a.orilla"}, "pass", 20.0, {"litert_fp32": 0.9})
    assert errors("demo", result.to_json()) == []


ANSWERS = {
    "classify": ticks.classified,
    "detect": lambda: ticks.detected("person"),
    "tracked": lambda: ticks.counted("person"),
    "segment": ticks.segmented,
    "regress": ticks.regressed,
    "several": ticks.several,
    "cascade": ticks.cascaded,
    "tensor": lambda: None,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_lines(answer):
    document = ticks.tick(1, ANSWERS[answer](), "front", rate=2).to_dict()
    assert errors("line", document) == []
    assert errors("line", document | {"nonsense": 1})
    assert errors("line", document | {"result": {"task": "nonsense"}})


def test_events():
    event = Event("lost", 3, 1_000, "no frame for 2 s")
    assert errors("event", event) == []
    assert errors("event", msgspec.structs.asdict(event) | {"kind": "nonsense"})
