"""Contract tests that every source must pass. The checks are in `orilla.runtime.sources.contract`."""

import pytest
from helpers import factories

from orilla.runtime.sources.contract import CHECKS, SourceCase
from orilla.runtime.sources.registry import SOURCES

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


@pytest.fixture(params=[*SOURCES.built_in, "one image"])
def case(request, tmp_path):
    name = request.param
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    if name not in CASES:
        pytest.fail(f"source {name} has no contract case: add one to CASES")
    return SourceCase(str(CASES[name](tmp_path)), ends=name != "scenes")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case, check):
    check(case)
