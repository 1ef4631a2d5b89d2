"""A network that outputs NaN or infinity gives an error or an event, but never an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import bundles

import orilla.runtime
from orilla.devices.errors import InvalidOutputError
from orilla.runtime.cli import main
from orilla.runtime.engines import litert
from orilla.runtime.frame import Event
from orilla.runtime.loop.replay import Replay
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import DecodeContext

IMAGE = np.zeros((20, 30, 3), np.uint8)


class Spoiling:
    """A session whose outputs for some inferences contain a value that is not finite."""

    def __init__(self, session, value: float, spoils: Callable[[int], bool]) -> None:
        self._session, self._value, self._spoils, self._count = session, value, spoils, -1
        self.engine, self.inputs, self.outputs = session.engine, session.inputs, session.outputs

    def run(self, prepared):
        self._count += 1
        outputs = self._session.run(prepared)
        if self._spoils(self._count):
            for array in outputs.values():
                array.reshape(-1)[-1] = self._value
        return outputs

    def close(self):
        self._session.close()


def spoil(monkeypatch: pytest.MonkeyPatch, spoils: Callable[[int], bool], value: float = np.nan) -> None:
    load = litert.load
    monkeypatch.setattr(litert, "load", lambda *words, **options: Spoiling(load(*words, **options), value, spoils))


def folder_of_images(tmp_path: Path) -> str:
    """Write three images. Return the path of their folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), IMAGE)
    return str(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "raw"), [("road", IMAGE), ("animals", IMAGE), ("reviews", "a good film")])
def test_one_answer(name: str, raw, value: float, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, lambda index: True, value)
    expected = f"{name}.orilla: 1 of the .* values of the output .* are NaN or infinite"
    with (
        orilla.runtime.open(bundles.BUNDLES / f"{name}.orilla", variant="litert_fp32") as model,
        pytest.raises(InvalidOutputError, match=expected),
    ):
        model(raw)


def test_a_loop_skips_frames_without_an_answer(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, lambda index: index in (2, 3))
    events: list[Event] = []
    record = tmp_path / "loop.rec"
    with orilla.runtime.open(tiny_bundle) as model:
        images = np.zeros((6, 20, 30, 3), np.uint8)
        ticks = list(model.stream(images, on_event=events.append, record=record))
    assert [tick.index for tick in ticks] == [0, 1, 4, 5]
    assert ticks[-1].drops == {"invalid": 2}
    assert [(event.kind, event.index) for event in events] == [("invalid", 2), ("invalid", 4)]
    replay = Replay.read(record)
    assert replay.recorded_decisions() == replay.repeated_decisions()


def test_a_loop_without_any_answer_is_an_error(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spoil(monkeypatch, lambda index: True)
    out = tmp_path / "answers.jsonl"
    code = main(["run", str(tiny_bundle), "--source", folder_of_images(tmp_path), "--sink", f"jsonl:{out}"])
    assert code == 2
    assert out.read_text() == ""
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("orilla: no frame has an answer: tiny.orilla: 1 of the ")


def test_answers_in_json_are_numbers(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, lambda index: index == 0)
    out = tmp_path / "answers.jsonl"
    assert main(["run", str(tiny_bundle), "--source", folder_of_images(tmp_path), "--sink", f"jsonl:{out}"]) == 0
    ticks = [line for line in map(json.loads, out.read_text().splitlines()) if "result" in line]
    assert [tick["index"] for tick in ticks] == [1, 2]
    assert all(tick["result"]["fraction"] is not None for tick in ticks)


def test_unused_rows_of_a_detector_may_contain_anything():
    task = task_of("detect")
    spec = HeadSpec("ssd", {"boxes": "b", "classes": "c", "scores": "s", "count": "n"})
    outputs = {
        "b": np.full((3, 4), np.nan, np.float32),
        "c": np.full(3, np.inf, np.float32),
        "s": np.full(3, np.nan, np.float32),
        "n": np.array([1], np.float32),
    }
    outputs["b"][0], outputs["c"][0], outputs["s"][0] = 0.5, 0, 0.9
    context = DecodeContext(("car",), head=spec)
    task.check_finite(outputs, context)
    outputs["s"][0] = np.nan
    with pytest.raises(InvalidOutputError, match="output s"):
        task.check_finite(outputs, context)
