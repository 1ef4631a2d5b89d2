import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event, Frame, Tick, wall_ns
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread

reader = pytest.importorskip("mcap.reader")
highlevel = pytest.importorskip("rosbags.highlevel")


def opened(spec, told=None):
    return sink_opener(spec).open(Setup(report=(told if told is not None else []).append))


def with_image(index, result=None, source=None, image=None):
    captured_ns = time.monotonic_ns()
    image = np.full((48, 64, 3), (10, 100, 200), np.uint8) if image is None else image
    stages_ms = {"prepare": 1.0, "infer": 12.0}
    frame = Frame(index, image, captured_ns)
    return Tick(frame, result or ticks.classified(), stages_ms, captured_ns + 20_000_000, {}, source)


def recorded(path, written, options="", events=()):
    """Record ticks and events. Return the messages, as rosbags reads them. The keys are the topics."""
    sink = opened(f"mcap:{path}{options}")
    for tick in written:
        assert sink.write(tick)
    for event in events:
        sink.event(event)
    sink.close()
    return read(path)


def read(path):
    """Return time and content of the messages by topic."""
    messages = {}
    with highlevel.AnyReader([path]) as bag:
        for connection, at_ns, data in bag.messages():
            content = bag.deserialize(data, connection.msgtype)
            messages.setdefault(connection.topic, []).append((connection.msgtype, at_ns, content))
    return messages


def scanned(path):
    """Return the indices in the JSON documents of a file without an end, as the library of MCAP reads them."""
    indices = []
    with path.open("rb") as file:
        try:
            for _, channel, message in reader.NonSeekingReader(file).iter_messages(log_time_order=False):
                if channel.topic == "/orilla/json":
                    indices.append(json.loads(message.data[8:].rstrip(b"\0"))["index"])
        except Exception as error:  # noqa: BLE001 - the end of the file is missing
            del error
    return indices


def test_detections(tmp_path):
    tick = ticks.tick(3, ticks.detected("person", "dog"))
    messages = recorded(tmp_path / "a.mcap", [tick])
    assert set(messages) == {"/orilla/detections", "/orilla/json", "/diagnostics"}
    kind, at_ns, array = messages["/orilla/detections"][0]
    assert kind == "vision_msgs/msg/Detection2DArray"
    assert abs(at_ns - wall_ns(tick.captured_ns)) < 2e9
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == divmod(at_ns, 10**9)
    assert array.header.frame_id == "camera"
    assert [one.results[0].hypothesis.class_id for one in array.detections] == ["person", "dog"]
    first = array.detections[0]
    assert first.results[0].hypothesis.score == 0.9
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (15.5, 21.0)
    assert (first.bbox.size_x, first.bbox.size_y, first.id) == (29.0, 38.0, "")


def test_classification_and_image(tmp_path):
    rng_image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 4)
    tick = with_image(0, image=rng_image)
    messages = recorded(tmp_path / "a.mcap", [tick], "?frames&frame_id=optical")
    answer = messages["/orilla/classification"][0][2]
    assert [(one.class_id, one.score) for one in answer.results] == [("cat", 0.75), ("dog", 0.25)]
    kind, at_ns, image = messages["/orilla/image/compressed"][0]
    assert (kind, image.format, image.header.frame_id) == ("sensor_msgs/msg/CompressedImage", "jpeg", "optical")
    assert abs(at_ns - wall_ns(tick.captured_ns)) < 5e7
    assert at_ns == messages["/orilla/classification"][0][1]
    decoded = cv2.imdecode(np.asarray(image.data), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - rng_image).mean() < 4


@pytest.mark.parametrize("result", [ticks.segmented(), ticks.regressed(), ticks.cascaded(), ticks.several(), None])
def test_every_result_is_recorded_as_json(tmp_path, result):
    tick = ticks.tick(5, result)
    kind, _, text = recorded(tmp_path / "a.mcap", [tick])["/orilla/json"][0]
    assert kind == "std_msgs/msg/String"
    assert json.loads(text.data) | {"captured_at": 0} == tick.to_dict() | {"captured_at": 0}


def test_topics_of_sources_and_models(tmp_path):
    written = [ticks.tick(0, ticks.several(), "front camera"), ticks.tick(0, ticks.detected("a"), "2")]
    events = [Event("lost", 3, 10**9, "camera 0 stopped", "2")]
    messages = recorded(tmp_path / "a.mcap", written, "?topic=/rover/eyes", events)
    assert set(messages) == {
        "/rover/eyes/front_camera/pets/classification",
        "/rover/eyes/front_camera/json",
        "/rover/eyes/n2/detections",
        "/rover/eyes/n2/json",
        "/rover/eyes/n2/events",
        "/diagnostics",
    }
    assert messages["/rover/eyes/n2/detections"][0][2].header.frame_id == "2"


def test_events_and_diagnostics(tmp_path):
    written = [ticks.tick(index, None, None, superseded=index // 1500) for index in range(0, 3000, 100)]
    events = [Event("lost", 3, 10**9, "camera 0 stopped"), Event("back", 3, 2 * 10**9, "camera 0 is back")]
    messages = recorded(tmp_path / "a.mcap", written, "", events)
    assert json.loads(messages["/orilla/events"][0][2].data)["detail"] == "camera 0 stopped"
    statuses = [message.status[0] for _, _, message in messages["/diagnostics"]]
    assert sorted((status.level, status.message) for status in statuses) == [
        (0, "camera 0 is back"),
        (0, "running"),
        (0, "running"),
        (1, "frames are dropped"),
        (2, "camera 0 stopped"),
    ]
    running = next(status for status in statuses if status.message == "running")
    values = {pair.key: pair.value for pair in running.values}
    assert (values["age_ms"], values["infer_ms"]) == ("20.000", "12.000")


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_the_library_of_mcap_reads_the_file(tmp_path, compression):
    path = tmp_path / "a.mcap"
    recorded(path, [with_image(index) for index in range(20)], f"?frames&compression={compression}")
    with path.open("rb") as file:
        summary = reader.make_reader(file, validate_crcs=True)
        assert summary.get_header().profile == "ros2"
        counts = summary.get_summary().statistics.channel_message_counts.values()
        assert sorted(counts) == [1, 20, 20, 20]
        for schema, channel, message in summary.iter_messages():
            assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
            assert message.log_time == message.publish_time


def test_segments(tmp_path):
    sink = opened(f"mcap:{tmp_path}/a.mcap?size=20KB&frames&max=10MB")
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    for index in range(60):
        sink.write(with_image(index, image=noise))
    sink.close()
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) > 3
    found = [json.loads(text.data)["index"] for path in files for _, _, text in read(path)["/orilla/json"]]
    assert found == list(range(60))


WRITER = """
import sys, time
import numpy as np
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.tasks.tensor import ArrayResult
sink = sink_opener(sys.argv[1]).open(Setup())
image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
for index in range(10**9):
    sink.write(Tick(Frame(index, image, time.monotonic_ns()), ArrayResult({}), {"infer": 1.0}, time.monotonic_ns()))
    print(index, flush=True)
    time.sleep(0.01)
"""


def test_a_killed_process_leaves_all_but_the_last_second(tmp_path):
    path = tmp_path / "a.mcap"
    process = subprocess.Popen([sys.executable, "-c", WRITER, f"mcap:{path}?frames"], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    written, deadline = [], time.monotonic() + 2.5
    while time.monotonic() < deadline:
        written.append((time.monotonic(), int(process.stdout.readline())))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    indices = scanned(path)
    assert indices == list(range(len(indices)))
    older = [index for at_s, index in written if at_s < deadline - 1.2]
    assert len(indices) > older[-1] > 20
    reports = []
    opened(f"mcap:{tmp_path}/b.mcap", reports).close()
    assert reports == []
    with pytest.raises(OutputError, match="exists: add"):
        opened(f"mcap:{path}", reports)
    assert reports[0].startswith(f"finished {path}, left behind by a killed process; ")
    assert [json.loads(text.data)["index"] for _, _, text in read(path)["/orilla/json"]] == indices


@pytest.fixture
def whole(tmp_path):
    """Return a file with ten chunks, and the offset of its index."""
    path = tmp_path / "whole.mcap"
    sink = opened(f"mcap:{path}?frames")
    for index in range(10):
        sink.write(with_image(index))
        sink.event(Event("waiting", index, time.monotonic_ns(), "camera 0"))
    end = path.stat().st_size
    sink.close()
    return path, end


def test_a_cut_at_any_place_is_finished(tmp_path, whole):
    content, end = whole[0].read_bytes(), whole[1]
    places = np.random.default_rng(1).integers(100, len(content), 50)
    for place in (*places.tolist(), end, end - 1, len(content) - 1):
        folder = tmp_path / str(place)
        folder.mkdir()
        path, reports = folder / "20260101.mcap", []
        path.write_bytes(content[:place])
        expected = scanned(path)
        opened(f"mcap:{folder}/%Y%m%d.mcap", reports).close()
        assert len(reports) == 1
        indices = [json.loads(text.data)["index"] for _, _, text in read(path).get("/orilla/json", [])]
        assert indices == expected
        with path.open("rb") as file:
            statistics = reader.make_reader(file, validate_crcs=True).get_summary().statistics
        assert statistics.chunk_count == len(indices)
        opened(f"mcap:{folder}/%Y%m%d.mcap", reports).close()
        assert len(reports) == 1


def test_a_damaged_chunk_ends_the_file(tmp_path, whole):
    """After a power failure, the last blocks of a file may contain zeros."""
    content, end = bytearray(whole[0].read_bytes()), whole[1]
    content[end - 2000 : end] = bytes(2000)
    path = tmp_path / "cut" / "20260101.mcap"
    path.parent.mkdir()
    path.write_bytes(content[:end])
    before_ns = path.stat().st_mtime_ns
    opened(f"mcap:{path.parent}/%Y%m%d.mcap").close()
    assert path.stat().st_mtime_ns == before_ns
    indices = [json.loads(text.data)["index"] for _, _, text in read(path)["/orilla/json"]]
    assert 0 < len(indices) < 10
    assert indices == list(range(len(indices)))


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "20260101.mcap").write_bytes(b"something else, which is long enough")
    (tmp_path / "20260102.mcap").write_bytes(b"")
    running, reports = opened(f"mcap:{tmp_path}/20260103.mcap"), []
    running.event(Event("lost", 0, 0, "camera 0"))
    opened(f"mcap:{tmp_path}/%Y%m%d.mcap", reports).close()
    assert reports == []
    assert (tmp_path / "20260101.mcap").read_bytes() == b"something else, which is long enough"
    running.close()
    assert len(read(tmp_path / "20260103.mcap")["/orilla/events"]) == 1


def test_a_full_disk_keeps_whole_chunks(tmp_path):
    """The size of files is limited, which the system reports in the same way as a full disk."""
    path, events = tmp_path / "a.mcap", []
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = SinkThread(sink_opener(f"mcap:{path}?frames"), Setup(live=True), events.append)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        for index in range(100):
            assert sink.write(with_image(index, image=noise))
            sink.event(Event("waiting", 0, 0, "x"))  # This event ends the chunk.
            while not sink.failed and sink.counts.written <= index:
                time.sleep(1e-3)
            if sink.failed:
                break
        counts = sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot write {path}: File too large" in counts.failed
    assert [event.kind for event in events if "the loop continues without it" in event.detail] == ["sink"]
    indices = scanned(path)
    assert len(indices) > 1
    assert indices == list(range(len(indices)))


def test_a_full_device():
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left on device"):
        opened("mcap:/dev/full")


@pytest.mark.timing
def test_the_loop_is_not_delayed(tmp_path):
    events = []
    sink = SinkThread(sink_opener(f"mcap:{tmp_path}/a.mcap"), Setup(live=True), events.append)
    rate_hz = ticks.drive(sink.write, 60, 100.0)
    counts = sink.close()
    assert (counts.written, counts.dropped, events) == (60, 0, [])
    assert rate_hz > 97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("append", "an MCAP file cannot be continued"),
        ("quality=0", "quality=0: expected a number from 1 to 100"),
        ("topic=rover", "topic=rover: expected the name of a ROS topic"),
        ("topic=/1", "expected the name of a ROS topic"),
        ("compression=gz", "expected zstd, lz4 or none"),
        ("frame=yes", "frames"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(ConfigError) as caught:
        opened(f"mcap:{tmp_path}/a.mcap?{options}")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bad_targets(tmp_path):
    with pytest.raises(ConfigError, match="needs a target: give mcap:FILE"):
        opened("mcap")
    with pytest.raises(OutputError, match="No such file or directory"):
        opened(f"mcap:{tmp_path}/missing/a.mcap")
    sink = opened(f"mcap:{tmp_path}/a.mcap?frames")
    with pytest.raises(ConfigError, match="omit frames"):
        sink.write(ticks.tick())
    sink.close()
    with pytest.raises(OutputError, match="exists: add"):
        opened(f"mcap:{tmp_path}/a.mcap")


def test_two_programs_cannot_write_one_file(tmp_path):
    sink = opened(f"mcap:{tmp_path}/a.mcap")
    with pytest.raises(OutputError, match="another program is writing this file"):
        opened(f"mcap:{tmp_path}/a.mcap?overwrite")
    sink.close()
    assert Path(tmp_path / "a.mcap").stat().st_size > 0
