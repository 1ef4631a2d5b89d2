"""The answer of a detector whose objects are tracked."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.runtime.tasks.detect import Detection
from orilla.runtime.tasks.documents import DetectionDocument
from orilla.runtime.tasks.drawing import Image, color_of, draw_arrow, draw_label, draw_path, palette
from orilla.runtime.tasks.task import Measure
from orilla.runtime.tracking.counting import Count, CountDocument
from orilla.runtime.tracking.track import Point, Track

ZONE_COLOR = palette(2)[1]
"""BGR colour of lines and zones."""


class TrackedDocument(DetectionDocument):
    """The answer of a detector whose objects are tracked, with the counts of each line or zone."""

    counts: dict[str, CountDocument]


class TrackedDetection(Detection, frozen=True):
    """The objects that a detector found in a frame, with their track IDs, and object counts per line and zone."""

    counts: Mapping[str, Count]
    """Counts since the start of the stream. The keys are the names of the lines and zones."""
    settings: Track
    """Settings of the tracker, which include the lines and zones."""
    history: tuple[Mapping[int, Point], ...] = ()
    """Counting points of the last second, as fractions of the frame. Each frame has one mapping from track ID to point,
    starting with the oldest frame."""

    def trail(self, number: int) -> list[Point]:
        """Return the recent positions of an object as fractions of the frame, starting with the oldest."""
        return [points[number] for points in self.history if number in points]

    def to_dict(self) -> TrackedDocument:
        """Return the result as a JSON document."""
        return {**super().to_dict(), "counts": {name: count.to_dict() for name, count in self.counts.items()}}

    def caption(self) -> list[str]:
        """Return the number of objects per class, and the counts of each line and zone."""
        return [*super().caption(), *(f"{name} {_total(count)}" for name, count in self.counts.items())]

    def measures(self) -> list[Measure]:
        """Return the numbers of objects, and the counts of lines and zones, such as `gate.in`."""
        counts = [
            Measure("counts", f"{name}.{what}", number)
            for name, count in self.counts.items()
            for what, number in count.total.items()
        ]
        return [*super().measures(), *counts]

    def state(self) -> object:
        """Return the number of objects per class, and the counts of lines and zones."""
        return super().state(), {name: dict(count.total) for name, count in self.counts.items()}

    def draw(self, image: Image) -> list[str]:
        """Draw zones, lines and trails, and the boxes on top of them. Return the caption."""
        for name, corners in self.settings.zones.items():
            pixels = [_pixel(image, point) for point in corners]
            draw_path(image, [*pixels, pixels[0]], ZONE_COLOR)
            self._draw_counts(image, name, pixels[0])
        for name, line in self.settings.lines.items():
            start, end = (_pixel(image, point) for point in line)
            draw_path(image, [start, end], ZONE_COLOR)
            # The arrow points to the right side of the line, because crossing to this side counts as `in`.
            draw_arrow(
                image,
                ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2),
                (start[1] - end[1], end[0] - start[0]),
                ZONE_COLOR,
            )
            self._draw_counts(image, name, start)
        for box in self.boxes:
            if box.track is not None:
                draw_path(image, [_pixel(image, point) for point in self.trail(box.track)], color_of(box.label))
        return super().draw(image)

    def _draw_counts(self, image: Image, name: str, at_xy: tuple[float, float]) -> None:
        draw_label(image, at_xy, f"{name} {_total(self.counts[name])}", ZONE_COLOR)


def _total(count: Count) -> str:
    return " ".join(f"{what} {number}" for what, number in count.total.items())


def _pixel(image: Image, point: Point) -> tuple[float, float]:
    return point[0] * image.shape[1], point[1] * image.shape[0]
