"""A clock in the image.

It consists of squares along the upper edge, which a program can read even if a camera films them on a display.

The time from drawing an image to its answer is the true latency. It includes the delays of display and camera, which
no time stamp includes. Both programs must run on the same machine, because each machine has its own monotonic clock.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from orilla.runtime.preprocessing.image import Image

BITS, CHECK = 24, 8
"""Number of bits of the time and of its checksum. The time is in milliseconds and repeats every 4.7 hours. The checksum
distinguishes a clock from other images."""

HEIGHT_DIVISOR = 16
"""The height of the squares is the height of the image divided by this number."""

BLACK, WHITE, MIDDLE = 16, 235, 128
"""Pixel values that represent the bits 0 and 1, and the threshold between them."""


def draw(image: Image, now_ns: int) -> None:
    """Draw the time into an image `[H,W,3]` uint8."""
    word = _word(now_ns // 1_000_000 % (1 << BITS))
    height, width = image.shape[:2]
    edges = np.linspace(0, width, len(word) + 1).round().astype(int)
    for bit, (left, right) in zip(word, pairwise(edges), strict=True):
        image[: max(1, height // HEIGHT_DIVISOR), left:right] = WHITE if bit else BLACK


def read(image: Image) -> int | None:
    """Return the time in milliseconds that is drawn in an image, or None if there is no readable clock."""
    height, width = image.shape[:2]
    if width < 2 * (BITS + CHECK):
        return None
    band = image[max(1, height // HEIGHT_DIVISOR) // 2, :, 1]
    columns = ((np.arange(BITS + CHECK) + 0.5) * width / (BITS + CHECK)).astype(int)
    word = [bool(value > MIDDLE) for value in band[columns]]
    time_ms = sum(bit << position for position, bit in enumerate(word[:BITS]))
    return time_ms if word == _word(time_ms) else None


def since_ms(drawn_ms: int, now_ns: int) -> float:
    """Return the time in milliseconds from `drawn_ms`, which `read` returned, to `now_ns`."""
    return (now_ns / 1e6 - drawn_ms) % (1 << BITS)


def _word(time_ms: int) -> list[bool]:
    """Return the bits of a time, the lowest first, followed by the bits of its checksum.

    The checksum of the time 0 is not 0, so that a black image is not read as a clock.
    """
    check = (0xA5 + sum((time_ms >> shift) & 0xFF for shift in range(0, BITS, 8))) & 0xFF
    return [bool(time_ms >> bit & 1) for bit in range(BITS)] + [bool(check >> bit & 1) for bit in range(CHECK)]
