import json
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, MissingExtraError, OutputError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread
from orilla.runtime.tasks.detect import Box, Detection
from orilla.runtime.tasks.segment import decode
from orilla.runtime.tasks.segmentation import ClassSegmentation

xxhash = pytest.importorskip("xxhash")
pytest.importorskip("zenoh")
pytest.importorskip("rosbags.typesys")
from helpers.zenoh_router import zenoh_router  # noqa: E402

from orilla.runtime.sinks.ros2_zenoh import CLOSING  # noqa: E402
from orilla.runtime.sinks.ros_types import RosTypes, ros_token  # noqa: E402

TYPES = RosTypes()

HASHES = {
    "std_msgs/msg/String": "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
    "nav_msgs/msg/Odometry": "RIHS01_3cc97dc7fb7502f8714462c526d369e35b603cfc34d946e3f2eda2766dfec6e0",
    "sensor_msgs/msg/CompressedImage": "RIHS01_15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a",
    "sensor_msgs/msg/Image": "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
}
"""Hashes that ROS 2 Jazzy shows in `ros2 topic info --verbose`."""


@pytest.fixture(scope="module")
def router():
    with zenoh_router() as router:
        yield router


def spec(router, target, options=""):
    return f"ros2:{target}?via=zenoh&connect=tcp/127.0.0.1:{router.port}{options}"


def publish(router, target, results, options="", source=None):
    """Write ticks with these results, and return the sink, which is closed."""
    sink = sink_opener(spec(router, target, options)).open(Setup())
    for index, result in enumerate(results):
        assert sink.write(ticks.tick(index, result, source))
    sink.close()
    return sink


def parsed(sample):
    package, kind, _, name = sample.parts[2].split("::")
    return TYPES.decode(sample.payload, f"{package}/{kind}/{name.removesuffix('_')}")


def test_the_hashes_of_types_are_those_of_ros():
    assert {name: TYPES.hash_of(name) for name in HASHES} == HASHES


@pytest.mark.parametrize("mode", ["router", "peer"])
@pytest.mark.parametrize("qos", ["reliable", "best_effort"])
def test_a_detector_publishes_as_rmw_zenoh_does(mode, qos):
    boxes = (Box("cat", 0.75, (10.0, 20.0, 30.0, 60.0), track=7), Box("dog", 0.5, (0.0, 0.0, 2.0, 4.0)))
    with zenoh_router(mode) as router:
        options = f"&domain=5&namespace=/rover&node=eye&frame_id=front_optical&qos={qos}"
        sink = sink_opener(spec(router, "seen/cats", options)).open(Setup())
        captured_ns, before_ns = time.monotonic_ns() - 20_000_000, time.time_ns()
        for index in range(3):
            frame = Frame(index, np.zeros((48, 64, 3), np.uint8), captured_ns)
            sink.write(Tick(frame, Detection(boxes, (48, 64)), {"infer": 1.0}, time.monotonic_ns()))
        samples = router.on("rover/seen/cats", 3)
        type_hash = TYPES.hash_of("vision_msgs/msg/Detection2DArray")
        dds_name = "vision_msgs::msg::dds_::Detection2DArray_"
        assert {sample.key for sample in samples} == {f"5/rover/seen/cats/{dds_name}/{type_hash}"}

        router.wait(lambda: len(router.tokens) == 2)
        zid = next(iter(router.tokens)).split("/")[2]
        publisher = f"@ros2_lv/5/{zid}/0/1/MP/%/%rover/eye/%rover%seen%cats/{dds_name}/{type_hash}/"
        publisher += {"reliable": "::,10:,:,:,,", "best_effort": "2::,10:,:,:,,"}[qos]
        assert router.tokens == {f"@ros2_lv/5/{zid}/0/0/NN/%/%rover/eye", publisher}

        assert [sample.attachment.number for sample in samples] == [1, 2, 3]
        digest = xxhash.xxh3_128_intdigest(publisher.encode())
        assert samples[0].attachment.gid == digest.to_bytes(16, "little")
        assert 0 <= samples[0].attachment.time_ns - before_ns < 10e9

        message = parsed(samples[0])
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert abs(stamp + 20_000_000 - before_ns) < 5_000_000
        assert message.header.frame_id == "front_optical"
        first, second = message.detections
        assert (first.bbox.center.position.x, first.bbox.center.position.y) == (20.0, 40.0)
        assert (first.bbox.size_x, first.bbox.size_y, first.bbox.center.theta) == (20.0, 40.0, 0.0)
        assert (first.results[0].hypothesis.class_id, first.results[0].hypothesis.score) == ("cat", 0.75)
        assert (first.id, second.id) == ("7", "")
        assert first.header == message.header
        sink.close()
        router.wait(lambda: not router.tokens)


def test_a_classifier_publishes_all_classes(router):
    publish(router, "/pets", [ticks.classified("dog", 0.75)])
    (sample,) = router.on("pets")
    message = parsed(sample)
    assert sample.parts[2] == "vision_msgs::msg::dds_::Classification_"
    assert [(one.class_id, one.score) for one in message.results] == [("dog", 0.75), ("cat", 0.25)]
    assert message.header.frame_id == "camera"


def test_a_segmentation_publishes_its_mask(router):
    result = ticks.segmented(0.25)
    classes = np.zeros((4, 4), np.float32)
    classes[2:] = 2
    several = ClassSegmentation(("sky", "car", "road"), classes, result.placement)
    publish(router, "/mask", [result, several])
    one, other = (parsed(sample) for sample in router.on("mask", 2))
    assert (one.height, one.width, one.step, one.encoding, one.is_bigendian) == (100, 64, 64, "mono8", 0)
    assert np.array_equal(one.data.reshape(100, 64), 255 * result.mask().astype(np.uint8))
    assert np.array_equal(other.data.reshape(100, 64), several.classes)


def test_each_value_of_a_regression_has_a_topic(router):
    publish(router, "/drive", [ticks.regressed(0.25)])
    assert parsed(router.on("drive/steering_angle")[0]).data == 0.25
    assert parsed(router.on("drive/values")[0]).data == 2.0


def test_several_models_have_a_topic_each(router):
    publish(router, "/all", [ticks.several()])
    assert router.on("all/road")[0].parts[2] == "sensor_msgs::msg::dds_::Image_"
    assert router.on("all/pets")[0].parts[2] == "vision_msgs::msg::dds_::Classification_"


def test_counts_and_all_other_results_are_json(router):
    publish(router, "/other", [ticks.cascaded(), ticks.counted("person")])
    first = json.loads(parsed(next(one for one in router.on("other", 2) if "String" in one.key)).data)
    assert first["result"] == ticks.cascaded().to_dict()
    assert first["index"] == 0
    assert json.loads(parsed(router.on("other/counts")[0]).data) == ticks.counted("person").to_dict()["counts"]


def test_frames_are_published_on_request(router):
    cv2 = pytest.importorskip("cv2")
    sink = sink_opener(spec(router, "/eye", "&frames")).open(Setup())
    frame = Frame(0, np.full((48, 64, 3), 90, np.uint8), time.monotonic_ns())
    tick = Tick(frame, ticks.detected("cat"), {"infer": 1.0}, time.monotonic_ns())
    sink.write(tick)
    sink.close()
    message = parsed(router.on("eye/image/compressed")[0])
    assert message.format == "jpeg"
    image = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
    assert np.abs(image.astype(int) - tick.draw()).mean() < 10
    assert message.header.stamp == parsed(router.on("eye")[0]).header.stamp


@pytest.mark.parametrize(("target", "topic"), [("/car", "car/rear"), ("/car/rear/pets", "car/rear/pets")])
def test_each_source_has_a_topic(router, target, topic):
    publish(router, target, [ticks.classified()], source="rear")
    assert parsed(router.on(topic)[0]).header.frame_id == "rear"


def test_events_are_published(router):
    sink = sink_opener(spec(router, "/eventful")).open(Setup())
    sink.event(Event("lost", 3, 5, "camera 0 stopped"))
    sink.close()
    assert json.loads(parsed(router.on("eventful/event")[0]).data)["detail"] == "camera 0 stopped"


def test_the_domain_comes_from_the_environment(router, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    publish(router, "/domain", [ticks.classified()])
    assert router.on("domain")[0].parts[0] == "42"


@pytest.mark.parametrize(
    ("name", "expected"), [("steering angle", "steering_angle"), ("3 m", "n3_m"), ("_°", "value"), ("a__b", "a_b")]
)
def test_names_become_names_of_ros(name, expected):
    assert ros_token(name) == expected


def test_a_peer_without_neighbours_publishes(tmp_path):
    file = tmp_path / "zenoh.json5"
    file.write_text('{mode: "peer", listen: {endpoints: ["tcp/127.0.0.1:0"]}, scouting: {multicast: {enabled: false}}}')
    sink = sink_opener(f"ros2:/alone?config={file}").open(Setup())
    assert sink.write(ticks.tick(0, ticks.classified()))
    sink.close()


def test_a_file_of_settings_replaces_the_address(router, tmp_path):
    file = tmp_path / "zenoh.json5"
    file.write_text(
        f'{{mode: "client", connect: {{endpoints: ["tcp/127.0.0.1:{router.port}"]}}, '
        "scouting: {multicast: {enabled: false}}}"
    )
    sink = sink_opener(f"ros2:/settings?config={file}").open(Setup())
    sink.write(ticks.tick(0, ticks.classified()))
    sink.close()
    assert router.on("settings")
    file.write_text("{mode: 3")
    with pytest.raises(ConfigError, match=r"cannot read config=.*zenoh\.json5"):
        sink_opener(f"ros2:/settings?config={file}").open(Setup())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ros2", "needs a target: give ros2:TOPIC"),
        ("ros2:/a//b", "not the name of a topic"),
        ("ros2:/2fast", "not the name of a topic"),
        ("ros2:a__b", "not the name of a topic"),
        ("ros2:a?domain=233", "domain=233: give a number from 0 to 232"),
        ("ros2:a?domain=-1", "domain=-1"),
        ("ros2:a?namespace=rover", "namespace=rover: give a name such as /rover"),
        ("ros2:a?node=my-node", "node=my-node"),
        ("ros2:a?connect=localhost:7447", "connect=tcp/HOST:7447"),
        ("ros2:a?connect=tcp/user@host:7447", "connect=tcp/HOST:7447"),
        ("ros2:a?qos=best", "expected reliable or best_effort"),
        ("ros2:a?via=rclpy&connect=tcp/h:1", "need via=zenoh"),
        ("ros2:a?topic=b", "unknown option"),
        ("ros2:a?via=rclpy", "rclpy is not installed"),
    ],
)
def test_bad_targets_and_options_are_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        sink_opener(text).open(Setup())
    assert message in str(caught.value)
    assert "user" not in str(caught.value)


def test_a_wrong_domain_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "home")
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID=home: give a number from 0 to 232"):
        sink_opener("ros2:a").open(Setup())


@pytest.mark.parametrize(
    ("module", "extra"), [("ros2_messages", "rosbags is not"), ("ros2_zenoh", "eclipse-zenoh is not")]
)
def test_missing_packages_are_named(monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, f"orilla.runtime.sinks.{module}", None)
    with pytest.raises(MissingExtraError, match=extra):
        sink_opener("ros2:a?via=zenoh").open(Setup())


def test_the_reason_of_a_refused_connection_is_stated():
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for place, reason in (
            (f"127.0.0.1:{closed.getsockname()[1]}", "no program listens there"),
            (f"127.0.0.1:{silent.getsockname()[1]}", "does not answer as a Zenoh router"),
            ("nowhere.invalid:7447", "name"),
        ):
            began = time.monotonic()
            with pytest.raises(OutputError) as caught:
                sink_opener(f"ros2:a?via=zenoh&connect=tcp/{place}").open(Setup())
            assert f"tcp/{place}: " in str(caught.value)
            assert reason in str(caught.value)
            assert time.monotonic() - began < 8


def running(router, topic):
    """Return a sink in its thread, and the list of its events."""
    events = []
    return SinkThread(sink_opener(spec(router, topic)), Setup(live=True), events.append), events


def news(events):
    """Return the texts of the events that the router causes. Other programs on this machine may delay the sink."""
    delays = ("is too slow", "accepts ticks again")
    return [event.detail for event in events if not any(words in event.detail for words in delays)]


@pytest.mark.timing
def test_a_router_that_is_away_is_one_event_and_the_sink_recovers():
    with zenoh_router() as router:
        sink, events = running(router, "/away")
        assert ticks.drive(sink.write, 20, 100) > 97
        router.on("away", 20)
        router.kill()
        assert ticks.drive(sink.write, 100, 100, 20) > 97
        assert len(news(events)) == 1
        assert "failed: lost the connection to Zenoh" in news(events)[0]
        router.samples.clear()
        router.start()
        deadline = time.monotonic() + 10
        while len(news(events)) < 2 and time.monotonic() < deadline:
            ticks.drive(sink.write, 5, 100, 120)
        assert ticks.drive(sink.write, 50, 100, 120) > 97
        counts = sink.close()
        assert "was reopened" in news(events)[1]
        assert len(news(events)) == 2, events
        assert counts.failed is None
        router.on("away")
        assert router.samples[0].attachment.number == 1


@pytest.mark.timing
def test_a_router_that_accepts_no_data_does_not_delay_the_loop():
    with zenoh_router() as router:
        events = []
        opener = sink_opener(spec(router, "/stuck"))
        sink = SinkThread(opener, Setup(live=True), events.append)
        sink.write(ticks.tick(0, ticks.segmented()))
        router.on("stuck")
        router.signal(signal.SIGSTOP)
        big = decode(np.zeros((4, 4, 1), np.float32), (1080, 1920), "road")
        rate_hz = ticks.drive(
            lambda tick: sink.write(Tick(tick.frame, big, tick.stages_ms, tick.delivered_ns)), 400, 100
        )
        assert rate_hz > 97
        details = [event.detail for event in events]
        assert sum("is too slow" in detail for detail in details) == 1
        assert any("has accepted no data for 2 s" in detail for detail in details), details
        began = time.monotonic()
        counts = sink.close()
        assert time.monotonic() - began < 10
        assert counts.dropped > 100
    for thread in threading.enumerate():
        if thread.name == CLOSING:
            thread.join(15)


def test_a_killed_loop_vanishes_from_the_graph(router):
    code = (
        "import time\n"
        "from orilla.runtime.sinks.registry import sink_opener\n"
        "from orilla.runtime.sinks.sink import Setup\n"
        f"sink = sink_opener({spec(router, '/killed', '&node=victim')!r}).open(Setup())\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        router.wait(lambda: any("victim" in name for name in router.tokens), 30)
        process.kill()
        router.wait(lambda: not any("victim" in name for name in router.tokens))


class FakeRos:
    """The parts of rclpy that the sink uses. ROS itself cannot be installed with pip."""

    def __init__(self):
        self.calls, self.published = [], []

    def install(self, monkeypatch):
        context = types.SimpleNamespace(
            Context=lambda: types.SimpleNamespace(try_shutdown=lambda: self.calls.append("down"))
        )
        qos = types.SimpleNamespace(
            QoSProfile=lambda **options: options,
            ReliabilityPolicy=types.SimpleNamespace(RELIABLE="reliable", BEST_EFFORT="best_effort"),
        )
        rclpy = types.ModuleType("rclpy")
        rclpy.__spec__ = types.SimpleNamespace()
        rclpy.init = lambda *, context, domain_id: self.calls.append(domain_id)
        rclpy.create_node = lambda name, **options: self.node(name, options["namespace"])
        classes = types.SimpleNamespace(Classification="the class", Detection2DArray="the class")
        for name, module in {
            "rclpy": rclpy,
            "rclpy.context": context,
            "rclpy.qos": qos,
            "vision_msgs.msg": classes,
        }.items():
            monkeypatch.setitem(sys.modules, name, module)

    def node(self, name, namespace):
        self.calls.append((name, namespace))
        return types.SimpleNamespace(
            create_publisher=self.publisher, destroy_node=lambda: self.calls.append("destroyed")
        )

    def publisher(self, kind, topic, qos):
        self.calls.append((kind, topic, qos))
        return types.SimpleNamespace(publish=self.published.append)


def test_an_installed_ros_is_used(monkeypatch):
    ros = FakeRos()
    ros.install(monkeypatch)
    sink = sink_opener("ros2:pets?domain=3&namespace=/rover&qos=best_effort").open(Setup())
    for index in range(2):
        sink.write(ticks.tick(index, ticks.classified()))
    sink.close()
    qos = {"depth": 10, "reliability": "best_effort"}
    assert ros.calls == [3, ("orilla", "/rover"), ("the class", "/rover/pets", qos), "destroyed", "down"]
    assert [TYPES.decode(data, "vision_msgs/msg/Classification").results[0].class_id for data in ros.published] == [
        "cat"
    ] * 2


def test_a_package_that_ros_lacks_is_named(monkeypatch):
    ros = FakeRos()
    ros.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    sink = sink_opener("ros2:pets").open(Setup())
    with pytest.raises(OutputError, match="install ros-jazzy-vision-msgs, or use via=zenoh"):
        sink.write(ticks.tick(0, ticks.classified()))
