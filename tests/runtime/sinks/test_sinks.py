import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.tasks.classify import Classification
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


def opened(spec, rate_hz=25.0, *, live=False, report=print):
    return sink_opener(spec).open(Setup(rate_hz, live=live, report=report))


def test_json_lines_appear_at_once(tmp_path):
    path = tmp_path / "ticks.jsonl"
    sink = opened(f"jsonl:{path}")
    for index in range(3):
        assert sink.write(tick(index))
        assert len(path.read_text().splitlines()) == index + 1
    sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert lines[0]["captured_ns"] == 1000
    assert lines[0]["age_ms"] == 5.0
    assert lines[0]["stages_ms"] == {"infer": 2.0}
    assert lines[0]["result"]["fraction"] == 0.5


def test_an_incomplete_last_line_is_removed(tmp_path):
    path, reported = tmp_path / "ticks.jsonl", []
    path.write_bytes(b'{"index": 0}\n{"ind')
    sink = opened(f"jsonl:{path}?append", report=reported.append)
    sink.write(tick(1))
    sink.close()
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1]
    assert reported == [f"removed an incomplete last line of 5 bytes from {path}, left behind by a killed process"]


def test_a_dated_file_of_an_earlier_loop_is_repaired(tmp_path):
    path, reported = tmp_path / "20260101.jsonl", []
    path.write_bytes(b'{"index": 0}\n{"ind')
    opened(f"jsonl:{tmp_path}/%Y%m%d.jsonl", report=reported.append).close()
    assert path.read_bytes() == b'{"index": 0}\n'
    assert reported == [f"removed an incomplete last line of 5 bytes from {path}, left behind by a killed process"]


def test_a_document_without_a_line_break_is_kept(tmp_path):
    path, reported = tmp_path / "ticks.jsonl", []
    path.write_bytes(b'{"index": 0}')
    opened(f"jsonl:{path}?append", report=reported.append).close()
    assert path.read_bytes() == b'{"index": 0}\n'
    assert reported == []


def test_a_file_that_may_belong_to_somebody_else_is_not_changed(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_bytes(b"a,b")
    with pytest.raises(OutputError, match="already exists"):
        opened(f"csv:{path}")
    assert path.read_bytes() == b"a,b"


def test_a_file_that_another_loop_writes_is_not_changed(tmp_path):
    path, reported = tmp_path / "20260101.jsonl", []
    path.write_bytes(b'{"ind')
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        opened(f"jsonl:{tmp_path}/%Y%m%d.jsonl", report=reported.append).close()
    assert path.read_bytes() == b'{"ind'
    assert reported == []


@pytest.mark.parametrize("options", ["", "?append", "?overwrite"])
@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_file_is_continued_and_never_emptied(tmp_path, name, options):
    path = tmp_path / "out.txt"
    path.write_text("keep")
    with path.open("ab") as file:
        sink = opened(f"jsonl:{name.format(file.fileno())}{options}")
        sink.write(tick(0))
        sink.close()
        file.write(b"end")
    assert path.read_bytes().startswith(b'keep{"index":0')
    assert path.read_bytes().endswith(b"}\nend")


def test_the_descriptor_of_a_pipe_is_a_target(tmp_path):
    reader, writer = os.pipe()
    sink = opened(f"csv:/dev/fd/{writer}")
    sink.write(tick(0))
    sink.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert len(pipe.read().splitlines()) == 2


def test_incomplete_images_are_removed(tmp_path):
    old, new, reported = tmp_path / ".1.jpg.part", tmp_path / ".2.jpg.part", []
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    opened(f"frames:{tmp_path}", report=reported.append).close()
    assert list(tmp_path.iterdir()) == [new]
    assert reported == [f"removed the incomplete image {old}, left behind by a killed process"]


def test_lines_are_divided_among_files(tmp_path):
    sink = opened(f"jsonl:{tmp_path}/a.jsonl?size=500")
    for index in range(10):
        sink.write(tick(index))
    sink.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "a-1.jsonl"
    assert "a.jsonl" in names
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(10))


def test_the_options_of_json_lines_need_a_file():
    with pytest.raises(ConfigError, match="its options require a file"):
        opened("jsonl?append")


def test_csv_has_a_column_for_each_value(tmp_path):
    path = tmp_path / "ticks.csv"
    sink = opened(f"csv:{path}")
    for index in range(2):
        sink.write(tick(index))
    sink.close()
    sink = opened(f"csv:{path}?append")
    sink.write(tick(2))
    sink.close()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["result.label"] == "road"
    assert float(rows[2]["stages_ms.infer"]) == 2.0
    assert json.loads(rows[0]["result.centre_xy"])[0] == pytest.approx(0.5, abs=0.02)


def decoded(path):
    """Return the images of a video, and their times in seconds."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="bgr24") for frame in frames], [float(frame.time) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_a_video_can_be_read_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    sink = opened(f"video:{path}", 20.0)
    ticks = [tick(index, (97, 131)) for index in range(10)]
    for answered in ticks:
        sink.write(answered)
    sink.close()
    images, times = decoded(path)
    assert images[0].shape == (96, 130, 3)
    assert times == pytest.approx([index / 20 for index in range(10)], abs=1e-3)
    drawn = cv2.resize(ticks[0].draw(), (130, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(images[0].astype(int) - drawn).mean() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_killed_process_leaves_a_playable_video(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
from test_sinks import opened, tick
sink = opened("video:{path}", 20.0)
for index in range(70):
    sink.write(tick(index, (97, 131)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    _, times = decoded(path)
    assert times[-1] > 70 / 20 - 1.5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("size", [0, 30, 0.7, 1.0])
def test_the_next_start_tells_what_a_killed_process_left(tmp_path, suffix, size):
    path, reported = tmp_path / f"20260101{suffix}", []
    sink = opened(f"video:{path}", 20.0)
    for index in range(70):
        sink.write(tick(index, (97, 131)))
    unfinished = path.read_bytes()
    sink.close()
    if size < 1:
        path.write_bytes(unfinished[: round(size * len(unfinished))])
    elif size > 1:
        path.write_bytes(unfinished[:size])

    opened(f"video:{tmp_path}/%Y%m%d{suffix}", 20.0, report=reported.append).close()

    if size in (0, 30):
        assert reported == [f"removed the video {path} without an image, left behind by a killed process"]
        assert not path.exists()
    else:
        told = f"{path} was left by a killed process: it can be played, but may lack its last second"
        assert reported == ([told] if size < 1 else [])
        assert len(decoded(path)[0]) > 20


def test_a_video_is_divided_into_segments(tmp_path):
    sink = opened(f"video:{tmp_path}/%H.mp4?size=4KB", 20.0)
    for index in range(60):
        sink.write(tick(index, (97, 131)))
    sink.close()
    files = list(tmp_path.iterdir())
    assert len(files) > 2
    parts = [decoded(path) for path in files]
    assert sum(len(images) for images, _ in parts) == 60
    assert all(times[0] == 0 for _, times in parts)


def test_a_video_without_a_frame_leaves_no_file(tmp_path):
    opened(f"video:{tmp_path}/out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_frames_are_files(tmp_path):
    sink = opened(f"frames:{tmp_path}/new?format=png&draw=nothing")
    ticks = [tick(index) for index in range(3)]
    for answered in ticks:
        sink.write(answered)
    sink.close()
    files = sorted((tmp_path / "new").iterdir())
    assert [path.name[-13:] for path in files] == ["-00000000.png", "-00000001.png", "-00000002.png"]
    assert np.array_equal(cv2.imread(str(files[1])), ticks[1].frame.image)


def test_frames_are_written_when_the_labels_change(tmp_path):
    sink = opened(f"frames:{tmp_path}?on=change")
    for index, label in enumerate(["stop", "stop", "go", "go", "stop"]):
        answered = tick(index)
        scores = np.array([label == "stop", label == "go"], np.float32)
        sink.write(msgspec.structs.replace(answered, result=Classification(("stop", "go"), scores)))
    sink.close()
    assert sorted(path.stem[-1] for path in tmp_path.iterdir()) == ["0", "2", "4"]


def test_a_program_receives_lines(tmp_path):
    sink = opened(f"exec:dd 'of={tmp_path}/out lines' status=none")
    for index in range(3):
        sink.write(tick(index))
    sink.close()
    lines = (tmp_path / "out lines").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2]


def write_until_error(sink):
    for index in range(1000):
        sink.write(tick(index))
        time.sleep(1e-3)


def test_a_program_that_ended_is_an_error():
    sink = opened("exec:sh -c 'exit 3'")
    time.sleep(0.2)
    with pytest.raises(OutputError, match="the program ended with exit code 3"):
        write_until_error(sink)
    sink.close()
    with pytest.raises(OutputError, match="cannot start no-such-program: No such file"):
        opened("exec:no-such-program")
    with pytest.raises(ConfigError, match="no closing quotation"):
        opened("exec:cat 'x")


def test_specs_are_checked_before_anything_opens():
    for spec, match in (
        ("vidoe:out.mp4", "unknown sink 'vidoe': did you mean video"),
        ("video", "the sink `video` needs a target: give video:OUT.mp4"),
        ("video:out.mp4?append", "append is not possible for a video"),
        ("video:out.mp4?crf=52", "crf=52: expected a number from 0 to 51"),
        ("frames:out?format=gif", "format=gif: expected jpg, png or webp"),
    ):
        with pytest.raises(ConfigError, match=match):
            sink_opener(spec)
    with pytest.raises(ConfigError, match=r"must end in .mp4, .mkv, .webm, .avi"):
        opened("video:out.gif")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory"):
        opened(f"video:{tmp_path}/no/out.mp4")


def test_a_full_disk_is_an_error():
    sink = opened("jsonl:/dev/full")
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left on device"):
        sink.write(tick())
    sink.close()


def test_a_window_needs_the_windowed_build_or_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises((ConfigError, ImportError), match=r"orilla\[gui\]|no display"):
        opened("window")


def at(index, captured_ms):
    answered = tick(index)
    frame = Frame(index, answered.frame.image, captured_ms * 1_000_000)
    return Tick(frame, answered.result, answered.stages_ms, frame.captured_ns)


@pytest.mark.parametrize(
    ("rate_hz", "live", "ticks", "times"),
    [
        (10.0, False, [(0, 0), (1, 3), (2, 4)], [0, 0.1, 0.2]),
        # Every third frame has an answer, and is shown for the duration of three frames.
        (10.0, False, [(3, 0), (6, 3), (9, 4)], [0, 0.3, 0.6]),
        (10.0, True, [(0, 0), (1, 100), (2, 480)], [0, 0.1, 0.48]),
        # An hour without answers is shortened to five seconds.
        (10.0, True, [(0, 0), (1, 3_600_000), (2, 3_600_100)], [0, 5, 5.1]),
        (None, True, [(0, 0), (1, 1000)], [0, 1]),
        (None, False, [(0, 0), (7, 1000)], [0, 0.04]),
    ],
)
def test_a_video_keeps_time(tmp_path, rate_hz, live, ticks, times):
    path = tmp_path / "out.mp4"
    sink = opened(f"video:{path}", rate_hz, live=live)
    for index, captured_ms in ticks:
        assert sink.write(at(index, captured_ms))
    sink.close()
    assert decoded(path)[1] == pytest.approx(times, abs=1e-3)
