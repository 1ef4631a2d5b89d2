import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, OutputError, SourceError
from orilla.runtime.frame import Frame, Tick, wall_time
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.shm_layout import FOLDER
from orilla.runtime.sinks.shm_reader import SharedTicks
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread

DOCS = Path(__file__).parents[3] / "docs" / "sinks.md"

WRITER = """
import sys, time
import numpy as np
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.tasks.tensor import ArrayResult
sink = sink_opener(sys.argv[1]).open(Setup())
for index in range(10**9):
    image = np.full((120, 160, 3), index % 251, np.uint8)
    sink.write(Tick(Frame(index, image, time.monotonic_ns()), ArrayResult({}), {"infer": 1.0}, time.monotonic_ns()))
    if index == 0:
        print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def name():
    """Return a name for a shared-memory segment. The segment must no longer exist after the test."""
    chosen = f"orilla-test-{os.getpid()}"
    yield chosen
    left = (FOLDER / chosen).exists()
    (FOLDER / chosen).unlink(missing_ok=True)
    assert not left


@pytest.fixture
def writer(name):
    """Return a function that starts and returns a process, which writes ticks."""
    started = []

    def start(options="?frames", pause_s=0.0):
        command = [sys.executable, "-c", WRITER, f"shm:{name}{options}", str(pause_s)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"open\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    (FOLDER / name).unlink(missing_ok=True)


def opened(spec, told=None):
    return sink_opener(spec).open(Setup(report=(told if told is not None else []).append))


def tick(index, image):
    return Tick(Frame(index, image, 10**12 + index), ticks.classified(), {"infer": 1.0}, 10**12 + index + 500)


def picture(height=48, width=64):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_the_newest_tick_is_read(name):
    sink = opened(f"shm:{name}?frames")
    with SharedTicks(name) as reader:
        assert reader.read() is None
        for index in range(10):
            written = tick(index, picture())
            sink.write(written)
        read = reader.read()
        assert (read.number, read.captured_ns) == (10, written.captured_ns)
        assert wall_time(read.captured_ns)[:18] == read.document["captured_at"][:18]
        assert abs(read.captured_wall_ns - time.time_ns() - read.captured_ns + time.monotonic_ns()) < 5e7
        expected = written.to_dict()
        assert read.document | {"captured_at": ""} == expected | {"captured_at": ""}
        np.testing.assert_array_equal(read.image, written.frame.image)
        assert reader.read() is None
        assert not reader.ended
        sink.close()
        assert reader.ended
        assert list(reader) == []


def test_images_are_written_on_request_only(name):
    sink = opened(f"shm:{name}")
    sink.write(tick(0, picture()))
    with SharedTicks(name) as reader:
        assert reader.read().image is None
        assert (FOLDER / name).stat().st_size < 200_000
    sink.close()


def test_a_view_of_an_image_is_written(name):
    sink, image = opened(f"shm:{name}?frames"), picture(100, 100)[::2, ::-1]
    sink.write(tick(0, image))
    with SharedTicks("/" + name) as reader:
        np.testing.assert_array_equal(reader.read().image, image)
    sink.close()


def test_a_larger_frame_replaces_the_memory(name):
    told = []
    sink = opened(f"shm:{name}?frames", told)
    with SharedTicks(name) as reader:
        for index, size in enumerate(((48, 64), (30, 50), (480, 640), (480, 640))):
            sink.write(tick(index, picture(*size)))
            read = reader.read()
            assert (read.number, read.image.shape[:2]) == (index + 1, size)
            assert not reader.ended
    assert len(told) == 1
    assert "replaced by a larger one" in told[0]
    sink.close()


@pytest.mark.parametrize("slots", [2, 4])
def test_no_tick_is_torn(name, writer, slots):
    process, seen = writer(f"?frames&slots={slots}"), 0
    with SharedTicks(name) as reader:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            read = reader.read()
            if read is not None:
                seen += 1
                assert read.document["index"] == read.number - 1
                assert (read.image == read.document["index"] % 251).all()
        assert not reader.ended
    assert process.poll() is None
    assert seen > 50


def test_the_reader_of_the_documentation(name, writer):
    code = re.search(r"```python\n(import json, mmap.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    writer(pause_s=0.005)
    program = code.replace("/dev/shm/rover", str(FOLDER / name))
    reader = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True)
    lines = [reader.stdout.readline() for _ in range(5)]
    reader.kill()
    reader.wait()
    reader.stdout.close()
    numbers = [int(line.split()[-1]) for line in lines]
    assert numbers == sorted(set(numbers))
    assert all(line.split()[-3:-1] == ["120", "160"] for line in lines)


def test_a_killed_writer(name, writer):
    process, told = writer(pause_s=0.01), []
    with SharedTicks(name) as reader:
        assert reader.read() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.read()
        assert reader.read() is None
        assert reader.ended
        assert list(reader) == []
        sink = opened(f"shm:{name}?frames", told)
        assert told == [f"removed the segment {name}, which process {process.pid} left when it was killed"]
        sink.write(tick(7, picture()))
        assert reader.read().document["index"] == 7
        sink.close()


@pytest.mark.timing
def test_dead_and_stopped_readers_do_not_delay_the_loop(name):
    events = []
    sink = SinkThread(sink_opener(f"shm:{name}?frames"), Setup(live=True), events.append)
    code = (
        "from orilla.runtime.sinks.shm_reader import SharedTicks\n"
        f"ticks = SharedTicks({name!r})\nprint('open', flush=True)\nwhile True: ticks.read()"
    )
    readers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    for reader, end in zip(readers, (signal.SIGSTOP, signal.SIGKILL), strict=True):
        assert reader.stdout.readline() == b"open\n"
        reader.send_signal(end)
    image = picture(480, 640)
    rate_hz = ticks.drive(lambda one: sink.write(tick(one.index, image)), 60, 100.0)
    counts = sink.close()
    assert (counts.written, counts.dropped, events) == (60, 0, [])
    assert rate_hz > 97
    for reader in readers:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def test_without_room_the_sink_ends_once(name, monkeypatch):
    def full(file, offset, size):
        if size > 100_000:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    # Even without a reservation, the file must have its size.
    monkeypatch.setattr(os, "fchmod", lambda file, mode: os.ftruncate(file, 64))
    events = []
    sink = SinkThread(sink_opener(f"shm:{name}?frames"), Setup(live=True), events.append)
    for index in range(3):
        assert sink.write(tick(index, picture(480, 640)))
        time.sleep(0.02)
    assert "no room for" in sink.close().failed
    assert [event.kind for event in events] == ["sink"]
    assert "the loop continues without it" in events[0].detail


def refused(spec):
    with pytest.raises((ConfigError, OutputError)) as caught:
        opened(spec).close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shm", "the sink `shm` needs a target: give shm:NAME"),
        ("shm:a/b", "a name consists of letters"),
        ("shm:../x", "a name consists of letters"),
        ("shm:x?slots=1", "slots=1: expected a number from 2 to 1000"),
        ("shm:x?slots=many", "slots=many"),
        ("shm:x?frame", "frames"),
        ("shm:x?access=root", "expected user, group or all"),
    ],
)
def test_bad_specifications(spec, message):
    assert message in refused(spec)


def test_a_name_is_written_by_one_program(name):
    sink = opened(f"shm:{name}")
    assert refused(f"shm:{name}") == f"another program writes the segment {name}: choose another name"
    sink.close()


def test_the_memory_of_another_program_is_kept(name):
    (FOLDER / name).write_bytes(b"something else")
    assert "is not a segment of the sink `shm`: choose another name" in refused(f"shm:{name}")
    with pytest.raises(SourceError, match="there is no shared-memory segment"):
        SharedTicks(name)
    (FOLDER / name).write_bytes(b"something else" * 10)
    with pytest.raises(SourceError, match="is not a segment of the sink"):
        SharedTicks(name)
    assert (FOLDER / name).read_bytes() == b"something else" * 10
    (FOLDER / name).unlink()


def test_a_source_without_images(name):
    sink = opened(f"shm:{name}?frames")
    with pytest.raises(ConfigError, match="omit frames"):
        sink.write(ticks.tick())
    sink.close()


def test_a_missing_memory():
    with pytest.raises(
        SourceError, match="there is no shared-memory segment nothing: start a loop with --sink shm:nothing"
    ):
        SharedTicks("nothing", wait_s=0.01)


@pytest.mark.parametrize(("access", "mode"), [("user", 0o600), ("group", 0o640), ("all", 0o644)])
def test_access(name, access, mode):
    sink = opened(f"shm:{name}?access={access}")
    assert (FOLDER / name).stat().st_mode & 0o777 == mode
    sink.close()


def test_the_layout_is_the_documented_one(name):
    sink = opened(f"shm:{name}?frames&slots=3")
    for index in range(5):
        sink.write(tick(index, picture(2, 4)))
    with (FOLDER / name).open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, version, slots, size, written, state, pid = struct.unpack_from("<8sIIQQII", memory)
    assert (magic, version, slots, written, state, pid) == (b"ORILLASM", 1, 3, 5, 0, os.getpid())
    at = 64 + 4 % 3 * size
    begin, end, captured_ns, _, length, image_at, height, width = struct.unpack_from("<QQqqIIII", memory, at)
    assert (begin, end, captured_ns, height, width) == (5, 5, 10**12 + 4, 2, 4)
    assert json.loads(memory[at + 64 : at + 64 + length])["index"] == 4
    assert memory[at + image_at : at + image_at + 24] == picture(2, 4).tobytes()
    memory.close()
    sink.close()
