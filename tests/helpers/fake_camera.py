"""Fake V4L2 calls and a fake OpenCV capture, which simulate a USB camera."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

import numpy as np
import pytest

from orilla.runtime.sources import camera, v4l2
from orilla.runtime.sources import v4l2_structs as raw

MJPG, YUYV = (int.from_bytes(name, "little") for name in (b"MJPG", b"YUYV"))
SIZES: dict[int, dict[tuple[int, int], tuple[int, ...]]] = {
    MJPG: {(640, 480): (30, 15), (1280, 720): (30,)},
    YUYV: {(640, 480): (30,), (1280, 720): (10,)},
}
EXPOSURE, AUTO_EXPOSURE, GAIN = 0x9A0902, 0x9A0901, 0x980913
CONTROLS = {GAIN: (b"Gain", 0, 100), AUTO_EXPOSURE: (b"Auto Exposure", 1, 3), EXPOSURE: (b"Exposure Time", 3, 2047)}


class FakeCamera:
    """A camera with two formats of two sizes each, and the controls exposure and gain.

    It answers ioctls as the kernel's UVC driver does, and is also the `cv2.VideoCapture` of the same device.
    """

    def __init__(self) -> None:
        self.width, self.height, self.code, self.fps = 640, 480, YUYV, 30
        self.values = {GAIN: 0, AUTO_EXPOSURE: 3, EXPOSURE: 156}
        self.captures, self.stubborn, self.asked_fps = True, False, 30.0

    def ioctl(self, _file: int, request: int, struct: Any) -> int:
        """Answer an ioctl."""
        names = {getattr(raw, name): name for name in dir(raw) if name.isupper()}
        getattr(self, f"_{names[request].lower()}")(struct)
        return 0

    def _querycap(self, answer: Any) -> None:
        answer.card, answer.driver, answer.capabilities = b"Fake Camera", b"uvcvideo", 0x8000_0001
        answer.device_caps = 1 if self.captures else 0x80_0000

    def _enum_fmt(self, answer: Any) -> None:
        answer.pixelformat = _entry(list(SIZES), answer.index)
        answer.description = b"Motion-JPEG" if answer.pixelformat == MJPG else b"YUYV 4:2:2"

    def _enum_framesizes(self, answer: Any) -> None:
        answer.type = 1
        answer.values[0], answer.values[1] = _entry(list(SIZES[answer.pixel_format]), answer.index)

    def _enum_frameintervals(self, answer: Any) -> None:
        answer.type, answer.values[0] = 1, 1
        answer.values[1] = _entry(SIZES[answer.pixel_format][answer.width, answer.height], answer.index)

    def _queryctrl(self, answer: Any) -> None:
        last = answer.id & 0x7FFF_FFFF
        answer.id = _entry([number for number in sorted(CONTROLS) if number > last], 0)
        answer.name, answer.minimum, answer.maximum = CONTROLS[answer.id]
        answer.type, answer.step, answer.default = 1, 1, answer.minimum

    def _g_ctrl(self, answer: Any) -> None:
        answer.value = _entry([self.values[answer.id]] if answer.id in self.values else [], 0)

    def _s_ctrl(self, answer: Any) -> None:
        _, low, high = _entry([CONTROLS[answer.id]] if answer.id in CONTROLS else [], 0)
        if not low <= answer.value <= high:
            raise OSError(errno.ERANGE, "out of range")
        self.values[answer.id] = answer.value

    def _g_fmt(self, answer: Any) -> None:
        answer.width, answer.height, answer.pixelformat = self.width, self.height, self.code

    def _try_fmt(self, answer: Any) -> None:
        if (answer.width, answer.height) not in SIZES[answer.pixelformat]:
            answer.width, answer.height = 640, 480

    def _g_parm(self, answer: Any) -> None:
        answer.numerator, answer.denominator = 1, self.fps

    def set(self, prop: int, value: float) -> bool:
        """Set a property, as `cv2.VideoCapture.set` does."""
        if self.stubborn:
            return False
        names = {3: "width", 4: "height", 5: "asked_fps", 6: "code"}
        if prop in names:
            setattr(self, names[prop], int(value))
        self.fps = min(int(self.asked_fps), SIZES[self.code].get((self.width, self.height), (30,))[0])
        return True

    def get(self, prop: int) -> float:
        """Return a property."""
        return float({3: self.width, 4: self.height, 5: self.fps}.get(prop, 0))

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Return True."""
        return True

    def grab(self) -> bool:
        """Take a frame."""
        return True

    def retrieve(self, _buffer: object = None) -> tuple[bool, np.ndarray]:
        """Return the frame."""
        return True, np.full((self.height, self.width, 3), 7, np.uint8)

    def release(self) -> None:
        """Do nothing."""


def _entry(entries: Any, index: int) -> Any:
    """Return an entry of an enumeration. Raises `OSError` after its end, as a driver does."""
    if index >= len(entries):
        raise OSError(errno.EINVAL, "Invalid argument")
    return entries[index]


@pytest.fixture
def fake_camera(monkeypatch: pytest.MonkeyPatch) -> FakeCamera:
    """Replace the calls that reach `/dev/video0` by a fake camera."""
    fake = FakeCamera()
    system_open = os.open

    def opened(path: str, flags: int, *rest: Any, **more: Any) -> int:
        return system_open("/dev/null" if path == "/dev/video0" else path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(fcntl, "ioctl", fake.ioctl)
    monkeypatch.setattr(v4l2, "device_paths", lambda: ["/dev/video0"])
    monkeypatch.setattr(camera, "quiet_capture", lambda *target: fake)
    return fake
