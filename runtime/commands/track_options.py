"""The options of `orilla run` that track objects and count them at lines and zones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError

if TYPE_CHECKING:
    from orilla.runtime.frame import Result
    from orilla.runtime.tracking.track import Point, Track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--track",
        action="store_true",
        help="track the objects of a detector: give each a track ID that it keeps from frame to frame",
    )
    parser.add_argument(
        "--count-line",
        metavar="NAME=x1,y1,x2,y2",
        action="append",
        help="count objects that cross a line, given in fractions of the frame; `in` is from its left to its right "
        "side as seen from its start; may be repeated; implies --track",
    )
    parser.add_argument(
        "--zone",
        metavar="NAME=x1,y1,x2,y2,x3,y3,...",
        action="append",
        help="count the objects that are in a zone or enter it, given in fractions of the frame; may be repeated; "
        "implies --track",
    )
    parser.add_argument(
        "--count-at",
        choices=("bottom", "centre"),
        help="point of a box that counts at lines and zones (default: bottom, the middle of the lower edge); "
        "implies --track",
    )
    parser.add_argument(
        "--track-gap",
        dest="max_gap_s",
        metavar="SECONDS",
        type=float,
        help="time in seconds for which an object keeps its track ID while it is not found (default: 1); implies "
        "--track",
    )
    parser.add_argument(
        "--track-any-class",
        action="store_true",
        help="let an object keep its track ID when the detector changes its class; implies --track",
    )


def track_of(arguments: argparse.Namespace) -> Track | None:
    """Return the settings of the tracker, or None if objects are not tracked.

    Raises:
        ConfigError: A value is not valid.
    """
    chosen: dict[str, object] = {
        "lines": _named("--count-line", arguments.count_line or []),
        "zones": _named("--zone", arguments.zone or []),
        "count_at": arguments.count_at,
        "max_gap_s": arguments.max_gap_s,
        "class_wise": False if arguments.track_any_class else None,
    }
    given = {name: value for name, value in chosen.items() if value not in (None, {})}
    if not given and not arguments.track:
        return None
    # The tracker is imported only here, so that a loop without tracking starts faster.
    from orilla.runtime.tracking.track import Track

    return Track(**given)  # type: ignore[arg-type]


def counts_of(result: Result) -> dict[str, object]:
    """Return the counts of all lines and zones as a JSON document.

    If there are several models, the document contains the counts of each model by its name.
    """
    from orilla.runtime.frame import Answers, CascadeResult
    from orilla.runtime.tracking.result import TrackedDetection

    if isinstance(result, CascadeResult):
        return counts_of(result.first)
    if isinstance(result, Answers):
        by_model = {name: counts_of(answer) for name, answer in result.items()}
        return {name: counts for name, counts in by_model.items() if counts}
    if isinstance(result, TrackedDetection):
        return {name: count.to_dict() for name, count in result.counts.items()}
    return {}


def count_lines(counts: Mapping[str, object], model: str = "") -> list[str]:
    """Return one line of text for each line or zone."""
    lines = []
    for name, count in counts.items():
        assert isinstance(count, dict)
        if "classes" not in count:
            lines += count_lines(count, f"{name} ")
            continue
        totals = ", ".join(f"{value} {what}" for what, value in count.items() if what != "classes")
        classes = "; ".join(
            f"{label} " + ", ".join(f"{value} {what}" for what, value in own.items())
            for label, own in count["classes"].items()
        )
        lines.append(f"{model}{name}: {totals}" + (f" ({classes})" if classes else ""))
    return lines


def _named(option: str, values: list[str]) -> dict[str, tuple[Point, ...]]:
    """Parse values of the form `NAME=x1,y1,x2,y2`."""
    named: dict[str, tuple[Point, ...]] = {}
    for value in values:
        name, equals, text = value.rpartition("=")
        try:
            numbers = [float(number) for number in text.split(",")]
        except ValueError:
            numbers = []
        if not equals or not name or not numbers or len(numbers) % 2:
            msg = f"{option} {value}: must be a name and points in fractions, as in {name or 'gate'}=0.1,0.6,0.9,0.6"
            raise ConfigError(msg)
        if name in named:
            msg = f"{option} {value}: the name {name} is given twice"
            raise ConfigError(msg)
        named[name] = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return named
