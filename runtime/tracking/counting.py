"""Counts of objects that cross a line or enter a zone.

The detected box of an object that stands on a line may jitter from one side to the other. Therefore, positions that are
closer to the line than a margin are ignored. An object has crossed the line when two successive remaining positions lie
on different sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict, cast

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tracking.track import Point

MARGIN = 0.1
"""Margin on both sides of a line or a zone's edge, as a share of the mean side of the object's box. Positions within
the margin are ignored."""

Floats = NDArray[np.float64]


_Totals = TypedDict("_Totals", {"in": int, "out": int, "inside": int, "entered": int}, total=False)


class CountDocument(_Totals):
    """The counts of a line (`in` and `out`) or a zone (`inside` and `entered`), over all classes and by class."""

    classes: dict[str, dict[str, int]]


class Count(msgspec.Struct, frozen=True):
    """The counts of one line or zone since the start of the stream."""

    total: Mapping[str, int]
    """Counts over all classes: `in` and `out` for a line, `inside` and `entered` for a zone."""
    classes: Mapping[str, Mapping[str, int]]
    """Counts by class, with the same keys. A class that was never counted is missing."""

    def __getitem__(self, name: str) -> int:
        """Return a count over all classes, as in `count["in"]`."""
        return self.total[name]

    def to_dict(self) -> CountDocument:
        """Return the counts as a JSON document."""
        classes = {label: dict(counts) for label, counts in self.classes.items()}
        return cast("CountDocument", {**self.total, "classes": classes})


@dataclass(frozen=True, slots=True)
class Positions:
    """The N tracked objects of one frame."""

    keys: Sequence[int]
    """Keys of the tracks."""
    confirmed: Sequence[bool]
    """True for each object that counts. New objects are not confirmed and do not count yet."""
    labels: Sequence[str]
    points: Floats
    """Counting point of each box, as fractions of the frame, `[N,2]`."""
    margins: Floats
    """Margin of each object in pixels, `[N]`. See `MARGIN`."""
    frame_wh: tuple[int, int]
    """Width and height of the frame in pixels."""


class Counting(Protocol):
    """Counts the objects at one line or zone."""

    def observe(self, seen: Positions) -> Count:
        """Count the objects of the next frame, and return the counts so far."""

    def forget(self, alive: set[int]) -> None:
        """Release the data of tracks that have ended. `alive` contains the keys of the tracks that may continue."""


class LineCounting:
    """Counts the objects that cross a line, by direction and class."""

    def __init__(self, line: Sequence[Point]) -> None:
        self._start, self._end = (np.array(point, np.float64) for point in line)
        self._settled: dict[int, tuple[bool, Floats]] = {}
        """The last position of each track outside the margin: True if it was to the right of the line, and the
        point."""
        self._crossings: Counter[tuple[str, str]] = Counter()

    def observe(self, seen: Positions) -> Count:
        """Count the objects that crossed the line since their last known position. A track may have gaps."""
        distances = self._distances(seen)
        for index in np.flatnonzero(np.abs(distances) > seen.margins).tolist():
            key, right, point = seen.keys[index], bool(distances[index] > 0), seen.points[index]
            last = self._settled.get(key)
            if last is not None and not seen.confirmed[index]:
                continue  # Keep the first position, so that a crossing counts once the object is confirmed.
            if last is not None and last[0] != right and self._between_ends(last[1], point):
                self._crossings[seen.labels[index], "in" if right else "out"] += 1
            self._settled[key] = right, point
        return _count(self._crossings, ("in", "out"))

    def forget(self, alive: set[int]) -> None:
        """Release the positions of tracks that have ended."""
        for key in self._settled.keys() - alive:
            del self._settled[key]

    def _distances(self, seen: Positions) -> Floats:
        """Return the signed distance in pixels of each point from the infinite line.

        It is positive on the right side.
        """
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
    """Counts the objects that are inside a zone, and the objects that entered it, by class."""

    def __init__(self, corners: Sequence[Point]) -> None:
        self._corners = np.array(corners, np.float64)
        self._inside: dict[int, bool] = {}
        """True for each track whose last position outside the margin was inside the zone."""
        self._entered: Counter[tuple[str, str]] = Counter()

    def observe(self, seen: Positions) -> Count:
        """Count the objects that are inside the zone, and those that entered it since their last known position.

        An object that was inside when it was first detected does not count as entered.
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
        """Release the data of tracks that have ended."""
        for key in self._inside.keys() - alive:
            del self._inside[key]


def _count(counts: Mapping[tuple[str, str], int], names: Sequence[str]) -> Count:
    labels = sorted({label for label, _ in counts})
    classes = {label: {name: counts.get((label, name), 0) for name in names} for label in labels}
    return Count({name: sum(one[name] for one in classes.values()) for name in names}, classes)
