import json

import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.tasks.segment import decode


def tick(index=0, size=(48, 64)):
    grid = np.zeros((6, 8, 1), np.float32)
    grid[3:] = 1
    frame = Frame(index, factories.picture(*size), 1000 + index)
    return Tick(frame, decode(grid, size, "road"), {"infer": 2.0}, 5_001_000 + index)


def test_the_road_is_tinted_and_the_rest_is_not():
    answered = tick(size=(480, 640))
    picture = answered.draw()
    below, above = slice(400, 470), slice(120, 200)
    assert (picture[below, ..., 1].astype(int) - answered.frame.image[below, ..., 1]).mean() > 10
    assert np.array_equal(picture[above, 400:], answered.frame.image[above, 400:])


def test_json_lines_in_a_file_appear_whole(tmp_path):
    path = tmp_path / "ticks.jsonl"
    sink = sink_opener(f"jsonl:{path}")(25.0)
    for index in range(3):
        assert sink.write(tick(index))
        assert not path.exists()
    sink.close(complete=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert lines[0]["captured_ns"] == 1000
    assert lines[0]["age_ms"] == 5.0
    assert lines[0]["stages_ms"] == {"infer": 2.0}
    assert lines[0]["result"]["fraction"] == 0.5


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
def test_a_video_can_be_read_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    sink = sink_opener(f"video:{path}")(20.0)
    for index in range(10):
        sink.write(tick(index, (97, 131)))
    sink.close(complete=True)
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 10
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (130, 96)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(20)


@pytest.mark.parametrize("spec", ["jsonl:{}/out.jsonl", "video:{}/out.mp4"])
@pytest.mark.parametrize("frames", [0, 2])
def test_an_incomplete_output_leaves_no_file(tmp_path, spec, frames):
    sink = sink_opener(spec.format(tmp_path))(None)
    for index in range(frames):
        sink.write(tick(index))
    sink.close(complete=False)
    assert list(tmp_path.iterdir()) == []


def test_specs_are_checked_before_anything_opens():
    for spec, match in (
        ("vidoe:out.mp4", "unknown sink 'vidoe': did you mean video"),
        ("video", "the sink `video` needs an argument: give video:OUT.mp4"),
        ("video:out.gif", "must end in .mp4, .avi, .webm"),
    ):
        with pytest.raises(ConfigError, match=match):
            sink_opener(spec)(25.0)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        sink_opener(f"video:{tmp_path}/no/out.mp4")(25.0)


def test_a_window_needs_the_windowed_build_or_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises((ConfigError, ImportError), match=r"orilla\[gui\]|no display"):
        sink_opener("window")(25.0)


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    return count


def at(index, captured_ms):
    answered = tick(index)
    frame = Frame(index, answered.frame.image, captured_ms * 1_000_000)
    return Tick(frame, answered.result, answered.stages_ms, frame.captured_ns)


@pytest.mark.parametrize(
    ("rate_hz", "live", "ticks", "frames"),
    [
        (10.0, False, [(0, 0), (1, 3), (2, 4)], 3),
        # Every third frame has an answer. The video shows each answered frame for the duration of three frames.
        (10.0, False, [(3, 0), (6, 3), (9, 4)], 7),
        (10.0, True, [(0, 0), (1, 100), (2, 480)], 6),
        # The answers arrive faster than the frame rate of the video.
        (10.0, True, [(0, 0), (1, 10), (2, 20), (3, 100)], 2),
        # An hour without answers becomes a still image of five seconds.
        (10.0, True, [(0, 0), (1, 3_600_000), (2, 3_600_100)], 1 + 50 + 1),
        (None, True, [(0, 0), (1, 1000)], 26),
        (None, False, [(0, 0), (7, 1000)], 2),
    ],
)
def test_a_video_keeps_time(tmp_path, rate_hz, live, ticks, frames):
    path = tmp_path / "out.avi"
    sink = sink_opener(f"video:{path}")(rate_hz, live=live)
    for index, captured_ms in ticks:
        assert sink.write(at(index, captured_ms))
    sink.close(complete=True)
    assert frames_of(path) == frames
