"""Sink that shows the frames and results in a window. It needs an OpenCV that can open windows."""

from __future__ import annotations

import os
import sys

import cv2

from orilla.devices.checks.packages import opencv
from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.packages import OPENCV_WHEELS, installed
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = False
MAIN_THREAD = True
Options = NoOptions

TITLE = "Orilla"
QUIT_KEYS = (ord("q"), 27)
"""Codes of the keys that end the loop: `q` and Escape."""


class Window(Sink):
    """Shows each tick when it arrives."""

    def write(self, tick: Tick) -> bool:
        """Show the annotated frame of one tick. Return False if the user closed the window."""
        cv2.imshow(TITLE if tick.source is None else f"{TITLE} {tick.source}", tick.draw())
        return (cv2.waitKey(1) & 0xFF) not in QUIT_KEYS

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def open_sink(target: str, options: NoOptions, setup: Setup) -> Window:
    """Open the window.

    Raises:
        MissingExtraError: The installed OpenCV cannot open windows.
        ConfigError: The OpenCV installation is broken, or there is no display.
    """
    del target, options, setup
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
