import math
import os
import pty
import socket
import threading
import time

import numpy as np
import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.sinks import mavlink
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread
from orilla.runtime.tasks.detect import Box, Detection

common = pytest.importorskip("pymavlink.dialects.v20.common")
mavutil = pytest.importorskip("pymavlink.mavutil")


@pytest.fixture
def receiver():
    """Return a receiver of pymavlink on a free UDP port."""
    link = mavutil.mavlink_connection("udpin:127.0.0.1:0")
    link.number = link.port.getsockname()[1]
    yield link
    link.close()


def opened(spec, told=None):
    return sink_opener(spec).open(Setup(report=(told if told is not None else []).append))


def at_once(result=None, source=None, size_hw=(480, 640), age_s=0.0, index=0):
    """Return a tick that was captured `age_s` seconds ago."""
    captured_ns = time.monotonic_ns() - int(1e9 * age_s)
    frame = Frame(index, np.zeros((*size_hw, 3), np.uint8), captured_ns)
    return Tick(frame, result or ticks.classified(), {"infer": 1.0}, captured_ns + 1_000_000, {}, source)


def received(link, kind=None, silent_s=0.2):
    """Return the messages until none arrives for a while. Heartbeats are omitted unless they are requested."""
    found, deadline = [], time.monotonic() + silent_s
    while time.monotonic() < deadline:
        message = link.recv_match(blocking=True, timeout=0.05)
        if message is not None and (message.get_type() == kind if kind else message.get_type() != "HEARTBEAT"):
            found.append(message)
            deadline = time.monotonic() + silent_s
    return found


def sent(receiver, written, options=""):
    """Write ticks, and return the messages."""
    sink = opened(f"mavlink:udpout:127.0.0.1:{receiver.number}{options}")
    for tick in written:
        assert sink.write(tick)
    found = received(receiver)
    sink.close()
    return found


def boxes(*edges, label="pad"):
    return Detection(tuple(Box(label, 0.9, one) for one in edges), (480, 640))


def test_heartbeat(receiver, monkeypatch):
    monkeypatch.setattr(mavlink, "HEARTBEAT_S", 0.05)
    sink = opened(f"mavlink:udpout:127.0.0.1:{receiver.number}?system=7&component=192")
    sink.event(Event("lost", 0, 0, "camera 0 stopped"))
    time.sleep(0.2)
    sink.event(Event("back", 0, 0, "camera 0 is back"))
    time.sleep(0.2)
    sink.close()
    beats = received(receiver, "HEARTBEAT")
    assert len(beats) >= 4
    first, states = beats[0], [beat.system_status for beat in beats]
    assert (first.type, first.autopilot) == (common.MAV_TYPE_ONBOARD_CONTROLLER, common.MAV_AUTOPILOT_INVALID)
    assert {(beat.get_srcSystem(), beat.get_srcComponent()) for beat in beats} == {(7, 192)}
    assert states[0] == states[-1] == common.MAV_STATE_ACTIVE
    assert common.MAV_STATE_CRITICAL in states


@pytest.mark.parametrize(
    ("edges", "angle_x", "angle_y"),
    [
        ((310.0, 230.0, 330.0, 250.0), 0.0, 0.0),
        ((640.0, 240.0, 640.0, 240.0), math.radians(30), 0.0),
        ((0.0, 240.0, 0.0, 240.0), -math.radians(30), 0.0),
        ((320.0, 480.0, 320.0, 480.0), 0.0, math.atan(0.75 * math.tan(math.radians(30)))),
    ],
)
def test_the_best_box_is_a_landing_target(receiver, edges, angle_x, angle_y):
    tick = at_once(boxes(edges, (1.0, 2.0, 3.0, 4.0)))
    target, value = sent(receiver, [tick], "?fov=60")
    assert target.get_type() == "LANDING_TARGET"
    assert target.time_usec == tick.captured_ns // 1000
    assert (target.angle_x, target.angle_y) == pytest.approx((angle_x, angle_y), abs=1e-5)
    assert (target.frame, target.position_valid, target.distance) == (common.MAV_FRAME_BODY_FRD, 0, 0)
    assert (value.get_type(), value.name, value.value) == ("NAMED_VALUE_FLOAT", "objects", 2)
    assert value.time_boot_ms == tick.captured_ns // 1_000_000


def test_angular_size(receiver):
    target = sent(receiver, [at_once(boxes((0.0, 0.0, 640.0, 480.0)))], "?fov=60x40")[0]
    assert (target.size_x, target.size_y) == pytest.approx((math.radians(60), math.radians(40)), abs=1e-5)


@pytest.mark.parametrize("options", ["", "?fov=60&label=person"])
def test_without_a_target_nothing_is_aimed_at(receiver, options):
    found = sent(receiver, [at_once(boxes((0.0, 0.0, 9.0, 9.0)))], options)
    assert [message.get_type() for message in found] == ["NAMED_VALUE_FLOAT"]


def test_the_label_of_a_target(receiver):
    found = boxes((0.0, 0.0, 0.0, 0.0), label="person").boxes + boxes((320.0, 240.0, 320.0, 240.0)).boxes
    target = sent(receiver, [at_once(Detection(found, (480, 640)))], "?fov=60&label=pad")[0]
    assert target.angle_x == 0


@pytest.mark.parametrize(
    ("result", "values"),
    [
        (ticks.regressed(0.25), {"steering a": 0.25, "values": 2.0}),
        (ticks.segmented(0.5), {"road": 0.5}),
        (ticks.classified(), {"score": 0.75}),
        (ticks.counted("a"), {"objects": 1, "gate.in": 3, "gate.out": 1, "my yard.in": 2, "my yard.en": 5}),
        (ticks.several(), {"road.road": 0.5, "pets.score": 0.75}),
        (ticks.cascaded(), {"objects": 1}),
    ],
)
def test_numbers(receiver, result, values):
    found = sent(receiver, [at_once(result)])
    assert {one.name: one.value for one in found if one.get_type() == "NAMED_VALUE_FLOAT"} == pytest.approx(values)


def test_long_names_stay_different():
    from orilla.runtime.sinks.mavlink_messages import short_names

    assert short_names(["front camera.a", "front camera.b", "front camera.c", "é"]) == [
        b"front came",
        b"front ca~2",
        b"front ca~3",
        b"?",
    ]


def test_a_label_is_told_when_it_changes(receiver, monkeypatch):
    from orilla.runtime.sinks import mavlink_messages

    monkeypatch.setattr(mavlink_messages, "TEXT_NS", 0)
    found = sent(receiver, [at_once(ticks.classified(label)) for label in ("cat", "cat", "dog", "dog", "cat")])
    texts = [(one.severity, one.text) for one in found if one.get_type() == "STATUSTEXT"]
    assert texts == [(6, "cat 75 %"), (6, "dog 75 %"), (6, "cat 75 %")]


def test_a_flickering_label_is_told_once_a_second(receiver):
    found = sent(receiver, [at_once(ticks.classified(label)) for label in ("cat", "dog") * 20])
    assert sum(one.get_type() == "STATUSTEXT" for one in found) == 1


def test_events_are_told(receiver):
    sink = opened(f"mavlink:udpout:127.0.0.1:{receiver.number}")
    sink.event(Event("lost", 0, 0, "camera 0 stopped, and this text is longer than fifty characters"))
    found = received(receiver)
    sink.close()
    assert [(one.severity, one.text) for one in found] == [(3, "camera 0 stopped, and this text is longer than fif")]


def test_old_answers_are_withheld_and_counted(receiver):
    told = []
    sink = opened(f"mavlink:udpout:127.0.0.1:{receiver.number}?max_age=150ms", told)
    for age_s in (0.0, 0.3, 0.2, 0.05):
        sink.write(at_once(ticks.regressed(age_s), age_s=age_s))
    found = [one.value for one in received(receiver) if one.name == "steering a"]
    sink.close()
    assert found == pytest.approx([0.0, 0.05])
    assert sink.withheld == 2
    assert "exceeds max_age=150ms" in told[0]
    assert told[1:] == ["2 answers were not sent, because they were too old"]


def test_the_rate_can_be_limited(receiver):
    written = [at_once(ticks.segmented(), age_s=-index / 100) for index in range(10)]
    assert len(sent(receiver, written, "?every=50ms")) == 2


@pytest.mark.timing
def test_nobody_listens(monkeypatch):
    from orilla.runtime.sinks import mavlink_link

    monkeypatch.setattr(mavlink_link, "SILENT_S", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    events = []
    sink = SinkThread(sink_opener(f"mavlink:udpout:127.0.0.1:{port}?max_age=1d"), Setup(live=True), events.append)
    rate_hz = ticks.drive(lambda one: sink.write(at_once(index=one.index)), 50, 100.0)
    assert rate_hz > 97
    late = mavutil.mavlink_connection(f"udpin:127.0.0.1:{port}")
    for index in range(30):
        sink.write(at_once(index=index))
        time.sleep(0.01)
    assert len(received(late)) > 20
    counts = sink.close()
    late.close()
    assert counts.dropped == 0
    assert [event.detail.rpartition("max_age=1d: ")[2] for event in events] == [
        f"no program listens at 127.0.0.1:{port}; messages are lost until one does",
        f"a program listens at 127.0.0.1:{port} again",
    ]


def test_a_lost_connection_is_opened_again(monkeypatch):
    monkeypatch.setattr(mavlink, "HEARTBEAT_S", 0.05)
    events = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        spec = f"mavlink:tcp:127.0.0.1:{server.getsockname()[1]}"
        sink = SinkThread(sink_opener(spec), Setup(live=True), events.append)
        first, _ = server.accept()
        first.sendall(b"telemetry" * 1000)  # The sink discards the received message.
        time.sleep(0.2)
        assert sink.write(at_once())
        parser = common.MAVLink(None)
        time.sleep(0.1)
        kinds = {message.get_type() for message in parser.parse_buffer(first.recv(65536))}
        assert kinds == {"HEARTBEAT", "STATUSTEXT", "NAMED_VALUE_FLOAT"}
        first.close()
        time.sleep(0.2)
        sink.write(at_once())
        second, _ = server.accept()
        assert second.recv(1) == b"\xfd"
        sink.close()
        second.close()
    details = [event.detail for event in events]
    assert len(details) == 2
    assert "retrying" in details[0]
    assert details[1].endswith("was reopened")


def test_a_serial_port():
    pytest.importorskip("serial")
    ours, theirs = pty.openpty()
    sink = opened(f"mavlink:{os.ttyname(theirs)}?baud=115200")
    sink.write(at_once(ticks.regressed()))
    parser, found = common.MAVLink(None), []
    while len(found) < 3:
        found += parser.parse_buffer(os.read(ours, 4096)) or []
    assert [one.get_type() for one in found] == ["HEARTBEAT", "NAMED_VALUE_FLOAT", "NAMED_VALUE_FLOAT"]
    sink.close()
    os.close(ours)
    os.close(theirs)


@pytest.mark.timing
def test_a_stopped_receiver_delays_nothing():
    """A TCP receiver that reads nothing fills the buffers, so that each send waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        events, threads = [], threading.active_count()
        spec = f"mavlink:tcp:127.0.0.1:{server.getsockname()[1]}?max_age=1d"
        sink = SinkThread(sink_opener(spec), Setup(live=True), events.append)
        peer, _ = server.accept()
        result = boxes(*[(1.0, 2.0, 3.0, 4.0)] * 20)
        rate_hz = ticks.drive(lambda one: sink.write(at_once(result)), 100, 200.0)
        assert rate_hz > 194
        peer.close()
        sink.close()
        assert threading.active_count() <= threads + 1


def refused(spec):
    with pytest.raises((ConfigError, OutputError)) as caught:
        opened(spec).close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mavlink", "the sink `mavlink` needs a target"),
        ("mavlink:host", "'host' is not a connection: give mavlink:udpout:HOST:PORT"),
        ("mavlink:udpin:host:1", "is not a connection"),
        ("mavlink:udpout:", "needs a host and a port"),
        ("mavlink:udpout:127.0.0.1:70000", "is not an address"),
        ("mavlink:udpout:name.invalid:14550", "MAVLink over udpout:name.invalid:14550: "),
        ("mavlink:/dev/nothing", "there is no such device; connect it, or give another one"),
        ("mavlink:udpout:h:1?fov=190", "fov=190: expected degrees below 180"),
        ("mavlink:udpout:h:1?fov=wide", "fov=wide: expected degrees"),
        ("mavlink:udpout:h:1?system=0", "system=0: expected a number from 1 to 255"),
        ("mavlink:udpout:h:1?max_age=old", "max_age=old"),
        ("mavlink:udpout:h:1?maxage=1s", "max_age"),
    ],
)
def test_bad_specifications(spec, message):
    assert message in refused(spec)


def test_a_refused_connection_ends_the_start():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refused(f"mavlink:tcp:127.0.0.1:{port}") == f"MAVLink over tcp:127.0.0.1:{port}: connection refused"
