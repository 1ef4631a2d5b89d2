"""The fault matrix: what the loop does if its source, engine or sinks fail. `docs/faults.md` lists every row."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.faults import (
    LIMIT_S,
    FaultyEngine,
    FaultySink,
    FaultySource,
    image,
    lost,
    opener,
    raising,
    stream,
    waiting,
)

import orilla.runtime
from orilla.devices.errors import EngineError, OutputError, SourceError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop import loop as loop_module
from orilla.runtime.loop.ladder import Ladder
from orilla.runtime.loop.shadow import Shadow
from orilla.runtime.model import Model
from orilla.runtime.sinks import sink_thread
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.segments import FileOptions, Segments
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.capture import MAX_CORRUPT, CorruptFrames
from orilla.runtime.sources.reconnect import Reconnecting
from orilla.runtime.sources.time_limit import TimeLimited, TimeLimits
from orilla.runtime.tasks.tensor import ArrayResult

ROOT = Path(__file__).parents[3]


@pytest.fixture
def events():
    return []


def kinds(events):
    return [event.kind for event in events]


def camera(*sources):
    """Return a camera that is reopened after it was lost. If an item is an error, it is raised."""
    left = list(sources)

    def open_source():
        source = left.pop(0)
        if isinstance(source, Exception):
            raise source
        return source

    return Reconnecting(open_source, "camera 0", first_wait_s=1e-3)


def read(stream, count):
    """Return the first ticks of a stream, and close it."""
    with stream:
        return list(itertools.islice(stream, count))


def until_error(stream, error, match):
    """Return the numbers of the frames that have answers before the stream raises an error."""
    indices = []

    def collect():
        for each in stream:
            indices.append(each.index)  # noqa: PERF401 - the list is needed although the loop raises

    with pytest.raises(error, match=match):
        collect()
    return indices


def tick(index, picture=None):
    return Tick(
        Frame(index, image(index) if picture is None else picture, 1000 * index), ArrayResult({}), {"infer": 1.0}, 0
    )


def write_all(sinks, count=20, pause_s=0.0):
    for index in range(count):
        sinks.write(tick(index))
        time.sleep(pause_s)


# Source


def test_camera_gone(events):
    source = camera(FaultySource(9, {3: lost()}), SourceError("no camera"), FaultySource(99))
    ticks = read(stream(source, events=events), 7)
    assert [each.index for each in ticks] == list(range(7))
    assert kinds(events) == ["lost", "back"]
    assert events[0].detail == "the cable is out; retrying"


@pytest.mark.parametrize("error", [KeyError("color"), OSError(24, "Too many open files"), MemoryError()])
def test_driver_raises(events, error):
    first = FaultySource(9, {3: raising(error)}, on_close=raising(RuntimeError("the device is gone")))
    ticks = read(stream(camera(first, error, FaultySource(99)), events=events), 7)
    assert [each.index for each in ticks] == list(range(7))
    assert kinds(events) == ["lost", "back"]
    assert events[0].detail.startswith(type(error).__name__)


@pytest.mark.parametrize("live", [True, False])
def test_garbage_frames(events, live):
    garbage = (
        np.zeros((0, 16, 3), np.uint8),
        np.zeros((16, 16), np.uint8),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((16, 16, 3), np.float64),
        np.zeros((16, 16, 3), object),
        "not an image",
        b"",
    )
    faults = {2 * place + 1: (lambda found=found: found) for place, found in enumerate(garbage)}
    ticks = read(stream(FaultySource(15, faults, live=live), events=events), 99)
    assert [each.index for each in ticks] == list(range(0, 15, 2))
    assert kinds(events) == ["corrupt"] * len(garbage)
    assert ticks[-1].drops == {"corrupt": len(garbage)}


def test_only_garbage(events):
    corrupt = CorruptFrames("camera 0")
    faults = {number: (lambda: corrupt.check(0, None, 0)) for number in range(1, 1 + MAX_CORRUPT)}
    ticks = read(stream(camera(FaultySource(9, faults), FaultySource(99)), events=events), 7)
    assert len(ticks) == 7
    assert kinds(events) == ["corrupt"] * (MAX_CORRUPT - 1) + ["lost", "back"]
    assert "unusable frames in a row" in events[-2].detail


def test_recording_fails(events):
    source = FaultySource(9, {4: lost("the disk is gone")}, live=False)
    assert until_error(stream(source, events=events), SourceError, "the disk is gone") == [0, 1, 2, 3]
    assert source.closed == 1


def test_camera_stalls(events):
    gate = threading.Event()
    sources = [FaultySource(99, {3: waiting(gate)}), FaultySource(99)]
    limits = TimeLimits(open_s=LIMIT_S, read_s=0.1)

    def open_source():
        return TimeLimited(lambda: sources.pop(0), "camera 0", limits)

    ticks = read(stream(Reconnecting(open_source, "camera 0", first_wait_s=1e-3), events=events), 7)
    gate.set()
    assert [each.index for each in ticks] == list(range(7))
    assert kinds(events) == ["lost", "back"]
    assert "delivered no frame for 0.1 s" in events[0].detail


def test_source_without_a_time_limit_stalls(monkeypatch):
    monkeypatch.setattr(loop_module, "JOIN_TIMEOUT_S", 0.2)
    gate = threading.Event()
    began = time.monotonic()
    assert len(read(stream(FaultySource(9, {3: waiting(gate)})), 3)) == 3
    assert time.monotonic() - began < LIMIT_S / 2
    gate.set()


# Engine


def test_engine_raises():
    engine = FaultyEngine({4: raising(EngineError("the delegate failed"))})
    ticks = stream(FaultySource(9, live=False), engine)
    assert until_error(ticks, EngineError, "the delegate failed") == [0, 1, 2, 3]


def test_inference_thread_dies():
    with pytest.raises(SystemExit):
        read(stream(FaultySource(9, live=False), FaultyEngine({4: raising(SystemExit(3))})), 99)


def test_capture_thread_dies():
    with pytest.raises(SystemExit):
        read(stream(FaultySource(9, {4: raising(SystemExit(3))})), 99)


# Sinks


@pytest.mark.parametrize("error", [OutputError("cannot write x"), RuntimeError("a bug"), SystemExit(3)])
def test_sink_dies(events, error):
    dead, whole = FaultySink({3: raising(error)}), FaultySink()
    sinks = Sinks([opener(dead, name="dead"), opener(whole, name="whole")], Setup(), events.append)
    write_all(sinks)
    counts = sinks.close()
    assert whole.written == list(range(20))
    assert counts["dead"].failed is not None
    assert counts["whole"].failed is None
    assert kinds(events) == ["sink"]
    assert "the loop continues without it" in events[0].detail


def test_server_of_a_sink_dies(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "FIRST_WAIT_S", 1e-3)
    second = FaultySink()
    refused = OutputError("connection refused")
    first = FaultySink({3: raising(OutputError("the connection broke"))})
    sinks = Sinks([opener(first, refused, refused, second, reopens=True)], Setup(), events.append)
    write_all(sinks)
    counts = sinks.close()["faulty"]
    assert first.written + second.written == [index for index in range(20) if index != 3]
    assert (counts.dropped, counts.failed) == (1, None)
    assert kinds(events) == ["sink", "sink"]


def test_sink_refuses(events):
    with pytest.raises(OutputError, match="connection refused"):
        Sinks([opener(OutputError("connection refused"))], Setup(), events.append)
    assert events == []


def test_sink_is_slow(events):
    slow, whole = FaultySink(always=lambda: time.sleep(0.02)), FaultySink()
    sinks = Sinks([opener(slow, name="slow"), opener(whole, name="whole")], Setup(live=True), events.append)
    began = time.monotonic()
    write_all(sinks, 50, 2e-3)
    seconds = time.monotonic() - began
    counts = sinks.close()
    assert whole.written == list(range(50))
    assert counts["slow"].dropped == 50 - len(slow.written) > 0
    assert slow.written == sorted(slow.written)
    assert kinds(events) == ["sink"]
    assert seconds < 50 * 0.02


def test_sink_hangs(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "CLOSE_S", 0.1)
    gate = threading.Event()
    hanging, whole = FaultySink({2: waiting(gate)}), FaultySink()
    sinks = Sinks([opener(hanging, name="hanging"), opener(whole, name="whole")], Setup(live=True), events.append)
    write_all(sinks, 50, 1e-3)
    counts = sinks.close()
    gate.set()
    assert whole.written == list(range(50))
    assert counts["hanging"].failed == "it did not finish within 0.1 s"
    assert counts["hanging"].dropped == 50 - 3 - sink_thread.DEPTH
    assert kinds(events) == ["sink", "sink"]
    for thread in (one for one in threading.enumerate() if one.name == "orilla-sink-hanging"):
        thread.join(5)
        assert not thread.is_alive(), "the thread must end when the sink no longer hangs"
    assert hanging.written == list(range(3 + sink_thread.DEPTH))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow the test to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["jsonl", "csv", "video", "clip", "frames", "mcap"])
def test_disk_full(small_disk, events, name):
    target = {
        "jsonl": "out.jsonl",
        "csv": "out.csv",
        "video": "out.mp4",
        "clip": "out.mp4?on=change",
        "frames": "out?format=png",
        "mcap": "out.mcap?frames",
    }[name]
    if name == "mcap":
        pytest.importorskip("mcap.writer")
    rng = np.random.default_rng(1)
    whole = FaultySink()
    sinks = Sinks([sink_opener(f"{name}:{small_disk}/{target}"), opener(whole)], Setup(25.0), events.append)
    free = 200 if name in ("jsonl", "csv") else 0
    (small_disk / "filler").write_bytes(bytes(free << 10))
    count = 0
    while not events and count < 2000:
        index, count = count, count + 1
        noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
        result = ArrayResult({"values": np.full(20, index, np.float32)})
        sinks.write(Tick(Frame(index, noise, 40_000_000 * index), result, {"infer": 1.0}, 40_000_000 * index))
    failed = next(counts for spec, counts in sinks.close().items() if spec != "faulty")
    assert whole.written == list(range(count))
    assert failed.failed is not None
    assert "No space left on device" in failed.failed
    assert kinds(events) == ["sink"]
    assert failed.written > 0
    files = [path for path in small_disk.rglob("*") if path.is_file() and path.name != "filler"]
    assert files
    assert not [path for path in files if path.name.startswith(".")]
    for path in files:
        if path.suffix in (".jsonl", ".csv"):
            assert path.read_bytes().endswith(b"\n")
        if path.suffix == ".jsonl":
            assert all("index" in json.loads(line) or "trigger" in line for line in path.read_text().splitlines())
        if path.suffix == ".mp4":
            with av.open(path) as video:
                assert sum(1 for _ in video.decode(video=0)) > 0


def test_disk_of_the_recording_is_full(tiny_bundle, small_disk):
    (small_disk / "filler").write_bytes(bytes(240 << 10))
    with orilla.runtime.open(tiny_bundle) as model:
        ticks = model.stream(FaultySource(200, live=False), record=small_disk / "loop.rec")
        assert until_error(ticks, OutputError, "No space left on device") == list(range(200))


@pytest.mark.parametrize(
    ("helper", "options", "expected"),
    [
        ("_open_reference", {"shadow": Shadow(every=1)}, "drift"),
        ("_open_rung", {"ladder": Ladder(0.1, ("litert_fp16",)), "policy": "latest"}, "rung"),
    ],
)
def test_shadow_or_rung_fails(tiny_bundle, events, monkeypatch, helper, options, expected):
    def fail(*words):
        msg = "no memory"
        raise EngineError(msg)

    monkeypatch.setattr(Model, helper, fail)
    deadline = time.monotonic() + LIMIT_S
    with (
        orilla.runtime.open(tiny_bundle, variant="litert_wi8_ai8") as model,
        model.stream(FaultySource(10**9), on_event=events.append, guard=False, **options) as ticks,
    ):
        for _ in ticks:
            if "no memory" in str(events) or time.monotonic() > deadline:
                break
        assert len(list(itertools.islice(ticks, 10))) == 10
    assert kinds(events)[-1] == expected
    assert "no memory" in events[-1].detail


USED_UP = """
import os, resource, sys, time
sys.path[:0] = [{tests!r}]
from helpers.faults import FaultySource, FaultySink, lost, opener, stream
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.reconnect import Reconnecting

held, events, whole, sources = [], [], FaultySink(), [FaultySource(99, {{10: lost()}}), FaultySource(99)]

def open_source():
    os.close(os.open(os.devnull, os.O_RDONLY))  # A driver opens its device.
    return sources.pop(0)

def use_up():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass

report = lambda event: events.append((event.kind, event.detail))
openers = [sink_opener("frames:{folder}/frames"), sink_opener("jsonl:{folder}/out.jsonl"), opener(whole)]
camera = Reconnecting(open_source, "camera 0", first_wait_s=1e-3)
ticks = stream(camera, on_event=report)
with ticks, Sinks(openers, Setup(), report) as sinks:
    for count, tick in enumerate(ticks, 1):
        sinks.write(tick)
        if count == 5:
            use_up()
        if count == 10:
            while not any(kind == "lost" for kind, _ in events):
                time.sleep(1e-3)
            time.sleep(0.05)
            for number in held:
                os.close(number)
        if count == 20:
            break
    counts = sinks.close()
assert whole.written == list(range(20)), whole.written
assert counts["jsonl:{folder}/out.jsonl"].written == 20, counts
assert "Too many open files" in counts["frames:{folder}/frames"].failed, counts
assert [kind for kind, _ in events if kind != "sink"] == ["lost", "back"], events
assert sum("Too many open files" in detail for kind, detail in events if kind == "sink") == 1, events
"""


def test_descriptors_used_up(tmp_path):
    code = USED_UP.format(tests=str(ROOT / "tests"), folder=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(20))


# Clock


def test_clock_steps_in_the_loop(events, monkeypatch):
    """The wall clock of a board without a battery jumps by decades when it receives the time from the network."""
    began_s, began_ns = time.time(), time.time_ns()
    steps = itertools.cycle([0, 10 * 365 * 86_400, -86_400])
    monkeypatch.setattr(time, "time", lambda: began_s + next(steps))
    monkeypatch.setattr(time, "time_ns", lambda: began_ns + 10**9 * next(steps))
    ticks = read(stream(FaultySource(30), events=events), 30)
    assert [each.index for each in ticks] == list(range(30))
    assert all(0 <= each.age_ms < 1000 * LIMIT_S for each in ticks)
    assert events == []


class Clock:
    """A wall clock that is set, and a monotonic clock that continues."""

    def __init__(self):
        self.wall, self.monotonic = 1_700_000_000.0, 0.0


def test_clock_steps_and_files(tmp_path):
    clock = Clock()
    options = FileOptions(every=60, max=300)
    segments = Segments(f"{tmp_path}/%Y%m%d-%H%M%S.bin", options, lambda: clock.wall, clock_s=lambda: clock.monotonic)
    written = []
    for number in range(6):
        path, file = segments.next()
        with file:
            file.write(bytes(100))
        os.utime(path, (clock.wall, clock.wall))
        written.append(path)
        assert not segments.is_full(100)
        clock.monotonic += 61
        clock.wall += 61 if number != 3 else -86_400  # Set the clock back by a day.
        assert segments.is_full(100)
    assert len(set(written)) == 6
    assert sorted(path for path in written if path.exists()) == sorted(written[-4:])


# Program


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sigterm_at_any_moment(tiny_bundle, tmp_path, seed):
    sinks = ("jsonl:{}/a.jsonl", "csv:{}/a.csv", "video:{}/a.mp4", "clip:{}/b.mp4?on=change", "frames:{}/frames")
    words = [word for sink in sinks for word in ("--sink", sink.format(tmp_path))]
    command = [sys.executable, "-m", "orilla.runtime.cli", "run", str(tiny_bundle), "--source", "scenes", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(random.Random(seed).uniform(0.05, 0.4) * 3**seed)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130, 143, -signal.SIGTERM)
    assert "Traceback" not in errors
    for path in tmp_path.rglob("*"):
        assert not path.name.startswith(".")
        if path.suffix == ".jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())
        if path.suffix == ".mp4":
            with av.open(path) as video:
                assert sum(1 for _ in video.decode(video=0)) > 0


def test_caller_is_slow(events):
    gate = threading.Event()
    source = FaultySource(40, {39: waiting(gate)})
    with stream(source, events=events, policy="latest") as ticks:
        first = next(ticks)
        deadline = time.monotonic() + LIMIT_S
        while source._reads < 39 and time.monotonic() < deadline:
            time.sleep(1e-3)
        gate.set()
        rest = [first, *ticks]
    indices = [each.index for each in rest]
    assert indices == sorted(set(indices))
    assert rest[-1].dropped >= 40 - len(rest) - 2
    assert set(rest[-1].drops) <= {"superseded", "unconsumed"}


def test_event_function_raises():
    def fail(event):
        raise KeyError(event.kind)

    source = FaultySource(9, {3: lambda: Event("corrupt", 3, 0, "damaged")})
    assert until_error(stream(source, on_event=fail), KeyError, "corrupt") == [0, 1, 2]
