"""Counts of lines crossed and zones entered."""

import numpy as np
import pytest

from orilla.devices.errors import ConfigError
from orilla.runtime.tracking.counting import Count, LineCounting, Positions, ZoneCounting
from orilla.runtime.tracking.track import Track

LINE = ((0.2, 0.5), (0.8, 0.5))
SQUARE = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))


def seen(*points, margin=1.0, confirmed=True, labels=None, frame_wh=(200, 100)):
    return Positions(
        keys=list(range(len(points))),
        confirmed=[confirmed] * len(points),
        labels=labels or ["car"] * len(points),
        points=np.array(points, float).reshape(-1, 2),
        margins=np.full(len(points), float(margin)),
        frame_wh=frame_wh,
    )


def after(counting, *path, **options):
    """Return the totals after one object has moved along a path."""
    for point in path:
        count = counting.observe(seen(point, **options))
    return dict(count.total)


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        (LINE, [(0.5, 0.4), (0.5, 0.6)], {"in": 1, "out": 0}),
        (LINE, [(0.5, 0.6), (0.5, 0.4)], {"in": 0, "out": 1}),
        (LINE[::-1], [(0.5, 0.6), (0.5, 0.4)], {"in": 1, "out": 0}),
        (
            ((0.5, 1.0), (0.5, 0.0)),
            [(0.4, 0.5), (0.6, 0.5)],
            {"in": 1, "out": 0},
        ),  # The line points up; crossing to the right.
        (LINE, [(0.5, 0.4), (0.5, 0.6), (0.5, 0.4)], {"in": 1, "out": 1}),
        (LINE, [(0.1, 0.4), (0.1, 0.6)], {"in": 0, "out": 0}),  # beside the line
        (LINE, [(0.5, 0.4), (0.1, 0.45), (0.1, 0.55), (0.5, 0.6)], {"in": 0, "out": 0}),  # around the end of the line
        (LINE, [(0.0, 0.2), (1.0, 0.8)], {"in": 1, "out": 0}),  # one long step
        (LINE, [(0.5, 0.4), (0.5, 0.45)], {"in": 0, "out": 0}),
    ],
)
def test_crossings_are_counted_by_direction(line, path, expected):
    assert after(LineCounting(line), *path) == expected


def test_the_direction_holds_for_a_diagonal_line_and_any_shape_of_the_frame():
    for frame_wh in ((100, 100), (1920, 1080), (90, 1600)):
        diagonal = LineCounting(((0.0, 0.0), (1.0, 1.0)))
        assert after(diagonal, (0.8, 0.2), (0.2, 0.8), frame_wh=frame_wh) == {"in": 1, "out": 0}


def test_an_object_that_stands_on_a_line_is_not_counted_again_and_again():
    rng = np.random.default_rng(0)
    jitter = [(0.5, 0.5 + 0.004 * value) for value in rng.uniform(-1, 1, 200)]
    counting = LineCounting(LINE)
    assert after(counting, (0.5, 0.3), *jitter) == {"in": 0, "out": 0}
    assert after(counting, *jitter, (0.5, 0.7)) == {"in": 1, "out": 0}
    zone = ZoneCounting(SQUARE)
    assert after(zone, (0.5, 0.1), *((x, y - 0.2) for x, y in jitter)) == {"inside": 0, "entered": 0}
    assert after(zone, (0.5, 0.5)) == {"inside": 1, "entered": 1}


def test_a_crossing_during_a_gap_is_counted():
    counting = LineCounting(LINE)
    counting.observe(seen((0.5, 0.4)))
    counting.observe(seen())
    assert counting.observe(seen((0.5, 0.6)))["in"] == 1


def test_a_crossing_before_the_confirmation_is_counted_with_it():
    counting, zone = LineCounting(LINE), ZoneCounting(SQUARE)
    for path, confirmed, expected in (((0.5, 0.2), False, 0), ((0.5, 0.6), False, 0), ((0.5, 0.65), True, 1)):
        assert counting.observe(seen(path, confirmed=confirmed))["in"] == expected
        assert zone.observe(seen(path, confirmed=confirmed)).total == {"inside": expected, "entered": expected}


def test_counts_by_class():
    counting = LineCounting(LINE)
    labels = ["car", "bus", "car"]
    counting.observe(seen((0.3, 0.4), (0.5, 0.6), (0.7, 0.4), labels=labels))
    count = counting.observe(seen((0.3, 0.6), (0.5, 0.4), (0.7, 0.6), labels=labels))
    assert count.to_dict() == {
        "in": 2,
        "out": 1,
        "classes": {"bus": {"in": 0, "out": 1}, "car": {"in": 2, "out": 0}},
    }
    assert count["in"] == 2


def test_objects_in_a_zone():
    zone = ZoneCounting(SQUARE)
    # An object that is inside when it is first seen has not entered.
    assert zone.observe(seen((0.5, 0.5), (0.1, 0.5))).total == {"inside": 1, "entered": 0}
    assert zone.observe(seen((0.5, 0.5), (0.5, 0.6))).total == {"inside": 2, "entered": 1}
    assert zone.observe(seen((0.1, 0.5), (0.1, 0.6))).total == {"inside": 0, "entered": 1}
    assert zone.observe(seen((0.5, 0.5), (0.1, 0.6))).to_dict() == {
        "inside": 1,
        "entered": 2,
        "classes": {"car": {"inside": 1, "entered": 2}},
    }
    assert zone.observe(seen()) == Count({"inside": 0, "entered": 2}, {"car": {"inside": 0, "entered": 2}})


def test_a_zone_with_a_notch():
    """The zone has the shape of a U. A point in the opening of the U is outside the zone."""
    zone = ZoneCounting(
        ((0.1, 0.1), (0.3, 0.1), (0.3, 0.7), (0.7, 0.7), (0.7, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    )
    assert zone.observe(seen((0.5, 0.4), (0.2, 0.4), (0.5, 0.8))).total["inside"] == 2


def test_ended_tracks_are_forgotten():
    line, zone = LineCounting(LINE), ZoneCounting(SQUARE)
    for counting in (line, zone):
        counting.observe(seen((0.5, 0.4), (0.5, 0.4)))
        counting.forget({1})
    assert list(line._settled) == list(zone._inside) == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lines": {"a": ((0, 0),)}}, "line a needs two different points"),
        ({"lines": {"a": ((0, 0), (0, 0))}}, "line a needs two different points"),
        ({"lines": {"a": ((0, 0), (1, 1), (0, 1))}}, "line a needs two different points"),
        ({"lines": {"a": ((0, 0), (1.5, 1))}}, r"line a: \(1.5, 1\) is not a point"),
        ({"lines": {"a": ((0, 0), (float("nan"), 1))}}, "line a: .* must be fractions of the frame"),
        ({"lines": {"a": (0, 0, 1, 1)}}, "line a: 0 is not a point"),
        ({"lines": {"": ((0, 0), (1, 1))}}, "a line has no name"),
        ({"zones": {"z": ((0, 0), (1, 1))}}, "zone z needs three or more points"),
        ({"zones": {"z": ((0, 0), (0.5, 0.5), (1, 1))}}, "zone z .* enclose an area"),
        ({"zones": {"z": SQUARE}, "lines": {"z": LINE}}, "z is the name of a line and of a zone"),
        ({"count_at": "top"}, "unknown counting point 'top'"),
        ({"max_gap_s": -1}, "max_gap_s=-1: must be seconds from 0.001 to 3600"),
        ({"max_gap_s": float("nan")}, "max_gap_s=nan"),
        ({"low_score": 2}, "low_score=2: must be a score from 0 to 1"),
        ({"confirm": 0}, "confirm=0: must be a whole number"),
        ({"confirm": 1.5}, "confirm=1.5: must be a whole number"),
        ({"rate_hz": 0}, "rate_hz=0: must be hertz"),
    ],
)
def test_settings_that_are_not_valid_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Track(**settings)
