import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
from helpers import factories
from helpers.ticks import cascaded, classified, detected, segmented

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Doubt, Event, Frame, Record, Tick
from orilla.runtime.loop.checks import CHECKS
from orilla.runtime.sinks.clip_encoder import Coded, Ring
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.tasks.tensor import ArrayResult

RATE_HZ = 10


def tick(index, result=None, doubts=(), size=(48, 64)):
    """Return a tick of a camera with ten frames per second. Its picture shows the index of the frame."""
    image = np.full((*size, 3), 2 * index % 256, np.uint8)
    captured_ns = round(1e9 * (100 + index / RATE_HZ))
    return Tick(Frame(index, image, captured_ns), result or detected(), {"infer": 1.0}, captured_ns, doubts=doubts)


def opened(tmp_path, options="", *, suffix=".mp4", live=True, labels=(), report=print):
    spec = f"clip:{tmp_path}/%Y%m%d-%H%M%S{suffix}?before=2s&after=1s&draw=nothing&{options}"
    return sink_opener(spec).open(Setup(float(RATE_HZ), live, labels, report))


def event(kind, index, detail="what happened"):
    return Event(kind, index, round(1e9 * (100 + index / RATE_HZ)), detail)


def in_order(tmp_path, suffix=".m*"):
    """Return the videos in the order in which they were finished."""
    return sorted(tmp_path.glob(f"*{suffix}"), key=lambda path: path.stat().st_mtime_ns)


def clips(tmp_path):
    """Return the documents of each clip: triggers, and frames with the index that their picture shows."""
    found = []
    for path in in_order(tmp_path):
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
        with av.open(path) as video:
            frames = list(video.decode(video=0))
        documents = [line for line in lines if "index" in line]
        assert len(frames) == len(documents)
        for frame, document in zip(frames, documents, strict=True):
            assert float(frame.time) == pytest.approx(document["clip_s"], abs=2e-3)
            shown = frame.to_ndarray(format="bgr24").mean() / 2
            assert shown == pytest.approx(document["index"] % 128, abs=2)
        found.append(([line for line in lines if "index" not in line], [line["index"] for line in documents]))
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_shows_what_was_before_and_after_a_trigger(tmp_path, suffix):
    sink = opened(tmp_path, suffix=suffix)
    for index in range(100):
        sink.write(tick(index))
        if index == 50:
            sink.event(event("trigger", 50, "bump"))
    sink.close()
    [([trigger], indices)] = clips(tmp_path)
    assert (trigger["trigger"], trigger["detail"]) == ("trigger", "bump")
    assert indices == list(range(indices[0], 61))
    assert 20 <= indices[0] <= 30  # A clip begins at a keyframe, up to a second earlier.
    assert trigger["clip_s"] == pytest.approx((50 - indices[0]) / RATE_HZ)


def test_answers_and_wall_clock_times_are_beside_the_video(tmp_path):
    sink = opened(tmp_path, "on=doubt")
    for index in range(10):
        sink.write(tick(index, classified(), doubts=("dark",) if index > 4 else ()))
    sink.close()
    [file] = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    trigger, *frames = lines
    assert (trigger["trigger"], trigger["detail"]) == ("doubt", "the frames are dark")
    assert trigger["at"][:16] == frames[5]["captured_at"][:16]
    assert trigger["at_ns"] == frames[5]["captured_ns"]
    assert frames[5]["doubts"] == ["dark"]
    assert all(frame["result"] == classified().to_dict() for frame in frames)


def test_triggers_during_a_clip_prolong_it(tmp_path):
    sink = opened(tmp_path, "on=lost")
    for index in range(120):
        sink.write(tick(index))
        if index in (40, 48, 56, 90):
            sink.event(event("lost", index))
    sink.close()
    first, second = clips(tmp_path)
    assert (len(first[0]), first[1][-1]) == (3, 66)
    assert (len(second[0]), second[1][-1]) == (1, 100)
    assert second[1][0] in range(60, 71)


def test_a_recorded_source_has_its_own_time(tmp_path):
    sink = opened(tmp_path, "on=doubt", live=False)
    for index in range(60):
        sink.write(tick(index, doubts=("frozen",) if index == 30 else ()))
    sink.close()
    [(_, indices)] = clips(tmp_path)
    assert indices[0] <= 10
    assert indices[-1] == 40


def test_a_lost_camera_ends_the_clip_when_it_is_back(tmp_path):
    sink = opened(tmp_path, "on=lost")
    for index in (*range(30), *range(300, 330)):
        sink.write(tick(index))
        if index == 29:
            sink.event(event("lost", 29))
            assert len(list(tmp_path.glob("*.mp4"))) == 1  # The frames before the loss are written immediately.
    sink.close()
    [(_, indices)] = clips(tmp_path)
    assert indices[-1] == 29


def test_an_event_before_the_first_frame_begins_a_clip(tmp_path):
    sink = opened(tmp_path, "on=back")
    sink.event(event("back", 0))
    for index in range(30):
        sink.write(tick(index))
    sink.close()
    assert clips(tmp_path)[0][1] == list(range(11))


@pytest.mark.parametrize(
    ("on", "results", "expected"),
    [
        ("on=nothing&label=person", [detected("car"), detected("person", "car"), detected("car")], ["person"]),
        ("on=nothing&label=dog", [classified("cat"), classified("dog"), classified("cat")], ["dog"]),
        ("on=nothing&label=road", [segmented(0.0), segmented(0.5), segmented(0.0)], ["road"]),
        ("on=nothing&label=cat", [ArrayResult({}), cascaded(), ArrayResult({})], ["cat"]),
        ("on=change", [detected("car"), detected(), detected("car")], ["change", "change"]),
        ("on=change", [detected("car"), detected("car"), detected("car")], []),
        ("on=nothing", [detected("car"), detected(), detected("car")], []),
        ("on=dark", [detected()] * 3, []),
    ],
)
def test_what_begins_a_clip(tmp_path, on, results, expected):
    sink = opened(tmp_path, on)
    for index, result in enumerate(results):
        sink.write(tick(index, result, doubts=("frozen",) if index else ()))
    sink.close()
    found = clips(tmp_path)
    assert [trigger["trigger"] for triggers, _ in found for trigger in triggers] == expected


def test_a_class_that_stays_prolongs_the_clip(tmp_path):
    sink = opened(tmp_path, "on=nothing&label=person")
    for index in range(100):
        sink.write(tick(index, detected("person") if 30 <= index < 60 else detected()))
    sink.close()
    [(triggers, indices)] = clips(tmp_path)
    assert len(triggers) == 1
    assert indices[-1] == 69


def test_a_long_clip_continues_in_another_file(tmp_path):
    sink = opened(tmp_path, "on=change&size=2KB")
    for index in range(60):
        sink.write(tick(index, detected("a") if index % 2 else detected()))
    sink.close()
    found = clips(tmp_path)
    assert len(found) > 2
    assert [index for _, indices in found for index in indices] == list(range(60))
    names = [path.name for path in in_order(tmp_path)]
    assert [line["continues"] for triggers, _ in found for line in triggers if "continues" in line] == names[:-1]


def test_old_clips_are_deleted_with_their_lines(tmp_path):
    sink = opened(tmp_path, "on=nothing&max=8KB")
    for index in range(400):
        sink.write(tick(index))
        if index % 40 == 0:
            sink.event(event("trigger", index))
    sink.close()
    videos = {path.stem for path in tmp_path.glob("*.mp4")}
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == videos
    assert 1 <= len(videos) < 10
    newest = max(path.stat().st_size for path in tmp_path.glob("*.mp4"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8_000 + 2 * (newest + 8_000)


def test_the_memory_is_limited(tmp_path):
    told = []
    sink = opened(tmp_path, "on=nothing&memory=40KB", report=told.append)
    rng = np.random.default_rng(1)
    for index in range(40):
        noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
        sink.write(Tick(Frame(index, noise, tick(index).captured_ns), detected(), {"infer": 1.0}, 0))
    assert 0 < sink.held <= 40_000
    assert len(told) == 1
    assert "memory=0.04MB holds" in told[0]
    sink.close()


def test_the_ring_keeps_whole_groups_of_frames():
    ring = Ring(2.0, 10_000, print)
    for index in range(100):
        ring.add(Coded(b"x" * 10, index % 10 == 0, index, index / 10, index / 10, b"y"))
    assert [coded.pts for coded in ring.since(8.35)] == list(range(80, 100))
    assert [coded.pts for coded in ring.since(0.0)] == list(range(70, 100))
    assert ring.size == 30 * 11


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_frames_of_another_size_begin_anew_between_clips_and_are_scaled_within(tmp_path, suffix):
    sink = opened(tmp_path, "on=nothing", suffix=suffix)
    for index in range(40):
        sink.write(tick(index, size=(48, 64) if index < 20 else (97, 131)))
        if index in (18, 36):
            sink.event(event("trigger", index))
    sink.close()
    sizes = []
    for path in in_order(tmp_path, suffix):
        with av.open(path) as video:
            frames = list(video.decode(video=0))
        sizes.append((frames[0].width, frames[0].height, len(frames) > 10))
    assert sizes == [(64, 48, True), (130, 96, True)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_kill_during_a_clip_leaves_a_playable_file_that_the_next_start_reports(tmp_path, suffix):
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
from test_clip import event, tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
sink = sink_opener("clip:{tmp_path}/%Y%m%d-%H%M%S{suffix}?before=2s&after=9s&on=nothing").open(Setup(10.0, True))
for index in range(70):
    sink.write(tick(index))
    if index == 30:
        sink.event(event("trigger", 30))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    [video], [beside] = tmp_path.glob(f"*{suffix}"), tmp_path.glob("*.jsonl")
    with av.open(video) as container:
        shown = sum(1 for _ in container.decode(video=0))
    lines = [json.loads(line) for line in beside.read_text().splitlines()]
    written = sum("index" in line for line in lines)
    assert written >= 50
    assert shown >= written - 1.5 * RATE_HZ

    with beside.open("ab") as file:
        file.write(b'{"clip_s":4')
    told = []
    opened(tmp_path, suffix=suffix, report=told.append).close()
    assert told == [
        f"{video} was left by a killed process: it can be played, but may lack its last second",
        f"removed an incomplete last line of 11 bytes from {beside}, left behind by a killed process",
    ]
    assert len(beside.read_text().splitlines()) == len(lines)


def test_a_clip_without_an_image_is_removed_with_its_lines(tmp_path):
    video, beside, told = tmp_path / "20260101-000000.mp4", tmp_path / "20260101-000000.jsonl", []
    video.write_bytes(b"")
    beside.write_bytes(b'{"clip')
    opened(tmp_path, report=told.append).close()
    assert told == [f"removed the video {video} without an image, left behind by a killed process"]
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "bump.jsonl").write_text("mine")
    sink = sink_opener(f"clip:{tmp_path}/bump.mp4?on=nothing").open(Setup(10.0, True))
    for index in range(3):
        sink.write(tick(index))
    sink.event(event("trigger", 2))
    sink.close()
    assert (tmp_path / "bump.jsonl").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bump-1.jsonl", "bump-1.mp4", "bump.jsonl"]


def test_without_a_trigger_there_is_no_file(tmp_path):
    sink = opened(tmp_path / "new")
    for index in range(5):
        sink.write(tick(index))
    sink.close()
    assert list((tmp_path / "new").iterdir()) == []


def test_bad_options_are_told_before_the_loop(tmp_path):
    for options, match in (
        ("on=doubts", "unknown word in `on` 'doubts': did you mean doubt"),
        ("on=nothing,lost", "nothing cannot be combined"),
        ("on=", "expected one or more words"),
        ("append", "append and overwrite are not possible for clips"),
        ("crf=99", "crf=99: expected a number from 0 to 51"),
        ("before=now", "before=now: expected a duration"),
    ):
        with pytest.raises(ConfigError, match=match):
            sink_opener(f"clip:{tmp_path}/a.mp4?{options}")
    with pytest.raises(ConfigError, match=r"must end in .mp4"):
        sink_opener(f"clip:{tmp_path}/a.gif").open(Setup())
    with pytest.raises(ConfigError, match="unknown class in the option label of the sink clip 'persom'"):
        opened(tmp_path, "label=persom", labels=("person", "car"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        opened(tmp_path / "file" / "below")


def test_a_text_has_no_clip(tmp_path):
    sink = opened(tmp_path)
    with pytest.raises(ConfigError, match="there is no image for a clip"):
        sink.write(Tick(Record(0, {}, 0), ArrayResult({}), {"infer": 1.0}, 0))


def test_every_doubt_is_a_check_of_the_guard():
    assert set(get_args(Doubt)) == set(CHECKS)


def test_a_stream_passes_the_triggers_of_the_program_on(tiny_bundle, tmp_path):
    import orilla.runtime
    from orilla.runtime.sinks.group import Sinks

    told = []
    opener = sink_opener(f"clip:{tmp_path}/%H%M%S.mp4?on=nothing")
    images = [factories.picture(20, 30)] * 6
    with Sinks([opener], Setup(10.0), told.append) as sinks, orilla.runtime.open(str(tiny_bundle)) as model:
        stream = model.stream(images, on_event=sinks.event)
        for each in stream:
            sinks.write(each)
            if each.index == 3:
                stream.trigger("bump")
    [file] = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["detail"] == "bump"
    assert sum("index" in line for line in lines) == 6
