"""Live sources without a camera: lost connections in simulated time, time stamps, pacing, arrays, and invalid names."""

import re
import sys
import threading
import types

import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.scenes import clock
from orilla.runtime.sources import camera, gstreamer, picamera
from orilla.runtime.sources.arrays import Arrays
from orilla.runtime.sources.capture import MAX_CORRUPT, CorruptFrames
from orilla.runtime.sources.paced import Paced
from orilla.runtime.sources.reconnect import MAX_WAIT_S, TRIES, Reconnecting
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.time_limit import TimeLimits, open_live

MS = 1_000_000


class Time:
    """A clock that advances only in `wait`."""

    def __init__(self):
        self.now_ns, self.waits = 0, []

    def clock(self):
        return self.now_ns

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now_ns += int(1e9 * seconds)


def reconnecting(outcomes):
    """Return a source that reconnects, and its clock.

    Each attempt to connect yields a number of frames, or an error.
    """
    time, left = Time(), list(outcomes)

    def opener():
        outcome = left.pop(0) if left else SourceError("gone for good")
        if isinstance(outcome, Exception):
            raise outcome
        return factories.ListSource([factories.picture()] * outcome, live=True, error=SourceError("the cable is out"))

    return Reconnecting(opener, "camera 0", clock=time.clock, wait=time.wait), time


def take(source, count):
    """Read `count` items, which are indices of frames, or events. Events of the kind `waiting` are omitted."""
    items = []
    while len(items) < count:
        item = source.read()
        if not (isinstance(item, Event) and item.kind == "waiting"):
            items.append(item if isinstance(item, Event) else item.index)
    return items


def test_a_camera_that_is_lost_comes_back_and_frames_go_on_counting():
    source, time = reconnecting([3, SourceError("no camera"), SourceError("no camera"), 2, 1])
    *frames, lost, back = take(source, 5)
    assert frames == [0, 1, 2]
    assert (lost.kind, lost.index, lost.detail) == ("lost", 3, "the cable is out; retrying")
    assert (back.kind, back.index) == ("back", 3)
    assert back.detail == "camera 0 is back after 1.8 s"
    assert sum(time.waits) == 0.25 + 0.5 + 1.0
    assert take(source, 2) == [3, 4]
    assert [getattr(item, "kind", item) for item in take(source, 3)] == ["lost", "back", 5]


def test_the_wait_between_tries_grows_and_is_capped():
    source, time = reconnecting([1] + [SourceError("no camera")] * 12 + [1])
    assert take(source, 2)[0] == 0
    assert take(source, 1)[0].kind == "back"
    assert max(time.waits) <= 0.25, "the loop could not be stopped meanwhile"
    assert sum(time.waits) == pytest.approx(0.25 + 0.5 + 1 + MAX_WAIT_S * 10)


def test_a_camera_that_is_away_for_a_day_comes_back():
    source, time = reconnecting([1] + [SourceError("no camera")] * 44_000 + [1])
    assert take(source, 2)[0] == 0
    assert take(source, 1)[0].kind == "back"
    assert time.now_ns > 24 * 3600 * 1_000_000_000


def test_corrupt_frames_do_not_count_as_delivered():
    class Garbage(factories.ListSource):
        def read(self):
            self._index += 1
            if self._index > 3:
                msg = "the cable is out"
                raise SourceError(msg)
            return Event("corrupt", self._index - 1, 0, "corrupt")

    time = Time()
    source = Reconnecting(lambda: Garbage([], live=True), "camera 0", clock=time.clock, wait=time.wait)
    with pytest.raises(SourceError, match="delivered no frame"):
        take(source, 100)


def test_a_source_that_was_never_there_ends_with_one_line():
    source, _ = reconnecting([0] * 9)
    with pytest.raises(SourceError, match=f"delivered no frame in {TRIES} tries"):
        take(source, 2)


def test_a_source_that_fails_repeatedly_is_reported_once():
    source, _ = reconnecting([2, 0, 0, 0, 1])
    assert [getattr(item, "kind", item) for item in take(source, 5)] == [0, 1, "lost", "back", 2]


def test_a_camera_that_is_missing_at_the_start_is_rejected():
    with pytest.raises(SourceError, match="no camera"):
        reconnecting([SourceError("no camera")])


def test_a_recording_is_played_at_its_own_rate():
    time = Time()
    source = factories.ListSource([factories.picture()] * 4)
    source.rate_hz = 2.0
    paced = Paced(source, clock=time.clock, wait=time.wait)
    frames = [item for item in iter(paced.read, None) if isinstance(item, Frame)]
    assert [frame.captured_ns for frame in frames] == [0, 500 * MS, 1000 * MS, 1500 * MS]
    assert time.now_ns == 1500 * MS
    assert max(time.waits) <= 0.25
    with pytest.raises(ConfigError, match="no frame rate"):
        Paced(factories.ListSource([]))


def test_a_recording_that_is_decoded_slower_than_its_rate_plays_slower():
    time = Time()

    class Slow(factories.ListSource):
        def read(self):
            time.now_ns += 80 * MS
            frame = super().read()
            return frame and Frame(frame.index, frame.image, time.now_ns)

    source = Slow([factories.picture()] * 50)
    source.rate_hz = 30.0
    for frame in iter(Paced(source, clock=time.clock, wait=time.wait).read, None):
        assert time.now_ns - frame.captured_ns <= 34 * MS


def test_a_driver_s_time_stamp_is_used_if_it_is_on_the_monotonic_clock():
    now = 10_000 * 1_000_000_000
    assert camera._stamp(now / MS - 20, now) == now - 20 * MS
    for other_clock in (0.0, -1.0, 1.7e12, now / MS + 5):
        assert camera._stamp(other_clock, now) == now


def test_pictures_of_the_caller():
    images = [
        factories.picture(),
        np.full((4, 6), 80, np.uint8),
        np.full((4, 6, 1), 80, np.uint8),
        np.full((4, 6, 3), 80 * 257, np.uint16),
        np.full((4, 6, 4), 80, np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        "no picture",
        np.full((1, 1, 3), 80, np.uint8),
    ]
    items = list(iter(Arrays(images).read, None))
    assert [item.index for item in items] == list(range(9))
    assert [getattr(item, "kind", "frame") for item in items] == ["frame"] * 5 + ["corrupt"] * 3 + ["frame"]
    assert np.shares_memory(items[0].image, images[0])
    for frame in items[1:5]:
        assert frame.image.shape == (4, 6, 3)
        assert frame.image.dtype == np.uint8
        assert (frame.image == 80).all()


def test_many_corrupt_frames_in_a_row_are_a_loss():
    bad = CorruptFrames("camera 0")
    for index in range(MAX_CORRUPT - 1):
        assert bad.check(index, None, 0).kind == "corrupt"
    assert bad.check(MAX_CORRUPT, factories.picture(), 0).index == MAX_CORRUPT
    for index in range(MAX_CORRUPT - 1):
        bad.check(index, np.zeros((0, 0, 3), np.uint8), 0)
    with pytest.raises(SourceError, match="in a row"):
        bad.check(MAX_CORRUPT, None, 0)


@pytest.mark.parametrize("size", [(36, 64), (360, 640), (2160, 3840)])
def test_the_clock_in_a_picture_is_read_back_after_scaling_and_compression(size):
    for time_ms in (0, 1, 4711, (1 << 24) - 1):
        image = factories.picture(*size)
        clock.draw(image, time_ms * MS)
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        assert clock.read(image) == time_ms
        assert clock.read(cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (640, 360))) == time_ms
    assert clock.since_ms(10, 35 * MS) == 25
    assert clock.since_ms((1 << 24) - 5, 20 * MS) == 25


def test_a_picture_without_a_clock_has_no_time():
    for seed in range(20):
        assert clock.read(factories.picture(360, 640, seed)) is None
    assert clock.read(np.zeros((36, 64, 3), np.uint8)) is None
    assert clock.read(np.zeros((3, 3, 3), np.uint8)) is None
    assert clock.read(open_source("scenes:3").read().image) is None
    assert clock.read(open_source("scenes+clock:3").read().image) is not None


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("rtsp://", "not a URL"),
        ("http://host:99999/x", "not a URL"),
        ("http://ho st/x", "not a URL"),
        ("rtsp://[::1/x", "not a URL"),
        ("rtsp://user:se/cret@host:8554/x", "not a URL"),
        ("http://user:secret@/x", "not a URL"),
        ("gopher://host/x", "unknown kind of URL 'gopher'"),
        ("", "the source is empty"),
        ("videotestsrc ! fakesink", "must end in `appsink`"),
        ("gst:", "must end in `appsink`"),
        ("picamera2:front", "give the number of the camera"),
        ("picamera2", "picamera2 is not installed"),
    ],
)
def test_malformed_names_are_refused_in_one_line(spec, match):
    with pytest.raises(ConfigError, match=match) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_a_pipeline_is_refused_where_opencv_has_no_gstreamer():
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(ConfigError, match="has no GStreamer"):
        open_source("videotestsrc ! videoconvert ! appsink")


class FakeRequest:
    def __init__(self, number):
        self.number, self.released = number, False

    def get_metadata(self):
        import time

        return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20 * MS} if self.number else {}

    def make_array(self, name):
        assert name == "main"
        return np.full((72, 128, 3), self.number, np.uint8)

    def release(self):
        self.released = True


class FakePicamera2:
    """The parts of `picamera2.Picamera2` that Orilla uses."""

    plugged, stalled = True, False

    def __init__(self, number):
        if number > 0:
            msg = "list index out of range"
            raise IndexError(msg)
        self.count, self.requests = 0, []

    def create_video_configuration(self, main, buffer_count):
        return {"main": main, "buffer_count": buffer_count}

    def configure(self, configuration):
        assert configuration["main"]["format"] == "RGB888"

    def start(self):
        pass

    def capture_request(self, wait=None):
        if FakePicamera2.stalled:
            threading.Event().wait(wait)
            raise TimeoutError
        if not FakePicamera2.plugged:
            msg = "camera frontend has timed out"
            raise RuntimeError(msg)
        self.requests.append(FakeRequest(self.count))
        self.count += 1
        return self.requests[-1]

    def stop(self):
        pass

    close = stop


def test_a_raspberry_pi_camera_is_stamped_by_its_sensor(monkeypatch):
    module = types.ModuleType("picamera2")
    module.Picamera2 = FakePicamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)
    with pytest.raises(SourceError, match="no camera at picamera2:1"):
        open_source("picamera2:1")
    source = open_source("picamera2")
    first, second = source.read(), source.read()
    assert (first.index, second.index) == (0, 1)
    assert (second.image == 1).all()
    assert 19 * MS < picamera.now_ns() - second.captured_ns < 5000 * MS
    monkeypatch.setattr(FakePicamera2, "plugged", False)
    assert source.read().kind == "lost"
    source.close()


class OldPicamera2(FakePicamera2):
    """A version in which `wait` is True or False, and any number means True."""

    closed = threading.Event()

    def capture_request(self, wait=True):
        if FakePicamera2.stalled:
            OldPicamera2.closed.wait(20)
            msg = "the camera was closed"
            raise RuntimeError(msg)
        return super().capture_request()

    def close(self):
        OldPicamera2.closed.set()


class OldestPicamera2(OldPicamera2):
    """A version in which `capture_request` has no argument."""

    def capture_request(self):
        return super().capture_request(wait=True)


@pytest.mark.parametrize("version", [FakePicamera2, OldPicamera2, OldestPicamera2])
def test_a_raspberry_pi_camera_that_stalls_is_lost_and_opened_again(monkeypatch, version):
    """The capture never ends, as with a loose ribbon cable."""
    module = types.ModuleType("picamera2")
    module.Picamera2 = version
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(OldPicamera2, "closed", threading.Event())
    source = picamera.PiCamera.open("", TimeLimits(read_s=0.4, first_wait_s=0.02))
    assert take(source, 1) == [0]
    monkeypatch.setattr(FakePicamera2, "stalled", True)
    (lost,) = take(source, 1)
    assert lost.kind == "lost"
    assert re.search(r"no frame for 0.36 s|delivered no frame for 0.4 s", lost.detail)
    monkeypatch.setattr(FakePicamera2, "stalled", False)
    assert take(source, 1)[0].kind == "back"
    source.close()


class HangingCapture:
    """An OpenCV capture whose `grab` does not return."""

    def __init__(self, freed):
        self.freed, self.released = freed, False

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def set(self, *setting):
        return True

    def get(self, setting):
        return 0.0

    def grab(self):
        return self.freed.wait(20) and False

    def release(self):
        self.released = True


@pytest.mark.parametrize("module", [camera, gstreamer])
def test_a_capture_that_hangs_is_lost(monkeypatch, module):
    """A USB camera or a pipeline hangs in the driver."""
    freed = threading.Event()
    monkeypatch.setattr(module, "quiet_capture", lambda *target: HangingCapture(freed))
    monkeypatch.setattr(gstreamer, "_has_gstreamer", lambda: True)
    monkeypatch.setattr(module, "open_live", lambda opener, name: open_live(opener, name, TimeLimits(read_s=0.3)))
    source = open_source("0" if module is camera else "v4l2src ! appsink")
    (lost,) = take(source, 1)
    assert (lost.kind, lost.index) == ("lost", 0)
    assert "delivered no frame for 0.3 s" in lost.detail
    freed.set()
    source.close()


def test_arrays_that_are_no_image_are_rejected():
    for wrong in (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.int32), np.zeros(5, np.uint8)):
        with pytest.raises(ValueError, match="expected an image"):
            as_bgr(wrong)
