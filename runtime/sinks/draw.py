"""Draws a result over its frame."""

from __future__ import annotations

import cv2
import numpy as np

from orilla.runtime.frame import Tick
from orilla.runtime.preprocess import Image

TINT = (70, 200, 60)
"""BGR of what was found."""
OPACITY = 0.45


def annotate(tick: Tick) -> Image:
    """The frame with its mask tinted, the mask's edge drawn, and a line of figures; a new picture."""
    image = tick.frame.image
    mask = tick.result.mask.view(np.uint8)
    tinted = cv2.addWeighted(image, 1 - OPACITY, np.full_like(image, TINT), OPACITY, 0)
    picture = image.copy()
    cv2.copyTo(tinted, mask, picture)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    thickness = max(1, image.shape[0] // 360)
    cv2.drawContours(picture, edges, -1, TINT, thickness, cv2.LINE_AA)
    _caption(picture, f"{tick.result.label} {100 * tick.result.fraction:.0f} %  infer {tick.stages_ms['infer']:.1f} ms")
    return picture


def _caption(picture: Image, text: str) -> None:
    scale = picture.shape[0] / 720
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, 0.8 * scale), max(1, round(1.5 * scale))
    (width, height), below = cv2.getTextSize(text, font, size, thickness)
    pad = max(4, height // 2)
    box = picture[: height + below + 2 * pad, : width + 2 * pad]
    np.multiply(box, 0.35, out=box, casting="unsafe")
    cv2.putText(picture, text, (pad, height + pad), font, size, (255, 255, 255), thickness, cv2.LINE_AA)
