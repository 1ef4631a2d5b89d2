"""A tracker similar to SORT and ByteTrack, which gives all boxes of an object the same track ID.

Sources: Bewley et al., "Simple Online and Realtime Tracking" (arXiv 1602.00763): prediction by a Kalman filter, and
association by IoU. Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (arXiv
2110.06864): boxes with a low score can continue a track, but not begin one. Yang et al., "Hard to Track Objects with
Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space" (arXiv 2211.14317): in a last
step, the boxes of objects that were found in the last frame are enlarged, because the boxes of a fast object in two
successive frames may not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.detection import iou_matrix
from orilla.runtime.tracking.assignment import Indices, assign
from orilla.runtime.tracking.motion import Floats, Motion, coordinates
from orilla.runtime.tracking.track import Track

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_IOU = 0.2
"""Minimum IoU of a prediction and a box with a high score, whether or not the two are enlarged first. It corresponds to
the maximum distance (1 - IoU) of 0.8 in Zhang et al."""
MIN_IOU_LOW = 0.5
"""Minimum IoU of a prediction and a box with a low score. Source: Zhang et al."""
GROWTH = 2.0
"""Number of standard deviations by which boxes are enlarged."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """The tracks of the N boxes of one frame."""

    keys: Ints
    """Key of the track of each box, `[N]`, which is unique within the stream. -1 for a box with a low score and no
    track."""
    numbers: Ints
    """Track ID of the object, `[N]`. 0 if the box has no track or its track is not confirmed."""
    boxes_xyxy: Floats
    """Filtered boxes, `[N,4]`. They jitter less than the detected boxes."""


class Tracker:
    """Tracks the objects of one stream. Equal inputs give equal results.

    Args:
        settings: Settings of the tracker.
        high_score: Minimum score of a box that begins a track, 0–1.
    """

    def __init__(self, settings: Track, high_score: float) -> None:
        self._settings, self._high = settings, high_score
        self._max_gap_ns = round(1e9 * settings.max_gap_s)
        self._time_ns: int | None = None
        self._next_key, self._next_number = 0, 1
        self._motion = Motion(np.zeros((0, 4)))
        self._keys, self._numbers, self._hits, self._classes, self._seen_ns = (np.zeros(0, np.int64) for _ in range(5))

    @property
    def keys(self) -> set[int]:
        """Return the keys of all tracks that may continue."""
        return set(self._keys.tolist())

    def update(self, boxes_xyxy: Floats, scores: Floats, classes: Ints, time_ns: int) -> Tracked:
        """Continue the tracks with the boxes of the next frame.

        Args:
            boxes_xyxy: Left, top, right and bottom edge, `[N,4]`, as fractions of the frame.
            scores: Scores, `[N]`, 0–1.
            classes: Class indices, `[N]`.
            time_ns: Time of the frame in nanoseconds. If it is before the time of the last frame, the last frame's time
                is used.
        """
        time_ns = max(time_ns, self._time_ns) if self._time_ns is not None else time_ns
        last_ns, self._time_ns = time_ns if self._time_ns is None else self._time_ns, time_ns
        self._keep(time_ns - self._seen_ns <= self._max_gap_ns)
        self._motion.predict((time_ns - last_ns) / 1e9)
        measured = coordinates(boxes_xyxy)
        row_of = self._associate(boxes_xyxy, scores, classes, last_ns)
        found = np.flatnonzero(row_of >= 0)
        self._motion.correct(row_of[found], measured[found])
        self._hits[row_of[found]] += 1
        self._seen_ns[row_of[found]] = time_ns
        self._classes[row_of[found]] = classes[found]
        new = np.flatnonzero((row_of < 0) & (scores >= self._high))
        row_of[new] = len(self._keys) + np.arange(len(new))
        self._begin(measured[new], classes[new], time_ns)
        self._confirm()
        tracked = self._tracked(row_of)
        # A track that is not confirmed ends as soon as the object is not found in a frame.
        missing = self._seen_ns < time_ns
        self._motion.keep_size(missing)
        self._keep(~missing | (self._numbers > 0))
        return tracked

    def _associate(self, boxes: Floats, scores: Floats, classes: Ints, last_ns: int) -> Indices:
        """Return the index of each box's track among all tracks, or -1 for a box without a track, `[N]`."""
        row_of = np.full(len(boxes), -1, np.intp)
        free = np.ones(len(self._keys), bool)
        if not len(boxes) or not len(free):
            return row_of
        alike = np.ones((len(free), len(boxes)), bool)
        if self._settings.class_wise:
            alike = self._classes[:, None] == classes
        high, low = scores >= self._high, (scores < self._high) & (scores >= self._settings.low_score)
        confirmed, recent = self._numbers > 0, self._seen_ns == last_ns
        predicted = self._motion.boxes_xyxy()
        ious = iou_matrix(predicted, boxes)

        def step(tracks: Bools, wanted: Bools, minimum: float, *, grown: bool = False) -> None:
            rows, columns = np.flatnonzero(tracks & free), np.flatnonzero(wanted & (row_of < 0))
            if not len(rows) or not len(columns):
                return
            pairs = np.ix_(rows, columns)
            similarity = (
                grown_ious(predicted[rows], self._motion.spread(rows), boxes[columns]) if grown else ious[pairs]
            )
            row, column = assign(similarity * alike[pairs], minimum)
            row_of[columns[column]] = rows[row]
            free[rows[row]] = False

        step(confirmed, high, MIN_IOU)
        step(confirmed & recent, low, MIN_IOU_LOW)
        step(~confirmed, high, MIN_IOU)
        step(recent, high, MIN_IOU, grown=True)
        return row_of

    def _begin(self, measured: Floats, classes: Ints, time_ns: int) -> None:
        count = len(measured)
        self._motion.extend(Motion(measured))
        self._keys = np.append(self._keys, self._next_key + np.arange(count))
        self._numbers = np.append(self._numbers, np.zeros(count, np.int64))
        self._hits = np.append(self._hits, np.ones(count, np.int64))
        self._classes = np.append(self._classes, classes)
        self._seen_ns = np.append(self._seen_ns, np.full(count, time_ns))
        self._next_key += count

    def _confirm(self) -> None:
        """Assign a track ID to each track whose object has been found often enough."""
        rows = np.flatnonzero((self._numbers == 0) & (self._hits >= self._settings.confirm))
        self._numbers[rows] = self._next_number + np.arange(len(rows))
        self._next_number += len(rows)

    def _tracked(self, row_of: Indices) -> Tracked:
        found = row_of >= 0
        keys, numbers = np.full(len(row_of), -1, np.int64), np.zeros(len(row_of), np.int64)
        boxes = np.zeros((len(row_of), 4))
        keys[found], numbers[found] = self._keys[row_of[found]], self._numbers[row_of[found]]
        boxes[found] = self._motion.boxes_xyxy()[row_of[found]]
        return Tracked(keys, numbers, boxes)

    def _keep(self, rows: Bools) -> None:
        """End the tracks for which a mask `[T]` is False."""
        if not rows.all():
            self._motion.take(rows)
            for name in ("_keys", "_numbers", "_hits", "_classes", "_seen_ns"):
                setattr(self, name, getattr(self, name)[rows])


def grown_ious(predicted: Floats, spread: Floats, boxes: Floats) -> Floats:
    """Return the IoU `[T,N]` of predictions and boxes, after enlarging both by the uncertainty of the prediction.

    Args:
        predicted: Predicted boxes, `[T,4]`.
        spread: Standard deviation of their centres in x and y, `[T,2]`.
        boxes: Boxes, `[N,4]`.
    """
    first, second = predicted[:, None], boxes[None]
    growth = 2 * GROWTH * spread[:, None]
    overlap = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + growth
    common = np.maximum(overlap, 0).prod(axis=2)
    area, other_area = ((box[..., 2:] - box[..., :2] + growth).prod(axis=2) for box in (first, second))
    union = area + other_area - common
    ious: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ious
