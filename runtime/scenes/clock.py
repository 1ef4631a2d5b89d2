"""A clock in the image: squares along its upper edge that a program can read through display and camera.

The time from drawing to answer is the true latency, which includes what no time stamp can. Both programs must run on
the same machine, because the monotonic clock belongs to one machine.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from orilla.runtime.preprocessing.image import Image

BITS, CHECK = 24, 8
"""Bits of the time in milliseconds, which repeats every 4.7 hours, and of the check sum that distinguishes a clock from
an image."""

HEIGHT = 16
"""Share of the image's height for the squares, as a divisor."""

BLACK, WHITE, MIDDLE = 16, 235, 128


def draw(image: Image, now_ns: int) -> None:
    """Draw the time into `[H,W,3]` uint8, in place."""
    word = _word(now_ns // 1_000_000 % (1 << BITS))
    height, width = image.shape[:2]
    edges = np.linspace(0, width, len(word) + 1).round().astype(int)
    for bit, (left, right) in zip(word, pairwise(edges), strict=True):
        image[: max(1, height // HEIGHT), left:right] = WHITE if bit else BLACK


def read(image: Image) -> int | None:
    """Return the time in an image, milliseconds. None if there is no readable clock."""
    height, width = image.shape[:2]
    if width < 2 * (BITS + CHECK):
        return None
    band = image[max(1, height // HEIGHT) // 2, :, 1]
    places = ((np.arange(BITS + CHECK) + 0.5) * width / (BITS + CHECK)).astype(int)
    word = [bool(value > MIDDLE) for value in band[places]]
    found = sum(bit << place for place, bit in enumerate(word[:BITS]))
    return found if word == _word(found) else None


def since_ms(drawn: int, now_ns: int) -> float:
    """Return the milliseconds from a time that was read until `now_ns`."""
    return (now_ns / 1e6 - drawn) % (1 << BITS)


def _word(time_ms: int) -> list[bool]:
    """Return the bits, the lowest first, followed by the check sum of the bytes.

    The sum makes an all-black image invalid.
    """
    check = (0xA5 + sum((time_ms >> shift) & 0xFF for shift in range(0, BITS, 8))) & 0xFF
    return [bool(time_ms >> place & 1) for place in range(BITS)] + [bool(check >> place & 1) for place in range(CHECK)]
