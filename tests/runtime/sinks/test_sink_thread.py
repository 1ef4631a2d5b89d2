import threading
import time

import pytest

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Event, Record, Tick
from orilla.runtime.sinks import sink_thread
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import SinkOpener
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.sink_thread import SinkThread
from orilla.runtime.tasks.tensor import ArrayResult


class Fake(Sink):
    """A sink whose `write` calls a function with the index of the tick."""

    def __init__(self, action=lambda index: None):
        self.action, self.written, self.events, self.closed = action, [], [], 0

    def write(self, tick):
        answer = self.action(tick.index)
        self.written.append(tick.index)
        return answer is not False

    def event(self, event):
        self.events.append(event.kind)

    def close(self):
        self.closed += 1


def tick(index):
    return Tick(Record(index, {}, 1000 * index), ArrayResult({}), {"infer": 1.0}, 1000 * index + 500)


def opener(*sinks, reopens=False, name="fake"):
    """Return an opener that opens the sinks one after another. If an item is an exception, it is raised."""
    waiting = list(sinks)

    def open_sink(setup):
        sink = waiting.pop(0)
        if isinstance(sink, Exception):
            raise sink
        return sink

    return SinkOpener(name, "", open_sink, reopens)


@pytest.fixture
def events():
    return []


def details(events):
    assert {event.kind for event in events} <= {"sink"}
    return [event.detail for event in events]


@pytest.mark.parametrize("live", [False, True])
def test_every_tick_is_written_in_order(events, live):
    sink = Fake()
    thread = SinkThread(opener(sink), Setup(live=live), events.append)
    for index in range(100):
        assert thread.write(tick(index))
        while live and len(sink.written) <= index:
            time.sleep(1e-3)
    assert thread.close().written == 100
    assert sink.written == list(range(100))
    assert (sink.closed, events) == (1, [])


def test_a_slow_sink_does_not_delay_a_live_loop(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "QUIET_S", 0.03)
    release = threading.Event()
    sink = Fake(lambda index: release.wait(10) and None)
    thread = SinkThread(opener(sink), Setup(live=True), events.append)
    began = time.monotonic()
    for index in range(50):
        assert thread.write(tick(index))
    assert time.monotonic() - began < 1
    release.set()
    while len(sink.written) < sink_thread.DEPTH:
        time.sleep(1e-3)
    time.sleep(0.05)
    thread.write(tick(50))
    counts = thread.close()
    assert counts.written + counts.dropped == 51
    assert counts.written >= sink_thread.DEPTH + 1
    assert details(events) == [
        "sink fake is too slow: its ticks are dropped until it accepts new ones",
        f"sink fake accepts ticks again; {counts.dropped} were dropped",
    ]


def test_a_sink_that_is_always_too_slow_is_reported_once(events):
    sink = Fake(lambda index: time.sleep(0.01))
    thread = SinkThread(opener(sink), Setup(live=True), events.append)
    for index in range(60):
        thread.write(tick(index))
        time.sleep(0.003)
    assert thread.close().dropped > 10
    assert details(events) == ["sink fake is too slow: its ticks are dropped until it accepts new ones"]


def test_a_sink_that_waits_learns_that_the_loop_has_ended(events):
    setups = []

    def open_sink(setup):
        setups.append(setup)
        return Fake(lambda index: setup.closing.wait(20) and None)

    thread = SinkThread(SinkOpener("fake", "", open_sink), Setup(live=True), events.append)
    thread.write(tick(0))
    assert not setups[0].closing.is_set()
    assert thread.close().written == 1


def test_a_recorded_loop_waits_for_a_slow_sink(events):
    sink = Fake(lambda index: time.sleep(0.01))
    thread = SinkThread(opener(sink), Setup(), events.append)
    for index in range(30):
        thread.write(tick(index))
    assert thread.close().dropped == 0
    assert sink.written == list(range(30))


def test_a_recorded_loop_does_not_wait_for_ever(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "STALL_S", 0.1)
    monkeypatch.setattr(sink_thread, "CLOSE_S", 0.1)
    release = threading.Event()
    thread = SinkThread(opener(Fake(lambda index: release.wait(20) and None)), Setup(), events.append)
    for index in range(sink_thread.DEPTH + 3):
        thread.write(tick(index))
    counts = thread.close()
    release.set()
    assert counts.dropped == 2
    assert counts.failed == "it did not finish within 0.1 s"
    assert len(events) == 2


def fail_at(number):
    def action(index):
        if index == number:
            msg = "cannot write out.x: No space left on device"
            raise OutputError(msg)

    return action


def test_a_failed_sink_ends_alone(events):
    broken, whole = Fake(fail_at(3)), Fake()
    sinks = Sinks([opener(broken, name="a"), opener(whole, name="b")], Setup(), events.append)
    for index in range(20):
        assert sinks.write(tick(index))
    counts = sinks.close()
    assert (broken.written, broken.closed) == ([0, 1, 2], 1)
    assert whole.written == list(range(20))
    assert counts["a"].failed == "cannot write out.x: No space left on device"
    assert counts["b"].failed is None
    assert details(events) == [
        "sink a ended: cannot write out.x: No space left on device; the loop continues without it"
    ]


def write_until_error(sinks):
    for index in range(1000):
        sinks.write(tick(index))
        time.sleep(1e-3)


def test_the_loop_ends_when_no_sink_is_left(events):
    sinks = Sinks([opener(Fake(fail_at(0)))], Setup(), events.append)
    with pytest.raises(OutputError, match=r"^cannot write out\.x: No space left on device"):
        write_until_error(sinks)
    sinks.close()
    assert events == []


def test_the_loop_names_every_failed_sink(events):
    openers = [opener(Fake(fail_at(number)), name=f"sink{number}") for number in range(2)]
    sinks = Sinks(openers, Setup(), events.append)
    with pytest.raises(OutputError, match=r"all sinks have failed: sink0: cannot .* device; sink1: cannot .* device"):
        write_until_error(sinks)
    sinks.close()
    assert len(events) == 2


def test_a_sink_that_reopens_continues(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "FIRST_WAIT_S", 0.01)
    first, second = Fake(fail_at(2)), Fake()
    refused = OutputError("connection refused")
    thread = SinkThread(opener(first, refused, refused, second, reopens=True), Setup(), events.append)
    for index in range(10):
        thread.write(tick(index))
    counts = thread.close()
    assert first.written == [0, 1]
    assert second.written == [3, 4, 5, 6, 7, 8, 9]
    assert (counts.written, counts.dropped, counts.failed) == (9, 1, None)
    assert details(events) == [
        "sink fake failed: cannot write out.x: No space left on device; retrying",
        "sink fake was reopened",
    ]


def test_the_loop_can_end_while_a_sink_is_being_reopened(events, monkeypatch):
    monkeypatch.setattr(sink_thread, "FIRST_WAIT_S", 30)
    refused = [OutputError("connection refused")] * 100
    thread = SinkThread(opener(Fake(fail_at(0)), *refused, reopens=True), Setup(live=True), events.append)
    thread.write(tick(0))
    while not events:
        time.sleep(1e-3)
    began = time.monotonic()
    assert thread.close().failed == "cannot write out.x: No space left on device"
    assert time.monotonic() - began < 2


def test_an_unexpected_error_is_shown_with_its_type(events):
    thread = SinkThread(opener(Fake(lambda index: {}["color"])), Setup(), events.append)
    thread.write(tick(0))
    assert thread.close().failed == "KeyError: 'color'"


def test_a_sink_can_end_the_loop(events):
    thread = SinkThread(opener(Fake(lambda index: index < 3)), Setup(), events.append)
    index = 0
    while thread.write(tick(index)) and index < 1000:
        index += 1
        time.sleep(1e-3)
    thread.close()
    assert 3 <= index < 1000


def test_sinks_receive_events(events):
    sink = Fake()
    sinks = Sinks([opener(sink)], Setup(), events.append)
    sinks.event(Event("lost", 3, 0, "camera 0 stopped"))
    sinks.close()
    assert sink.events == ["lost"]


def test_a_slow_sink_receives_every_event(events):
    release = threading.Event()
    sink = Fake(lambda index: release.wait(20) and None)
    thread = SinkThread(opener(sink), Setup(live=True), events.append)
    for index in range(sink_thread.DEPTH + 2):
        thread.write(tick(index))
    for kind in ("lost", "back", "trigger"):
        thread.event(Event(kind, 3, 0, "x"))
    release.set()
    thread.close()
    assert sink.events == ["lost", "back", "trigger"]


def test_a_trigger_of_the_program_is_an_event(events):
    sink = Fake()
    sinks = Sinks([opener(sink)], Setup(), events.append)
    sinks.write(tick(7))
    sinks.trigger("bump")
    sinks.close()
    assert sink.events == ["trigger"]


def test_if_one_sink_cannot_be_opened_the_others_are_closed(events):
    first = Fake()
    with pytest.raises(OutputError, match="refused"):
        Sinks([opener(first), opener(OutputError("refused"), name="b")], Setup(), events.append)
    assert first.closed == 1
