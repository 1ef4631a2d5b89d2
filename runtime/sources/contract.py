"""Checks that every source must pass. A test calls each of `CHECKS` with a `SourceCase`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orilla.runtime.frame import Frame
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.source import Source

COUNT = 6
"""Number of frames that a check reads."""


@dataclass(frozen=True, slots=True)
class SourceCase:
    """A test case for a source.

    The source must have at least one frame, and deliver the same frames each time it is opened.
    """

    spec: str
    """Specification of the source, as for `--source`."""
    ends: bool = True
    """True if the source ends after a small number of frames."""

    def open(self) -> Source:
        """Open the source."""
        return open_source(self.spec)


def delivers_numbered_and_stamped_images(case: SourceCase) -> None:
    """Check that frames are counted from 0, have increasing time stamps, and are BGR images."""
    source = case.open()
    assert isinstance(source.live, bool)
    assert source.rate_hz is None or source.rate_hz > 0
    last_ns = -1
    for expected in range(COUNT):
        frame = source.read()
        if frame is None:
            break
        assert isinstance(frame, Frame), f"the source reported an event: {frame}"
        assert frame.index == expected, f"frame {expected} has the index {frame.index}"
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3, f"an image has shape {frame.image.shape}: expected [H,W,3]"
        assert frame.captured_ns > last_ns, "a time stamp is not later than the previous one"
        last_ns = frame.captured_ns
    assert last_ns > 0, "the source delivered no frame"
    source.close()


def stays_at_its_end(case: SourceCase) -> None:
    """Check that every read after the last frame returns None."""
    if not case.ends:
        return
    source = case.open()
    while source.read() is not None:
        pass
    assert source.read() is None, "the source delivered a frame after its end"
    source.close()


def can_be_opened_twice(case: SourceCase) -> None:
    """Check that two open sources do not disturb each other."""
    first, second = case.open(), case.open()
    image = _image(first).copy()
    _image(second)
    third = case.open()
    assert np.array_equal(image, _image(third)), "a source delivers other frames when it is opened again"
    for source in (first, second, third):
        source.close()


def _image(source: Source) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    frame = source.read()
    assert isinstance(frame, Frame)
    return frame.image


CHECKS: tuple[Callable[[SourceCase], None], ...] = (
    delivers_numbered_and_stamped_images,
    stays_at_its_end,
    can_be_opened_twice,
)
"""The checks that every source must pass."""
