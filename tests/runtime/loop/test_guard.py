import cv2
import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import ConfigError
from orilla.runtime import scenes
from orilla.runtime.frame import Frame
from orilla.runtime.loop.guard import CHECKS, Guard, parse_guard
from orilla.runtime.sources.source import now_ns

SECOND = 1_000_000_000


def doubts(image, checks=tuple(CHECKS)):
    return Guard(checks).doubts(image, 0)


def scene(seed=3, size=(360, 640)):
    return scenes.render(seed, 0.0, size)[0]


@pytest.mark.parametrize("seed", range(12))
def test_usable_frames_are_trusted(seed):
    assert doubts(scene(seed)) == ()


@pytest.mark.parametrize("size", [(48, 64), (120, 160), (720, 1280), (1080, 1920)])
def test_the_size_does_not_matter(size):
    assert doubts(cv2.resize(scene(), size[::-1], interpolation=cv2.INTER_AREA)) == ()
    assert doubts(np.zeros((*size, 3), np.uint8)) == ("dark",)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((360, 640, 3), np.uint8), ("dark",)),
        (np.full((360, 640, 3), 250, np.uint8), ("bright",)),
        (np.full((360, 640, 3), 90, np.uint8), ("covered",)),
        (cv2.GaussianBlur(scene(), (0, 0), 8), ("blurred",)),
    ],
)
def test_unusable_frames_are_marked(image, expected):
    assert doubts(image) == expected
    assert doubts(image, tuple(set(CHECKS) - set(expected))) == ()


def test_noise_does_not_hide_darkness():
    noise = np.random.default_rng(0).integers(0, 12, (360, 640, 3)).astype(np.uint8)
    assert doubts(noise) == ("dark",)


def test_a_frozen_camera_is_found_after_a_second():
    guard, image = Guard(("frozen",)), scene()
    found = [guard.doubts(image, number * SECOND // 10) for number in range(15)]
    assert found.index(("frozen",)) == 10
    moved = image.copy()
    moved[::7, ::7] ^= 1
    assert guard.doubts(moved, 2 * SECOND) == ()


def test_a_slow_camera_is_not_frozen():
    guard, image = Guard(("frozen",)), scene()
    assert [guard.doubts(image, number * SECOND) for number in range(5)] == [()] * 5
    assert guard.doubts(image, 5 * SECOND) == ("frozen",)


def test_names_are_parsed():
    assert parse_guard(None, live=False) is None
    assert parse_guard(None, live=True) is not None
    assert parse_guard(False, live=True) is None
    assert parse_guard("dark, frozen", live=False)._checks == {"dark", "frozen"}
    with pytest.raises(ConfigError, match="unknown frame check 'blured': did you mean blurred"):
        parse_guard("dark,blured", live=True)
    with pytest.raises(ConfigError, match="contains no check"):
        parse_guard(" ,", live=True)


class Camera:
    """A live source that shows a scene, then darkness, then the scene again."""

    live, rate_hz = True, None

    def __init__(self):
        self.index = 0

    def read(self):
        if self.index == 30:
            return None
        image = np.zeros((120, 160, 3), np.uint8) if 10 <= self.index < 20 else factories.picture(120, 160)
        self.index += 1
        return Frame(self.index - 1, image, now_ns())

    def close(self):
        pass


def test_ticks_and_events_say_what_is_doubtful(tiny_bundle):
    events = []
    with orilla.runtime.open(tiny_bundle) as model:
        ticks = list(model.stream(Camera(), policy="every", guard="dark", on_event=events.append))
        assert all(tick.trusted for tick in model.stream(Camera(), policy="every", guard=False))
    assert [tick.index for tick in ticks if not tick.trusted] == list(range(10, 20))
    assert ticks[12].doubts == ("dark",)
    assert ticks[12].to_dict()["doubts"] == ["dark"]
    assert "doubts" not in ticks[0].to_dict()
    assert [(event.kind, event.index, event.detail) for event in events] == [
        ("doubt", 10, "the frames are dark, from frame 10 on"),
        ("doubt", 20, "the frames are no longer dark, from frame 20 on"),
    ]
