"""`Track`: the settings of a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from orilla.devices.errors import ConfigError, unknown_name

Point = tuple[float, float]
"""Position in the frame: x as a fraction of the width and y as a fraction of the height, 0–1."""

CountAt = Literal["bottom", "centre"]
"""Position of the counting point of a box. The counting point decides whether an object has crossed a line or entered a
zone. `bottom` is the middle of the lower edge, where an object stands on the ground."""


@dataclass(frozen=True, slots=True)
class Track:
    """Settings of a tracker. They apply to each stream separately.

    Raises:
        ConfigError: A number is out of range, the two points of a line are equal, a zone has fewer than three points or
            no area, or two lines or zones have the same name.
    """

    lines: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """Start and end of each line by name, as fractions of the frame. The direction `in` goes from the left side to the
    right side, as seen by a person who walks from the start to the end. If the line goes from left to right, `in` is
    therefore downwards."""
    zones: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """Three or more corners of each zone by name, as fractions of the frame."""
    count_at: CountAt = "bottom"
    """Position of the counting point of a box. See `CountAt`."""
    max_gap_s: float = 1.0
    """Maximum time in seconds between two detections of an object. After a longer gap, the object gets a new track ID.
    This time must be longer than the time between two frames."""
    confirm: int = 3
    """Number of consecutive frames in which a new object must be found before it gets a track ID and counts."""
    low_score: float = 0.1
    """Minimum score of a box that continues a track. A box that begins a track needs the score threshold of the
    model."""
    class_wise: bool = True
    """If True, all boxes of a track must have the same class. If False, an object keeps its track ID even if the
    detector changes its class, and counts for the class that it has at that moment."""
    rate_hz: float = 30.0
    """Frame rate in hertz that is assumed for a source without times, such as a folder of images."""

    def __post_init__(self) -> None:
        _check_number("max_gap_s", self.max_gap_s, low=1e-3, high=3600.0, unit="seconds")
        _check_number("rate_hz", self.rate_hz, low=1e-3, high=1e6, unit="hertz")
        _check_number("low_score", self.low_score, high=1.0, unit="a score")
        if isinstance(self.confirm, bool) or not isinstance(self.confirm, int) or not 1 <= self.confirm <= 1000:
            msg = f"confirm={self.confirm}: must be a whole number of frames from 1 to 1000"
            raise ConfigError(msg)
        if self.count_at not in get_args(CountAt):
            raise unknown_name(self.count_at, get_args(CountAt), kind="counting point")
        for name, points in self.lines.items():
            _check_points("line", name, points)
            if len(points) != 2 or tuple(points[0]) == tuple(points[1]):
                msg = f"line {name} needs two different points: x1,y1,x2,y2"
                raise ConfigError(msg)
        for name, points in self.zones.items():
            _check_points("zone", name, points)
            if len(points) < 3 or _area(points) < 1e-6:
                msg = f"zone {name} needs three or more points that enclose an area: x1,y1,x2,y2,x3,y3"
                raise ConfigError(msg)
        if both := sorted(self.lines.keys() & self.zones.keys()):
            msg = f"{both[0]} is the name of a line and of a zone: give them different names"
            raise ConfigError(msg)


def _check_number(name: str, value: float, *, high: float, unit: str, low: float = 0.0) -> None:
    if not low <= value <= high:
        msg = f"{name}={value}: must be {unit} from {low:g} to {high:g}"
        raise ConfigError(msg)


def _check_points(kind: str, name: str, points: Sequence[Point]) -> None:
    if not name:
        msg = f"a {kind} has no name"
        raise ConfigError(msg)
    for point in points:
        try:
            x, y = point
            valid = 0 <= x <= 1 and 0 <= y <= 1
        except (TypeError, ValueError):
            valid = False
        if not valid:
            msg = f"{kind} {name}: {point} is not a point: x and y must be fractions of the frame, 0 to 1"
            raise ConfigError(msg)


def _area(points: Sequence[Point]) -> float:
    """Return the area of a polygon as a fraction of the frame. Source: the shoelace formula."""
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2
