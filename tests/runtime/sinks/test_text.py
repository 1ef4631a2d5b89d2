import pytest
from helpers import ticks

from orilla.runtime.sinks.text import MAX_WORDS, line


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (ticks.classified("cat", 0.75), "cat 75 %"),
        (ticks.segmented(0.5), "road 50 %"),
        (ticks.detected("a", "b", "b"), "2 b, 1 a"),
        (ticks.detected(), "no objects"),
        (ticks.counted("a"), "gate in 3"),
        (ticks.regressed(0.25), "steering angle 0.25 rad"),
        (ticks.several(), "road: road 50 %; pets: cat 75 %"),
    ],
)
def test_a_line_describes_the_answer(result, text):
    found = line(ticks.tick(7, result))
    assert found.startswith("7  ")
    assert text in found
    assert found.endswith(" ms")


def test_a_line_is_short_and_printable():
    found = line(ticks.tick(0, ticks.detected(*(f"class {number}\x1b[2J" for number in range(99)))))
    assert len(found) < MAX_WORDS + 30
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (ticks.classified("cat", 0.75), ticks.classified("cat", 0.7), ticks.classified("dog", 0.75)),
        (ticks.segmented(0.5), ticks.segmented(0.5), ticks.segmented(0.25)),
        (ticks.detected("a", "b"), ticks.detected("b", "a"), ticks.detected("a")),
        (ticks.regressed(0.25), ticks.regressed(0.250001), ticks.regressed(0.3)),
    ],
)
def test_the_state_ignores_small_changes(first, same, other):
    assert first.state() == same.state()
    assert first.state() != other.state()
