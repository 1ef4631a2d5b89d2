"""Live sources that hang: while they are opened, read or closed."""

import threading
import time

import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.time_limit import MAX_HANGING, TimeLimited, TimeLimits, open_live

LIMITS = TimeLimits(open_s=0.4, read_s=0.4, first_wait_s=0.02)
PATIENCE_S = 20.0


class Device(factories.ListSource):
    """A live source that hangs after some frames until `freed` is set. It records the threads that use it."""

    def __init__(self, frames=3, *, ends=False):
        super().__init__([factories.picture()] * frames, live=True)
        self.freed, self.closed, self.threads, self.ends = threading.Event(), threading.Event(), set(), ends

    def read(self):
        self.threads.add(threading.get_ident())
        frame = super().read()
        if frame is None and not self.ends:
            self.freed.wait(PATIENCE_S)
        return frame

    def close(self):
        self.threads.add(threading.get_ident())
        self.closed.set()


class InterruptibleDevice(Device):
    def interrupt(self):
        self.freed.set()


def until(source, matches):
    items, end = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        began = time.monotonic()
        item = source.read()
        assert time.monotonic() - began < 2, "the loop could not have been stopped meanwhile"
        if not (isinstance(item, Event) and item.kind == "waiting"):
            items.append(item)
            if matches(item):
                return items
    raise AssertionError(items)


def kind(name):
    return lambda item: isinstance(item, Event) and item.kind == name


def test_a_source_that_hangs_is_lost_and_opened_again():
    devices = [Device(), Device()]
    left = list(devices)
    source = open_live(lambda: left.pop(0), "camera 0", LIMITS)
    *frames, lost = until(source, kind("lost"))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert lost.detail == "camera 0 delivered no frame for 0.4 s; retrying"
    assert lost.index == 3
    back, frame = until(source, lambda item: isinstance(item, Frame))
    assert (back.kind, frame.index) == ("back", 3)
    assert not devices[0].closed.is_set(), "a device must not be closed while another thread reads from it"
    devices[0].freed.set()
    assert devices[0].closed.wait(PATIENCE_S)
    assert all(len(device.threads) == 1 for device in devices), "one thread reads and closes a device"
    devices[1].freed.set()
    source.close()


def test_a_source_that_can_be_interrupted_is_released_at_once():
    devices = [InterruptibleDevice(), InterruptibleDevice()]
    left = list(devices)
    source = open_live(lambda: left.pop(0), "camera 0", TimeLimits(open_s=2, read_s=1.2, first_wait_s=0.02))
    until(source, kind("back"))
    assert devices[0].closed.wait(PATIENCE_S)
    source.close()


def test_a_source_that_hangs_while_it_is_opened():
    freed, device = threading.Event(), Device()

    def opener():
        freed.wait(PATIENCE_S)
        return device

    with pytest.raises(SourceError, match=r"camera 0 did not open for 0.4 s"):
        open_live(opener, "camera 0", LIMITS)
    freed.set()
    assert device.closed.wait(PATIENCE_S), "a device that opens too late must be released"


def test_a_source_that_hangs_while_it_is_opened_again():
    freed, outcomes = threading.Event(), [Device(2, ends=True), None, Device()]

    def opener():
        outcome = outcomes.pop(0)
        if outcome is None:
            freed.wait(PATIENCE_S)
            outcome = Device()
        return outcome

    source = open_live(opener, "camera 0", LIMITS)
    items = until(source, kind("back"))
    assert [getattr(item, "kind", item) for item in items if isinstance(item, Event)] == ["lost", "back"]
    freed.set()
    source.close()


def test_few_threads_hang_at_the_same_time():
    freed, opened = threading.Event(), []

    def opener():
        opened.append(Device(1 if not opened else 0))
        opened[-1].freed = freed
        return opened[-1]

    source = open_live(opener, "camera 0", TimeLimits(read_s=0.05, first_wait_s=0.001))
    end = time.monotonic() + 6
    while time.monotonic() < end:
        source.read()
    assert len(opened) <= MAX_HANGING
    freed.set()
    until(source, kind("back")) if len(opened) < MAX_HANGING else source.read()
    source.close()


def test_errors_and_the_end_are_passed_on():
    error = SourceError("the cable is out")
    source = TimeLimited(lambda: factories.ListSource([factories.picture()], live=True, error=error), "camera 0")
    assert source.wait_until_open().live
    assert source.read().index == 0
    with pytest.raises(SourceError, match="the cable is out"):
        source.read()
    source.close()
    with pytest.raises(SourceError, match="no camera"):
        open_live(lambda: (_ for _ in ()).throw(SourceError("no camera")), "camera 0")


def test_a_recorded_source_is_not_wrapped():
    recorded = factories.ListSource([factories.picture()])
    assert open_live(lambda: recorded, "http://host/clip.mp4") is recorded


def test_a_source_that_is_forgotten_is_closed():
    device = Device(ends=True)
    source = TimeLimited(lambda: device, "camera 0")
    source.wait_until_open()
    del source
    assert device.closed.wait(PATIENCE_S)


def test_a_loop_over_a_source_that_hangs_ends_at_once(tiny_bundle):
    device = Device()
    source = open_live(lambda: device, "camera 0")
    with orilla.runtime.open(tiny_bundle) as model, model.stream(source) as stream:
        next(stream)
        time.sleep(0.3)
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 3
    device.freed.set()
    assert device.closed.wait(PATIENCE_S)


def test_a_source_that_begins_to_hang_is_interrupted_when_it_is_closed():
    device = InterruptibleDevice(1)
    source = open_live(lambda: device, "camera 0")
    assert source.read().index == 0
    assert source.read().kind == "waiting"
    source.close()
    assert device.closed.wait(PATIENCE_S)
