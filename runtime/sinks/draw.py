"""Draw a result on the image of its frame."""

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
"""Opacity of a mask, 0–1."""
MAX_CLASSES = 3
"""Maximum number of classes that the caption of a classification lists."""


def annotate(tick: Tick) -> Image:
    """Return a copy of the frame's image with the result drawn on it. Raise `ConfigError` if there is no image."""
    if not isinstance(tick.frame, Frame):
        msg = "there is no image to draw on: use the sink `jsonl`"
        raise ConfigError(msg)
    image = tick.frame.image.copy()
    texts = _draw(image, tick.result)
    if texts:
        _caption(image, "  ".join([*texts, f"infer {tick.stages_ms['infer']:.1f} ms"]))
    return image


def _draw(image: Image, result: Result) -> list[str]:
    """Draw masks and boxes on the image. Return the lines of the caption."""
    if isinstance(result, Segmentation):
        _tint(image, result)
        return [f"{result.label} {100 * result.fraction:.0f} %"]
    if isinstance(result, Classification):
        return [f"{score.label} {100 * score.score:.0f} %" for score in result.top_k(MAX_CLASSES)]
    if isinstance(result, Answers):
        return [text for answer in result.values() for text in _draw(image, answer)]
    if isinstance(result, CascadeResult):
        texts = _draw(image, result.first)
        for part in result.parts:
            left, top, right, bottom = part.box_xyxy
            cv2.rectangle(image, (left, top), (right - 1, bottom - 1), TINT, max(1, image.shape[0] // 360))
            texts += _draw(image[top:bottom, left:right], part.answer)
        return texts
    return []


def _tint(image: Image, result: Segmentation) -> None:
    """Tint the mask and draw its outline."""
    mask = result.mask.view(np.uint8)
    tinted = cv2.addWeighted(image, 1 - OPACITY, np.full_like(image, TINT), OPACITY, 0)
    cv2.copyTo(tinted, mask, image)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, edges, -1, TINT, max(1, image.shape[0] // 360), cv2.LINE_AA)


def _caption(image: Image, text: str) -> None:
    scale = image.shape[0] / 720
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, 0.8 * scale), max(1, round(1.5 * scale))
    (width, height), descent = cv2.getTextSize(text, font, size, thickness)
    pad = max(4, height // 2)
    box = image[: height + descent + 2 * pad, : width + 2 * pad]
    np.multiply(box, 0.35, out=box, casting="unsafe")
    cv2.putText(image, text, (pad, height + pad), font, size, (255, 255, 255), thickness, cv2.LINE_AA)
