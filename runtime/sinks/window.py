"""Sink that shows ticks in a window. It needs OpenCV's windowed build. `q` or Escape ends the loop."""

from __future__ import annotations

import os
import sys

import cv2

from orilla.devices.checks.packages import opencv
from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.packages import OPENCV_WHEELS, installed
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.draw import annotate

NEEDS_ARGUMENT = False
TITLE = "Orilla"
QUIT_KEYS = (ord("q"), 27)


class Window:
    """Shows each tick when it arrives."""

    def write(self, tick: Tick) -> bool:
        cv2.imshow(TITLE, annotate(tick))
        return (cv2.waitKey(1) & 0xFF) not in QUIT_KEYS

    def close(self, *, complete: bool) -> None:
        cv2.destroyAllWindows()


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> Window:
    """Open the window. Raises `MissingExtraError` for the headless build, `ConfigError` without a display."""
    del argument, rate_hz, live
    found = opencv(installed(OPENCV_WHEELS))
    if not found.passed:
        msg = f"sink window: {found.detail}; run {found.fix}"
        raise ConfigError(msg)
    if "GUI:                           NONE" in cv2.getBuildInformation():
        msg = "OpenCV's windowed build"
        raise MissingExtraError(msg, "gui")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        msg = "sink `window`: there is no display; use the sink `video:OUT.mp4`"
        raise ConfigError(msg)
    return Window()
