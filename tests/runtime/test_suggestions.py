"""Suggestions ("did you mean") for misspelt commands, options, names and files."""

import pytest
from helpers.command import refuse

from orilla.devices.errors import nearest, neighbour
from orilla.runtime.cli import main


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("rnu road", "run"),
        ("run raod --source scenes", "road"),
        ("run road --source scenes --sink jsnol:x", "jsonl"),
        ("run road --source scenes --varient x", "--variant"),
        ("run road --source scenes --variant litert_wi8_a8", "litert_wi8_ai8"),
        ("run road --source scenes --engine onx", "onnx"),
        ("run road --source drve.mp4", "drive.mp4"),
        ("devices pi44", "pi4"),
        ("bench estimate road --device pi44", "pi4"),
        ("bench rum road", "run"),
        ("bench run road --secnds 3", "--seconds"),
        ("bench compare on.json on.json", "one.json"),
        ("data shwo x", "show"),
        ("data get mnits", "mnist"),
        ("verify road --data ./pctures", "pictures"),
        ("show robt.orilla", "robot.orilla"),
        ("replay drve.rec", "drive.rec"),
        ("service show rvoer.toml", "rover.toml"),
        ("train convnte --data x --out y", "convnet"),
        ("export modl.keras --out a.orilla", "model.keras"),
        ("edgetpu modl.tflite", "model.tflite"),
        ("--schema rnu", "run"),
    ],
)
def test_a_misspelt_word(words, meant, tmp_path, monkeypatch, capsys):
    for name in ("drive.mp4", "one.json", "robot.orilla", "drive.rec", "rover.toml", "model.keras", "model.tflite"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    message = capsys.readouterr().err
    assert f"did you mean {meant}?" in message
    assert message.strip().count("\n") == 0


def test_no_suggestion_for_something_else(tmp_path):
    assert nearest("zebra", ("road", "convnet")) is None
    (tmp_path / "drive.mp4").touch()
    assert neighbour(tmp_path / "something.else") == ""
    assert neighbour(tmp_path / "no_folder" / "drive.mp4") == ""
    assert neighbour(tmp_path / "drive") == f"; did you mean {tmp_path / 'drive.mp4'}?"


def test_the_known_values_are_listed():
    refuse("data", "zebra", match="unknown action 'zebra': choose from get, list, show")
