"""Budgets of every shipped model relative to its full-precision version, on this machine.

The full-precision versions are in `tests/full_precision/`, because they are too large for the wheel.
"""

import os
from pathlib import Path

import pytest

from orilla.runtime.bundle.bundle import Bundle

FULL = Path(__file__).parents[1] / "full_precision"
DATA = Path(os.environ.get("ORILLA_DATA", Path(__file__).parents[3] / "shared" / "data"))
NAMES = ("road", "convnet", "mobilenet", "sentiment")


def held(name, **limits):
    """Return the results of a model's budget."""
    mark = pytest.mark.budget(bundle=name, reference=FULL / f"{name}.orilla", **limits)
    return pytest.param(name, marks=mark, id=name)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_of_the_same_model(name):
    """Both bundles have the same card, and the same answers of the original to the same golden samples."""
    small, whole = Bundle.open(name), Bundle.open(FULL / f"{name}.orilla")
    assert small.manifest.card == whole.manifest.card
    assert small.manifest.preprocess == whole.manifest.preprocess
    assert small.manifest.report.metrics == whole.manifest.report.metrics


@pytest.mark.parametrize(
    "name",
    [
        held("road", p50_ratio=0.75, p90_ratio=0.85, size_ratio=0.45, memory_mib=40),
        held("convnet", p50_ratio=0.5, p90_ratio=0.6, size_ratio=0.26, memory_mib=40),
        held("mobilenet", p50_ratio=0.75, p90_ratio=0.85, size_ratio=0.29, memory_mib=40),
        held("sentiment", p50_ratio=[0.2, 1.1], p90_ratio=[0.2, 1.2], size_ratio=0.29, memory_mib=40),
    ],
)
def test_it_is_smaller_and_faster(name):
    pass


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        held("road", data=DATA / "camvid.zip", max_drop=0.5, min_agreement=0.99),
        held("convnet", data=DATA / "cats_and_dogs_filtered.zip", max_drop=0.5, min_agreement=0.99),
        held("mobilenet", data=DATA / "cats_and_dogs_filtered.zip", max_drop=0.5, min_agreement=0.99),
        held("sentiment", data=DATA / "imdb.npz", max_drop=0.5, min_agreement=0.99),
    ],
)
def test_it_answers_as_well(name):
    pass
