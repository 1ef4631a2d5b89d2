"""Functions that draw answers into images. Sizes scale with the image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

Color = tuple[int, int, int]
"""BGR colour, 0–255."""

TINT: Color = (70, 200, 60)
"""BGR colour of masks and boxes."""
COLORS = (
    *((75, 25, 230), (75, 180, 60), (25, 225, 255), (200, 130, 0), (48, 130, 245), (180, 30, 145)),
    *((240, 240, 70), (230, 50, 240), (60, 245, 210), (128, 128, 0), (40, 110, 170), (0, 0, 128)),
)
"""BGR colours of classes, chosen to be distinguishable. Source: Trubetskoy, "List of 20 Simple, Distinct Colors"."""
MIN_FONT = 0.35
"""Smallest legible font scale."""
OPACITY = 0.45
"""Opacity of a mask, 0–1."""
GOLDEN_RATIO = 0.618034
"""Step between the hues of a palette, as a share of the colour circle. With this step, any number of hues remain
distinct."""


def palette(count: int) -> list[Color]:
    """Return `count` BGR colours with evenly spread hues, which are easy to distinguish. The first one is `TINT`."""
    hues = (75 + np.arange(count) * 180 * GOLDEN_RATIO) % 180
    hsv = np.stack([hues, np.full(count, 178), np.full(count, 210)], axis=1).astype(np.uint8)[None]
    colors = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0].tolist()
    return [TINT, *(tuple(color) for color in colors[1:])]


def draw_mask(image: Image, mask: NDArray[np.bool_], color: Color = TINT) -> None:
    """Tint the pixels of a mask `[H,W]`, and draw its outline."""
    marked = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(marked)
    if not width:
        return
    part = image[top : top + height, left : left + width]
    # Looking up the tinted colours is nine times as fast as computing them for each pixel. The result is the same.
    cv2.copyTo(cv2.LUT(part, _tints(color)), marked[top : top + height, left : left + width], part)
    edges, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, edges, -1, color, _line_width(image), cv2.LINE_AA)


@lru_cache(maxsize=256)
def _tints(color: Color) -> Image:
    """Return the tinted value for each value 0–255 of each channel, `[1,256,3]`."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tinted = cv2.addWeighted(levels, 1 - OPACITY, np.full_like(levels, color), OPACITY, 0)
    return np.asarray(tinted, np.uint8)


def draw_box(image: Image, box_xyxy: tuple[int, int, int, int]) -> None:
    """Draw a box, given as left, top, right and bottom edge in pixels. Right and bottom are exclusive."""
    left, top, right, bottom = box_xyxy
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), TINT, _line_width(image))


def color_of(label: str) -> tuple[int, int, int]:
    """Return the BGR colour of a class. It depends only on the name of the class, so it is the same for all models."""
    return COLORS[zlib.crc32(label.encode()) % len(COLORS)]


def draw_labelled_box(
    image: Image, box_xyxy: tuple[int, int, int, int], text: str, color: tuple[int, int, int]
) -> None:
    """Draw a box and its label on a filled rectangle above the box, or inside the box if it is at the top of the image.

    The label is shifted so that it lies inside the image. If the image is too narrow for a legible label, the label is
    omitted.

    Args:
        image: Image `[H,W,3]` uint8 BGR. It is changed.
        box_xyxy: Left, top, right and bottom edge in pixels. Right and bottom are exclusive.
        text: Label.
        color: BGR colour of the box and of the label's background.
    """
    left, top, right, bottom = box_xyxy
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, _line_width(image))
    draw_label(image, (left, top), text, color)


def draw_label(image: Image, at_xy: tuple[float, float], text: str, color: Color) -> None:
    """Write a text on a filled rectangle above a point, or below the point if it is at the top of the image.

    The text is shifted so that it lies inside the image. If the image is too narrow for legible text, nothing is
    written.

    Args:
        image: Image `[H,W,3]` uint8 BGR. It is changed.
        at_xy: Lower left corner of the text: x and y in pixels.
        text: Text.
        color: BGR colour of the background.
    """
    left, top = (round(value) for value in at_xy)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(image.shape[0] / 720))
    size = max(MIN_FONT, 0.6 * image.shape[0] / 720)
    columns = cv2.getTextSize(text, font, size, thickness)[0][0]
    size = max(MIN_FONT, min(size, size * (image.shape[1] - 4) / columns))
    (columns, rows), descent = cv2.getTextSize(text, font, size, thickness)
    pad = max(1, rows // 4)
    high, wide = rows + descent + 2 * pad, columns + 2 * pad
    if high > image.shape[0] or wide > image.shape[1]:
        return
    x = min(max(0, left), image.shape[1] - wide)
    y = top - high if top >= high else min(max(0, top), image.shape[0] - high)
    image[y : y + high, x : x + wide] = color
    cv2.putText(image, text, (x + pad, y + pad + rows), font, size, _contrast(color), thickness, cv2.LINE_AA)


def draw_path(image: Image, points_xy: Sequence[tuple[float, float]], color: Color) -> None:
    """Draw a line from each point to the next one. Positions are in pixels."""
    points = np.array(points_xy, np.float64).reshape(-1, 1, 2).round().astype(np.int32)
    cv2.polylines(image, [points], False, color, _line_width(image), cv2.LINE_AA)  # noqa: FBT003 - OpenCV's signature


def draw_arrow(image: Image, at_xy: tuple[float, float], direction_xy: tuple[float, float], color: Color) -> None:
    """Draw a short arrow that begins at a point. Its length depends only on the size of the image."""
    scale = image.shape[0] / 18 / max(1e-9, float(np.hypot(*direction_xy)))
    ends = [at_xy, (at_xy[0] + scale * direction_xy[0], at_xy[1] + scale * direction_xy[1])]
    start, end = ((round(x), round(y)) for x, y in ends)
    cv2.arrowedLine(image, start, end, color, _line_width(image), cv2.LINE_AA, tipLength=0.35)


def draw_points(image: Image, points_xy: Sequence[tuple[float, float]], color: tuple[int, int, int]) -> None:
    """Draw points as discs with a white edge. Points outside the image are omitted."""
    radius = max(1, 2 * _line_width(image))
    for x, y in points_xy:
        if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
            cv2.circle(image, (int(x), int(y)), radius + 1, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(image, (int(x), int(y)), radius, color, -1, cv2.LINE_AA)


BAR_WIDTH, BAR_HEIGHT = 0.6, 0.025
"""Width and height of a bar as shares of the image's width and height."""
MAX_DIRECTION_DEG = 60.0
"""Angle in degrees between an arrow at the end of its range and an arrow that points straight up."""


def draw_bar(image: Image, row: int, share: float, zero: float, text: str) -> None:
    """Draw a number as a horizontal bar with its text above, centred near the lower edge.

    If the image is too narrow or too low for legible text, the text is omitted.

    Args:
        image: Image `[H,W,3]` uint8 BGR. It is changed.
        row: Number of the bar, counted from 0 at the bottom.
        share: Position of the number in its range, 0–1.
        zero: Position from which the bar is filled, 0–1.
        text: The number, with its name and unit.
    """
    rows, columns = image.shape[:2]
    size, thickness = max(MIN_FONT, 0.6 * rows / 720), max(1, round(rows / 720))
    (wide, tall), descent = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    high, pad = max(3, round(BAR_HEIGHT * rows)), max(1, tall // 3)
    legible = wide <= columns and (row + 2) * (high + tall + descent + 2 * pad) <= rows
    pitch = high + pad + (tall + descent + pad if legible else 0)
    bottom = rows - pad - row * pitch
    top, left = bottom - high, round((1 - BAR_WIDTH) / 2 * columns)
    right = columns - left
    _darken(image[top:bottom, left:right])
    start, end = sorted(left + round(position * (right - left)) for position in (zero, share))
    image[top:bottom, start : max(end, start + 1)] = TINT
    mark = min(left + round(zero * (right - left)), right - 1)
    image[top:bottom, mark : mark + _line_width(image)] = (255, 255, 255)
    if legible:
        x, y = max(0, (columns - wide) // 2), top - pad - descent
        _darken(image[max(0, y - tall - pad) : top - pad // 2, max(0, x - pad) : x + wide + pad])
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thickness, cv2.LINE_AA)


def draw_direction(image: Image, share: float) -> None:
    """Draw an arrow from the lower half of the image upwards.

    Args:
        image: Image `[H,W,3]` uint8 BGR. It is changed.
        share: Direction from -1 (left) to 1 (right). 0 is straight ahead.
    """
    rows, columns = image.shape[:2]
    angle, length = np.deg2rad(MAX_DIRECTION_DEG * share), 0.3 * min(rows, columns)
    start = (columns // 2, round(0.65 * rows))
    end = (round(start[0] + length * np.sin(angle)), round(start[1] - length * np.cos(angle)))
    width = 2 * _line_width(image)
    for color, thickness in (((0, 0, 0), width + 2), (TINT, width)):
        cv2.arrowedLine(image, start, end, color, thickness, cv2.LINE_AA, tipLength=0.25)


def _darken(box: Image) -> None:
    """Darken a part of an image, so that white text on it is legible."""
    np.multiply(box, 0.35, out=box, casting="unsafe")


def _contrast(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is easier to read on this BGR colour. Source: the luma of ITU-R BT.601."""
    luma = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)


def draw_caption(image: Image, text: str) -> None:
    """Write a line of text on a darkened background in the top left corner."""
    scale = image.shape[0] / 720
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, 0.8 * scale), max(1, round(1.5 * scale))
    (width, height), descent = cv2.getTextSize(text, font, size, thickness)
    pad = max(4, height // 2)
    box = image[: height + descent + 2 * pad, : width + 2 * pad]
    _darken(box)
    cv2.putText(image, text, (pad, height + pad), font, size, (255, 255, 255), thickness, cv2.LINE_AA)


def _line_width(image: Image) -> int:
    height: int = image.shape[0]
    return max(1, height // 360)


def tint(image: Image, pixels: NDArray[np.bool_], color_bgr: tuple[int, int, int]) -> None:
    """Mix the colour of some pixels of an image with another colour, in equal parts."""
    image[pixels] = (image[pixels].astype(np.uint16) + np.array(color_bgr, np.uint16)) // 2
