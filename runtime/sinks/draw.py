"""Draw a result over its frame."""

from __future__ import annotations

import cv2
import numpy as np

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Answers, CascadeResult, Frame, Result, Tick
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.tasks.classify import Classification
from orilla.runtime.tasks.segment import Segmentation

TINT = (70, 200, 60)
"""BGR colour of a mask."""
OPACITY = 0.45
GUESSES = 3


def annotate(tick: Tick) -> Image:
    """Return a new image of the frame with the result and a line of figures. Raises `ConfigError` without an image."""
    if not isinstance(tick.frame, Frame):
        msg = "there is no image to draw on: use the sink `jsonl`"
        raise ConfigError(msg)
    picture = tick.frame.image.copy()
    words = _draw(picture, tick.result)
    if words:
        _caption(picture, "  ".join([*words, f"infer {tick.stages_ms['infer']:.1f} ms"]))
    return picture


def _draw(picture: Image, result: Result) -> list[str]:
    """Draw the parts of the result that have a position. Return the text about the others."""
    if isinstance(result, Segmentation):
        _tint(picture, result)
        return [f"{result.label} {100 * result.fraction:.0f} %"]
    if isinstance(result, Classification):
        return [f"{one.label} {100 * one.score:.0f} %" for one in result.top_k(GUESSES)]
    if isinstance(result, Answers):
        return [word for answer in result.values() for word in _draw(picture, answer)]
    if isinstance(result, CascadeResult):
        words = _draw(picture, result.first)
        for part in result.parts:
            left, top, right, bottom = part.box_xyxy
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), TINT, max(1, picture.shape[0] // 360))
            words += _draw(picture[top:bottom, left:right], part.answer)
        return words
    return []


def _tint(picture: Image, result: Segmentation) -> None:
    """Tint the mask and draw its edge."""
    mask = result.mask.view(np.uint8)
    tinted = cv2.addWeighted(picture, 1 - OPACITY, np.full_like(picture, TINT), OPACITY, 0)
    cv2.copyTo(tinted, mask, picture)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, edges, -1, TINT, max(1, picture.shape[0] // 360), cv2.LINE_AA)


def _caption(picture: Image, text: str) -> None:
    scale = picture.shape[0] / 720
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, 0.8 * scale), max(1, round(1.5 * scale))
    (width, height), below = cv2.getTextSize(text, font, size, thickness)
    pad = max(4, height // 2)
    box = picture[: height + below + 2 * pad, : width + 2 * pad]
    np.multiply(box, 0.35, out=box, casting="unsafe")
    cv2.putText(picture, text, (pad, height + pad), font, size, (255, 255, 255), thickness, cv2.LINE_AA)
