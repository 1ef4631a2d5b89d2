"""Source of procedural road scenes. It behaves like a video of ten seconds."""

from __future__ import annotations

from orilla.devices.errors import ConfigError
from orilla.devices.names import whole_number
from orilla.runtime.frame import Frame
from orilla.runtime.scenes import clock, render
from orilla.runtime.sources.source import now_ns

FRAMES = 300
"""Number of frames."""

RATE_HZ = 30.0

DEFAULT_SEED = 999_999_999
"""Seed of the default drive. It is larger than the usual seeds of the data set `scenes`, so that no training image
comes from this drive."""

SIZE_HW = (360, 640)


class Scenes:
    """Delivers the frames of one drive.

    Args:
        seed: Seed of the drive.
        clocked: If True, draw the time into each image.
    """

    live = False
    rate_hz: float | None = RATE_HZ

    def __init__(self, seed: int, *, clocked: bool = False) -> None:
        self._seed, self._clocked = seed, clocked
        self._index = 0

    @classmethod
    def open(cls, argument: str, *, clocked: bool = False) -> Scenes:
        """Open the drive whose seed is `argument`, or the default drive if `argument` is empty."""
        if argument and not whole_number(argument):
            msg = f"scenes:{argument}: the seed after the colon must be a whole number, 0 or more"
            raise ConfigError(msg)
        return cls(int(argument) if argument else DEFAULT_SEED, clocked=clocked)

    def read(self) -> Frame | None:
        """Return the next frame or an event, or None at the end."""
        if self._index == FRAMES:
            return None
        image, _ = render(self._seed, self._index / RATE_HZ, SIZE_HW)
        if self._clocked:
            clock.draw(image, now_ns())
        frame = Frame(self._index, image, now_ns())
        self._index += 1
        return frame

    def close(self) -> None:
        """Do nothing, because this source holds no resources."""


def open_source(spec: str) -> Scenes:
    """Open `scenes`, `scenes:SEED`, or `scenes+clock`, which draws the time into the images."""
    name, _, argument = spec.partition(":")
    return Scenes.open(argument, clocked=name == "scenes+clock")
