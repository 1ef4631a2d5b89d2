"""Ticks with results of each task."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from orilla.runtime.frame import Answers, CascadeResult, Part, Record, Result, Tick
from orilla.runtime.tasks.classify import Classification
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.detect import Box, Detection
from orilla.runtime.tasks.regress import Regression
from orilla.runtime.tasks.segment import decode
from orilla.runtime.tasks.segmentation import Segmentation
from orilla.runtime.tasks.tensor import ArrayResult
from orilla.runtime.tracking.counting import Count
from orilla.runtime.tracking.result import TrackedDetection
from orilla.runtime.tracking.track import Track


def classified(label: str = "cat", score: float = 0.75) -> Classification:
    """Return the answer of a classifier with the classes `cat` and `dog`."""
    scores = (score, 1 - score) if label == "cat" else (1 - score, score)
    return Classification(("cat", "dog"), np.array(scores, np.float32))


def detected(*labels: str) -> Detection:
    """Return the answer of a detector that found objects of these classes."""
    return Detection(tuple(Box(label, 0.9, (1.0, 2.0, 30.0, 40.0)) for label in labels), (48, 64))


def counted(*labels: str) -> TrackedDetection:
    """Return the answer of a detector whose objects are tracked, with a line and a zone."""
    counts = {
        "gate": Count({"in": 3, "out": 1}, {"person": {"in": 3, "out": 1}}),
        "my yard": Count({"inside": 2, "entered": 5}, {}),
    }
    return TrackedDetection(detected(*labels).boxes, (48, 64), counts, Track())


def segmented(fraction: float = 0.5) -> Segmentation:
    """Return the answer of a segmentation in which the road covers the lower part of the frame."""
    grid = np.zeros((100, 8, 1), np.float32)
    grid[round(100 * (1 - fraction)) :] = 1
    return decode(grid, (100, 64), "road")


def regressed(angle: float = 0.25) -> Regression:
    """Return the answer of a regression with a unit and a name that a template must quote."""
    decoding = Decoding(units=("rad", ""), ranges=())
    return Regression(("steering angle", "values"), np.array([angle, 2.0], np.float32), decoding)


def several() -> Answers:
    """Return the answers of two models."""
    return Answers({"road": segmented(), "pets": classified()})


def cascaded() -> CascadeResult:
    """Return the answers of a cascade."""
    return CascadeResult(detected("person"), (Part((1, 2, 30, 40), classified()),))


def tick(index: int = 0, result: Result | None = None, source: str | None = None, **drops: int) -> Tick:
    """Return a tick. Its delivery is `index` milliseconds after that of the first tick, and its age is 20 ms."""
    delivered_ns = 10_000_000_000 + index * 1_000_000
    frame = Record(index, {}, delivered_ns - 20_000_000)
    return Tick(frame, result or ArrayResult({}), {"prepare": 1.0, "infer": 12.0}, delivered_ns, drops, source)


def drive(write: Callable[[Tick], bool], count: int, rate_hz: float, first: int = 0) -> float:
    """Write ticks at a rate, as a camera loop does, and return the rate that was reached."""
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
        write(tick(first + number))
    return count / (time.monotonic() - began + 1 / rate_hz)
