"""Sink that shows the frames and results in a window. It needs an OpenCV that can open windows."""

from __future__ import annotations

import os
import sys

import cv2

from orilla.devices.checks.packages import opencv
from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.packages import OPENCV_WHEELS, installed
from orilla.runtime.frame import Tick

NEEDS_ARGUMENT = False
TITLE = "Orilla"
QUIT_KEYS = (ord("q"), 27)
"""Codes of the keys that end the loop: `q` and Escape."""


class Window:
    """Shows each tick when it arrives."""

    def write(self, tick: Tick) -> bool:
        """Show the annotated frame of one tick. Return False if the user closed the window."""
        cv2.imshow(TITLE, tick.draw())
        return (cv2.waitKey(1) & 0xFF) not in QUIT_KEYS

    def close(self, *, complete: bool) -> None:
        """Finish the output, or discard it if `complete` is False."""
        cv2.destroyAllWindows()


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> Window:
    """Open the window.

    Raises:
        MissingExtraError: The installed OpenCV cannot open windows.
        ConfigError: The installation of OpenCV is broken, or there is no display.
    """
    del argument, rate_hz, live
    finding = opencv(installed(OPENCV_WHEELS))
    if not finding.passed:
        msg = f"sink `window`: {finding.detail}; run {finding.fix}"
        raise ConfigError(msg)
    if "GUI:                           NONE" in cv2.getBuildInformation():
        msg = "an OpenCV build that can open windows"
        raise MissingExtraError(msg, "gui")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        msg = "sink `window`: there is no display; use the sink `video:OUT.mp4`"
        raise ConfigError(msg)
    return Window()
