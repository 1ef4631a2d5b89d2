"""Synthetic sequences with known identities, and the metrics MOTA, IDF1 and identity switches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.detection import iou_matrix
from orilla.runtime.tracking.assignment import assign
from orilla.runtime.tracking.tracker import Tracker

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Path = Callable[[float], tuple[float, float] | None]
"""Function that returns the centre of an object at a given time in seconds, or None if it is not in the scene."""


@dataclass(frozen=True)
class Objects:
    """Boxes of one frame with an identity each."""

    identities: Ints
    boxes: Floats
    """Left, top, right and bottom edge, `[N,4]`."""
    classes: Ints
    scores: Floats


@dataclass
class Scene:
    """A sequence of frames with true objects, and noisy detections of these objects."""

    paths: Sequence[Path]
    size: tuple[float, float] = (0.06, 0.12)
    """Width and height of the objects, as fractions of the frame."""
    classes: Sequence[int] = ()
    """Class of each object. If empty, all objects have class 0."""
    rate_hz: float = 30.0
    seconds: float = 4.0
    jitter: float = 0.02
    """Standard deviation of the detected edges, as a share of the box's sides."""
    missed: float = 0.0
    """Probability that an object is not detected."""
    weak: float = 0.0
    """Probability that an object is detected with a low score."""
    false_alarms: float = 0.0
    """Mean number of wrong detections per frame."""
    dropped: float = 0.0
    """Probability that a frame is dropped."""
    hidden: Sequence[tuple[int, float, float]] = ()
    """Objects that are hidden: index of the object, and the start and end in seconds."""
    seed: int = 0
    times_ns: list[int] = field(default_factory=list)
    truth: list[Objects] = field(default_factory=list)
    found: list[Objects] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compute the frames."""
        rng = np.random.default_rng(self.seed)
        for index in range(round(self.seconds * self.rate_hz)):
            time_s = index / self.rate_hz
            if rng.random() < self.dropped:
                continue
            self.times_ns.append(round(1e9 * time_s))
            true = self._true(time_s)
            self.truth.append(true)
            self.found.append(self._detected(true, time_s, rng))

    def _true(self, time_s: float) -> Objects:
        centres = [path(time_s) for path in self.paths]
        present = [number for number, centre in enumerate(centres) if centre is not None]
        middle = np.array([centres[number] for number in present], float).reshape(-1, 2)
        half = np.array(self.size) / 2
        classes = np.array([self.classes[number] if self.classes else 0 for number in present], np.int64)
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        return Objects(np.array(present, np.int64), boxes, classes, np.ones(len(present)))

    def _detected(self, true: Objects, time_s: float, rng: np.random.Generator) -> Objects:
        hidden = [number for number, start, end in self.hidden if start <= time_s < end]
        kept = (rng.random(len(true.boxes)) >= self.missed) & ~np.isin(true.identities, hidden)
        boxes = true.boxes[kept] + rng.normal(0, self.jitter, (int(kept.sum()), 4)) * np.tile(self.size, 2)
        scores = np.where(rng.random(len(boxes)) < self.weak, 0.2, 0.8)
        wrong = rng.random((rng.poisson(self.false_alarms), 2))
        boxes = np.concatenate([boxes, np.concatenate([wrong, wrong + self.size], axis=1)])
        count = len(wrong)
        order = rng.permutation(len(boxes))
        identities = np.append(true.identities[kept], np.full(count, -1))
        classes = np.append(true.classes[kept], np.zeros(count, np.int64))
        scores = np.append(scores, np.full(count, 0.6))
        return Objects(identities[order], boxes[order], classes[order], scores[order])


def track(scene: Scene, tracker: Tracker) -> list[Objects]:
    """Track the detections of a scene. Return the confirmed boxes of each frame, with their track IDs as identities."""
    answers = []
    for time_ns, found in zip(scene.times_ns, scene.found, strict=True):
        numbers = tracker.update(found.boxes, found.scores, found.classes, time_ns).numbers
        kept = numbers > 0
        answers.append(Objects(numbers[kept], found.boxes[kept], found.classes[kept], found.scores[kept]))
    return answers


@dataclass(frozen=True)
class Quality:
    """Metrics that compare tracks with the true objects."""

    mota: float
    idf1: float
    switches: int
    """Number of times that the track ID of a true object changes."""


def quality(truth: Iterable[Objects], answers: Iterable[Objects], min_iou: float = 0.5) -> Quality:
    """Compare tracks with the true objects.

    Sources: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics"
    (2008), and Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (arXiv
    1609.01775).
    """
    last: dict[int, int] = {}
    together: dict[tuple[int, int], int] = {}
    true_count = found_count = right = switches = 0
    for true, answer in zip(truth, answers, strict=True):
        ious = iou_matrix(true.boxes, answer.boxes)
        pairs = list(zip(*np.nonzero(ious >= min_iou), strict=True))
        for row, column in pairs:
            key = int(true.identities[row]), int(answer.identities[column])
            together[key] = together.get(key, 0) + 1
        # A pair of boxes from the last frame stays paired while the boxes overlap. The other boxes are assigned by IoU.
        kept = [last.get(int(true.identities[row])) == answer.identities[column] for row, column in pairs]
        for (row, column), same in zip(pairs, kept, strict=True):
            ious[row, column] += 10 * same
        rows, columns = assign(ious, min_iou)
        for row, column in zip(rows, columns, strict=True):
            identity, number = int(true.identities[row]), int(answer.identities[column])
            switches += last.get(identity, number) != number
            last[identity] = number
        true_count, found_count, right = (
            true_count + len(true.boxes),
            found_count + len(answer.boxes),
            right + len(rows),
        )
    errors = true_count - right + found_count - right + switches
    return Quality(1 - errors / true_count, 2 * best_total(together) / (true_count + found_count), switches)


def best_total(weights: dict[tuple[int, int], int]) -> int:
    """Return the total weight of the maximum-weight matching.

    The function uses the Hungarian algorithm with potentials. Source: Munkres, "Algorithms for the Assignment and
    Transportation Problems" (1957).
    """
    lefts, rights = (sorted({pair[side] for pair in weights}) for side in (0, 1))
    size = max(len(lefts), len(rights))
    cost = np.zeros((size + 1, size + 1))
    for (left, right), weight in weights.items():
        cost[1 + lefts.index(left), 1 + rights.index(right)] = -weight
    row_potential, column_potential = np.zeros(size + 1), np.zeros(size + 1)
    row_of, before = np.zeros(size + 1, np.intp), np.zeros(size + 1, np.intp)
    for row in range(1, size + 1):
        row_of[0], column = row, 0
        slack, used = np.full(size + 1, np.inf), np.zeros(size + 1, bool)
        while row_of[column]:
            used[column] = True
            reduced = cost[row_of[column]] - row_potential[row_of[column]] - column_potential
            better = ~used & (reduced < slack)
            slack[better], before[better] = reduced[better], column
            column = int(np.where(used, np.inf, slack).argmin())
            step = slack[column]
            row_potential[row_of[used]] += step
            column_potential[used] -= step
            slack[~used] -= step
        while column:
            row_of[column], column = row_of[before[column]], int(before[column])
    return -sum(round(float(cost[row_of[column], column])) for column in range(1, size + 1))
