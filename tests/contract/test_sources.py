"""Contract tests that every source must pass."""

import numpy as np
import pytest
from helpers import factories

from orilla.runtime.sources.registry import SOURCES, open_source

ELSEWHERE = {
    "camera": "needs a device; tests/runtime/sources/test_live_sources.py tests it with a simulated camera",
    "network": "needs a server; tests/runtime/sources/test_network.py tests it with real servers",
    "gstreamer": "needs an OpenCV with GStreamer; tests/runtime/sources/test_live_sources.py tests its errors",
    "picamera2": "needs a Raspberry Pi camera; tests/runtime/sources/test_live_sources.py simulates one",
}
"""Sources that this suite cannot open, with the reason."""


def image_folder(folder):
    for file in ("a.png", "b.png"):
        factories.write_picture(folder / file, factories.picture())
    return folder


CASES = {
    "scenes": lambda folder: "scenes:2",
    "images": image_folder,
    "one image": lambda folder: image_folder(folder) / "a.png",
    "video": lambda folder: factories.video(folder / "clip.avi", 4),
}
"""For each source, the function that writes a small example into a folder and returns its specification."""


@pytest.fixture(params=[*SOURCES, "one image"])
def spec(request, tmp_path):
    name = request.param
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    if name not in CASES:
        pytest.fail(f"source {name} has no contract case: add one to CASES")
    return CASES[name](tmp_path)


def test_frames_count_up_are_stamped_and_are_bgr_pictures(spec):
    source = open_source(spec)
    assert isinstance(source.live, bool)
    assert source.rate_hz is None or source.rate_hz > 0
    last = -1
    for expected, frame in enumerate(iter(source.read, None)):
        assert frame.index == expected
        assert frame.image.ndim == 3
        assert frame.image.dtype == np.uint8
        assert frame.image.shape[2] == 3
        assert frame.captured_ns > last
        last = frame.captured_ns
        if expected == 5:
            break
    assert last > 0
    source.close()


def test_the_end_stays_the_end(spec):
    if spec == "scenes:2":
        pytest.skip("scenes last ten seconds")
    source = open_source(spec)
    while source.read() is not None:
        pass
    assert source.read() is None
    source.close()


def test_two_sources_don_t_disturb_each_other(spec):
    source, other_source = open_source(spec), open_source(spec)
    first = source.read().image.copy()
    other_source.read()
    assert np.array_equal(first, open_source(spec).read().image)
    source.close()
    other_source.close()
