"""Functions that draw answers into images. Sizes scale with the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

TINT = (70, 200, 60)
"""BGR colour of masks and boxes."""
OPACITY = 0.45
"""Opacity of a mask, 0–1."""


def draw_mask(image: Image, mask: NDArray[np.bool_]) -> None:
    """Tint the pixels of a mask `[H,W]`, and draw its outline."""
    marked = mask.view(np.uint8)
    tinted = cv2.addWeighted(image, 1 - OPACITY, np.full_like(image, TINT), OPACITY, 0)
    cv2.copyTo(tinted, marked, image)
    edges, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, edges, -1, TINT, _line_width(image), cv2.LINE_AA)


def draw_box(image: Image, box_xyxy: tuple[int, int, int, int]) -> None:
    """Draw a box: left, top, right and bottom edge in pixels. Right and bottom are exclusive."""
    left, top, right, bottom = box_xyxy
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), TINT, _line_width(image))


def draw_caption(image: Image, text: str) -> None:
    """Write a line of text on a darkened background in the top left corner."""
    scale = image.shape[0] / 720
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, 0.8 * scale), max(1, round(1.5 * scale))
    (width, height), descent = cv2.getTextSize(text, font, size, thickness)
    pad = max(4, height // 2)
    box = image[: height + descent + 2 * pad, : width + 2 * pad]
    np.multiply(box, 0.35, out=box, casting="unsafe")
    cv2.putText(image, text, (pad, height + pad), font, size, (255, 255, 255), thickness, cv2.LINE_AA)


def _line_width(image: Image) -> int:
    height: int = image.shape[0]
    return max(1, height // 360)
