"""Draws a result over its frame."""

from __future__ import annotations

import cv2
import numpy as np

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.preprocess import Image
from orilla.runtime.tasks.classify import Classification
from orilla.runtime.tasks.segment import Segmentation

TINT = (70, 200, 60)
"""BGR of what was found."""
OPACITY = 0.45
GUESSES = 3


def annotate(tick: Tick) -> Image:
    """The frame with what was found and a line of figures, a new picture; raises `ConfigError` for what is none."""
    if not isinstance(tick.frame, Frame):
        raise ConfigError("there is no picture to draw on: use --sink jsonl")
    picture = tick.frame.image.copy()
    infer = f"infer {tick.stages_ms['infer']:.1f} ms"
    if isinstance(tick.result, Segmentation):
        _tint(picture, tick.result)
        _caption(picture, f"{tick.result.label} {100 * tick.result.fraction:.0f} %  {infer}")
    elif isinstance(tick.result, Classification):
        guesses = [f"{one.label} {100 * one.score:.0f} %" for one in tick.result.top_k(GUESSES)]
        _caption(picture, "  ".join([*guesses, infer]))
    return picture


def _tint(picture: Image, result: Segmentation) -> None:
    """The mask tinted, and its edge drawn."""
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
