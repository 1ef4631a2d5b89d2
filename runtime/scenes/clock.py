"""A clock in the picture: squares along its upper edge that a program reads back, through display and camera.

What lies between the moment that is drawn and the moment that the answer is there is the true latency, which no time
stamp on the way can leave out. Both programs must run on the same machine: the monotonic clock is one machine's own.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from orilla.runtime.preprocessing.image import Image

BITS, CHECK = 24, 8
"""Of the time, in milliseconds: it repeats every 4.7 hours; and of the sum that tells a clock from a picture."""

HEIGHT = 16
"""The squares take this part of the picture's height."""

BLACK, WHITE, MIDDLE = 16, 235, 128


def draw(image: Image, now_ns: int) -> None:
    """Draws the time into `[H,W,3]` uint8, in place."""
    word = _word(now_ns // 1_000_000 % (1 << BITS))
    height, width = image.shape[:2]
    edges = np.linspace(0, width, len(word) + 1).round().astype(int)
    for bit, (left, right) in zip(word, pairwise(edges), strict=True):
        image[: max(1, height // HEIGHT), left:right] = WHITE if bit else BLACK


def read(image: Image) -> int | None:
    """The time in a picture, milliseconds; None where there is no clock, or one that cannot be read."""
    height, width = image.shape[:2]
    if width < 2 * (BITS + CHECK):
        return None
    band = image[max(1, height // HEIGHT) // 2, :, 1]
    places = ((np.arange(BITS + CHECK) + 0.5) * width / (BITS + CHECK)).astype(int)
    word = [bool(value > MIDDLE) for value in band[places]]
    found = sum(bit << place for place, bit in enumerate(word[:BITS]))
    return found if word == _word(found) else None


def since_ms(drawn: int, now_ns: int) -> float:
    """Milliseconds from the time that was read to `now_ns`."""
    return (now_ns / 1e6 - drawn) % (1 << BITS)


def _word(time_ms: int) -> list[bool]:
    """The bits, the lowest first, then the check sum: that of the bytes, so that all black is no clock."""
    check = (0xA5 + sum((time_ms >> shift) & 0xFF for shift in range(0, BITS, 8))) & 0xFF
    return [bool(time_ms >> place & 1) for place in range(BITS)] + [bool(check >> place & 1) for place in range(CHECK)]
