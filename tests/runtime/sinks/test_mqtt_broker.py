"""The sink `mqtt` while its broker is slow, dead, refuses clients, or is killed and restarted."""

import json
import signal
import threading
import time

import pytest
from helpers import ticks
from helpers.mosquitto import mosquitto, subscriber

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread

pytestmark = pytest.mark.timing


@pytest.fixture
def broker(tmp_path):
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def events():
    return []


def sink_thread(broker, events, options="", *, live=True):
    opener = sink_opener(f"mqtt:127.0.0.1:{broker.port}/rover{options}")
    return SinkThread(opener, Setup(live=live), lambda event: events.append(event.detail))


def wait_until(condition, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def indices(payloads):
    """Return the indices of the frames. Repeated messages, which QoS 1 allows, count once."""
    return list(dict.fromkeys(json.loads(payload)["index"] for payload in payloads))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_a_thousand_messages_per_second_survive_a_restart_of_the_broker(broker, events, how):
    with subscriber(broker.port, "rover") as recorder:
        sink = sink_thread(broker, events, "?qos=1", live=False)

        def restart():
            time.sleep(1)
            # Make the broker store its messages, because a killed broker loses the others.
            broker.signal(signal.SIGUSR1)
            broker.signal(how)
            time.sleep(1)
            broker.start()

        restarting = threading.Thread(target=restart)
        restarting.start()
        rate_hz = ticks.drive(sink.write, 6000, 1000)
        restarting.join()
        counts = sink.close()
        assert (counts.written, counts.dropped, counts.failed) == (6000, 0, None)
        if how == signal.SIGTERM:
            wait_until(lambda: len(indices(recorder.on("rover"))) >= 6000)
        received = indices(recorder.on("rover"))
    assert rate_hz > 900
    assert received == sorted(received)
    assert len(received) >= (6000 if how == signal.SIGTERM else 5900)
    assert [event.split(": ", 1)[1].split(" to ")[0] for event in events] == ["lost the connection", "connected"]


def test_messages_of_qos_2_arrive_once(broker, events):
    with subscriber(broker.port, "rover", qos=2) as recorder:
        sink = sink_thread(broker, events, "?qos=2", live=False)
        writing = threading.Thread(target=ticks.drive, args=(sink.write, 1500, 500))
        writing.start()
        time.sleep(1)
        broker.signal(signal.SIGTERM)
        broker.start()
        writing.join()
        assert sink.close().failed is None
        recorder.wait("rover", 1500)
        numbers = [json.loads(payload)["index"] for payload in recorder.on("rover")]
    assert numbers == list(range(1500))


def test_messages_of_qos_2_arrive_although_the_broker_lost_the_session(broker, events):
    with subscriber(broker.port, "rover", qos=2) as recorder:
        sink = sink_thread(broker, events, "?qos=2", live=False)
        writing = threading.Thread(target=ticks.drive, args=(sink.write, 1500, 500))
        writing.start()
        time.sleep(1)
        broker.signal(signal.SIGSTOP)
        broker.signal(signal.SIGKILL)
        broker.forget()
        broker.start()
        writing.join()
        assert sink.close().failed is None
        # The subscriber has also lost its session. It misses messages that were sent before it reconnected.
        wait_until(lambda: 1499 in indices(recorder.on("rover")))
        numbers = indices(recorder.on("rover"))
    assert numbers == sorted(numbers)


def slow(broker):
    broker.signal(signal.SIGSTOP)


def dead(broker):
    broker.signal(signal.SIGKILL)


def refusing(broker):
    broker.signal(signal.SIGTERM)
    broker.forbid()
    broker.start()


@pytest.mark.parametrize(
    ("fault", "qos", "reported"),
    [
        (slow, 0, []),
        (slow, 1, []),
        (dead, 0, ["lost the connection", "is too slow"]),
        (dead, 1, ["lost the connection"]),
        (refusing, 1, ["lost the connection", "refuses the connection: not authorized"]),
    ],
)
def test_a_faulty_broker_does_not_disturb_the_loop(broker, events, fault, qos, reported):
    sink = sink_thread(broker, events, f"?qos={qos}")
    undisturbed_hz = ticks.drive(sink.write, 30, 30)
    fault(broker)
    disturbed_hz = ticks.drive(sink.write, 120, 30, first=30)
    assert disturbed_hz >= 0.97 * undisturbed_hz
    if "is too slow" not in reported:  # Other programs on this machine may delay the sink.
        events = [event for event in events if "ticks" not in event]
    assert len(events) == len(reported), events
    for event, words in zip(events, reported, strict=True):
        assert words in event
    began = time.monotonic()
    counts = sink.close()
    assert time.monotonic() - began < 12
    if (fault, qos) != (slow, 0):
        assert "messages were not delivered to" in counts.failed


def test_a_slow_broker_gets_everything_later(broker, events):
    with subscriber(broker.port, "rover") as recorder:
        sink = sink_thread(broker, events, "?qos=1", live=False)
        broker.signal(signal.SIGSTOP)
        ticks.drive(sink.write, 300, 100)
        broker.signal(signal.SIGCONT)
        assert sink.close().written == 300
        wait_until(lambda: len(indices(recorder.on("rover"))) == 300)
        assert indices(recorder.on("rover")) == list(range(300))
    assert events == []


def test_memory_is_bounded_while_the_broker_is_away(broker, events):
    with subscriber(broker.port, "rover") as recorder:
        sink = sink_thread(broker, events, "?qos=1&buffer=50kB")
        ticks.drive(sink.write, 10, 30)
        broker.signal(signal.SIGTERM)
        ticks.drive(sink.write, 400, 200, first=10)
        counts = sink.counts
        assert 30 < counts.written < 200  # 50 kB, with about 500 bytes for each message
        assert counts.dropped > 200
        broker.start()
        wait_until(lambda: "again" in events[-1])
        ticks.drive(sink.write, 45, 30, first=1000)
        counts = sink.close()
        assert (counts.written + counts.dropped, counts.failed) == (455, None)
        wait_until(lambda: len(indices(recorder.on("rover"))) == counts.written)
        received = indices(recorder.on("rover"))
    assert received == sorted(received)
    assert received[-1] == 1044
    words = ("lost the connection", "is too slow", "connected to", "accepts ticks again")
    assert len(events) == len(words), events
    assert all(word in event for word, event in zip(words, events, strict=True)), events


def test_what_is_not_delivered_is_reported_at_the_end(broker):
    sink = sink_opener(f"mqtt:127.0.0.1:{broker.port}/rover?qos=1").open(Setup())
    time.sleep(0.5)
    broker.signal(signal.SIGKILL)
    time.sleep(0.2)
    for index in range(7):
        sink.write(ticks.tick(index))
    with pytest.raises(OutputError, match=r"7 messages were not delivered to .*: the broker closed the connection"):
        sink.close()


def test_the_status_and_the_description_return_after_a_restart_without_memory(broker, events):
    sink = sink_thread(broker, events, "?discovery=homeassistant")
    sink.write(ticks.tick(0, ticks.classified()))
    wait_until(lambda: sink.counts.written)
    broker.signal(signal.SIGTERM)
    broker.forget()
    broker.start()
    wait_until(lambda: "again" in events[-1])
    with subscriber(broker.port) as late:
        late.wait("rover/status", 1)
        late.wait_for_silence()
        assert late.on("rover/status")[-1] == b"online"
        assert any(topic.startswith("homeassistant/sensor/") for topic, _ in late.messages)
        sink.close()
