"""Fixtures for all tests: small bundles and data sets. Tests that need real data are skipped if the data is absent."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from helpers import bundles

# OpenCV reads this variable once, when a process opens its first video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# Switch off ONNX Runtime's telemetry, because a test may import ONNX Runtime before Orilla, which normally does this.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

DATA = Path(os.environ.get("ORILLA_DATA", Path(__file__).parents[2] / "shared" / "data"))


TIMING = ("tests/runtime/bench/", "tests/test_perf_scripts.py")
"""Tests that measure time. Other tests on the same cores would disturb them."""

SLOW = ("tests/train/test_backends.py", "tests/test_perf_scripts.py")
"""Tests that take many seconds and rarely fail."""


def pytest_configure() -> None:
    """Turn off the time limit of Hypothesis' examples, because a busy machine would exceed it."""
    if importlib.util.find_spec("hypothesis") is not None:
        from hypothesis import settings

        settings.register_profile("orilla", deadline=None)
        settings.load_profile("orilla")


ATTEMPTS = 3
"""Maximum number of times that a test which measures time runs until it passes. Another program on the machine can
disturb one measurement, but a fault disturbs all of them. The summary of pytest lists the tests that ran again."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow and timing tests by their file. Skip tests on real data, with the reason, if the data is absent."""
    skip = pytest.mark.skip(reason=f"no real data at {DATA}: set ORILLA_DATA")
    root = Path(__file__).parents[1]
    for item in items:
        file = item.path.relative_to(root).as_posix()
        if file.startswith(TIMING):
            item.add_marker(pytest.mark.timing)
        if item.get_closest_marker("timing") and config.pluginmanager.hasplugin("rerunfailures"):
            item.add_marker(pytest.mark.flaky(reruns=ATTEMPTS - 1))
        if file in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("real_data") and not DATA.is_dir():
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Exclude all objects that exist before the first test from garbage collection.

    TensorFlow and the list of tests consist of many objects, so each collection takes 0.3 to 0.5 s.
    `keras.backend.clear_session` starts a collection in each call.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def nothing_tuned() -> None:
    """Ignore the stored choices of `orilla tune` on a developer's machine.

    Also load model files without a trial, because the bundles of the tests are new in each run. The tests of the trial
    remove this variable.
    """
    os.environ["ORILLA_NO_TUNED"] = "1"
    os.environ["ORILLA_NO_TRIAL"] = "1"


@pytest.fixture(scope="session")
def data_root() -> Path:
    return DATA


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a data set of road scenes in CamVid's layout."""
    return bundles.road_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Path of a run folder with a small segmentation model, which Keras builds with random weights."""
    return bundles.road_run(tmp_path_factory.mktemp("run") / "run", tiny_data)


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a data set of images in two class folders."""
    return bundles.animals(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a table with texts of two classes."""
    return bundles.reviews(tmp_path_factory.mktemp("texts"))


def _copy(factory: pytest.TempPathFactory, name: str) -> Path:
    """Copy a committed bundle, so that a test cannot change the original."""
    return Path(shutil.copy(bundles.BUNDLES / f"{name}.orilla", factory.mktemp(name) / "tiny.orilla"))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle with a small segmentation model in all precisions."""
    return _copy(tmp_path_factory, "road")


@pytest.fixture(scope="session")
def picture_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle with a small image classifier."""
    return _copy(tmp_path_factory, "animals")


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle with a small recurrent text classifier."""
    return _copy(tmp_path_factory, "reviews")
