"""Counts of objects that cross a line or enter a zone.

An object that stands on a line jitters from one side to the other. A position therefore only counts if its distance
from the line exceeds a margin, and an object crosses the line when it gets from one such position to another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tracking.track import Point

MARGIN = 0.1
"""Distance from a line or from the edge of a zone up to which an object may be on either side, as a share of the mean
side of its box."""

Floats = NDArray[np.float64]


class Count(msgspec.Struct, frozen=True):
    """The counts of one line or zone since the start of the stream."""

    total: Mapping[str, int]
    """Counts of all classes: `in` and `out` of a line, `inside` and `entered` of a zone."""
    classes: Mapping[str, Mapping[str, int]]
    """The same counts by class. A class without any count is missing."""

    def __getitem__(self, name: str) -> int:
        """Return a count of all classes, as in `count["in"]`."""
        return self.total[name]

    def to_dict(self) -> dict[str, object]:
        """Return the counts as a JSON document."""
        return {**self.total, "classes": {label: dict(counts) for label, counts in self.classes.items()}}


@dataclass(frozen=True, slots=True)
class Positions:
    """The N tracked objects of one frame."""

    keys: Sequence[int]
    """Keys of the tracks."""
    confirmed: Sequence[bool]
    """False for new objects, which do not count yet."""
    labels: Sequence[str]
    points: Floats
    """Counting point of each box, as fractions of the frame, `[N,2]`."""
    margins: Floats
    """Distance up to which an object may be on either side of a line, in pixels, `[N]`."""
    frame_wh: tuple[int, int]
    """Width and height of the frame in pixels."""


class Counting(Protocol):
    """Counts the objects at one line or zone."""

    def observe(self, seen: Positions) -> Count:
        """Count the objects of the next frame, and return the counts so far."""

    def forget(self, alive: set[int]) -> None:
        """Release what is stored about tracks that have ended. `alive` contains the keys of the others."""


class LineCounting:
    """Counts the objects that cross a line, by direction and class."""

    def __init__(self, line: Sequence[Point]) -> None:
        self._start, self._end = (np.array(point, np.float64) for point in line)
        self._settled: dict[int, tuple[bool, Floats]] = {}
        """For each track, whether it was on the right side of the line, and where, when it was last far enough away."""
        self._crossings: Counter[tuple[str, str]] = Counter()

    def observe(self, seen: Positions) -> Count:
        """Count the objects that crossed the line since they were last seen, even if that was before a gap."""
        distances = self._distances(seen)
        for index in np.flatnonzero(np.abs(distances) > seen.margins).tolist():
            key, right, point = seen.keys[index], bool(distances[index] > 0), seen.points[index]
            last = self._settled.get(key)
            if last is not None and not seen.confirmed[index]:
                continue  # The first position is kept, so that the crossing of a new object counts later.
            if last is not None and last[0] != right and self._between_ends(last[1], point):
                self._crossings[seen.labels[index], "in" if right else "out"] += 1
            self._settled[key] = right, point
        return _count(self._crossings, ("in", "out"))

    def forget(self, alive: set[int]) -> None:
        """Release the positions of tracks that have ended."""
        for key in self._settled.keys() - alive:
            del self._settled[key]

    def _distances(self, seen: Positions) -> Floats:
        """Return the signed distance of each point from the infinite line in pixels, positive on its right side."""
        direction = (self._end - self._start) * seen.frame_wh
        offset = (seen.points - self._start) * seen.frame_wh
        distances: Floats = (direction[0] * offset[:, 1] - direction[1] * offset[:, 0]) / np.hypot(*direction)
        return distances

    def _between_ends(self, first: Floats, last: Floats) -> bool:
        """Return True if the path between two points on different sides of the line crosses it between its ends."""
        path = last - first
        start, end = (path[0] * (point[1] - first[1]) - path[1] * (point[0] - first[0]) for point in self._ends())
        return bool(start * end <= 0)

    def _ends(self) -> tuple[Floats, Floats]:
        return self._start, self._end


class ZoneCounting:
    """Counts the objects that are inside a zone, and those that entered it, by class."""

    def __init__(self, corners: Sequence[Point]) -> None:
        self._corners = np.array(corners, np.float64)
        self._inside: dict[int, bool] = {}
        """For each track, whether it was inside when it was last far enough from the edge."""
        self._entered: Counter[tuple[str, str]] = Counter()

    def observe(self, seen: Positions) -> Count:
        """Count the objects that are inside, and those that came in since they were last seen.

        An object that was inside when it was first found has not entered.
        """
        counts = Counter(self._entered)
        corners = (self._corners * seen.frame_wh).astype(np.float32)
        points = (seen.points * seen.frame_wh).tolist()
        for index, key in enumerate(seen.keys):
            distance = cv2.pointPolygonTest(corners, points[index], measureDist=True)
            inside, last = distance > 0, self._inside.get(key)
            if abs(distance) <= seen.margins[index]:
                inside = inside if last is None else last
            elif last is None or seen.confirmed[index]:
                self._inside[key] = inside
                if inside and last is False:
                    self._entered[seen.labels[index], "entered"] += 1
                    counts[seen.labels[index], "entered"] += 1
            if inside and seen.confirmed[index]:
                counts[seen.labels[index], "inside"] += 1
        return _count(counts, ("inside", "entered"))

    def forget(self, alive: set[int]) -> None:
        """Release what is stored about tracks that have ended."""
        for key in self._inside.keys() - alive:
            del self._inside[key]


def _count(counts: Mapping[tuple[str, str], int], names: Sequence[str]) -> Count:
    labels = sorted({label for label, _ in counts})
    classes = {label: {name: counts.get((label, name), 0) for name in names} for label in labels}
    return Count({name: sum(one[name] for one in classes.values()) for name in names}, classes)
