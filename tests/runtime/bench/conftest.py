"""Of all tests of benchmarks: a cache of their own, and a machine that the yardstick finds quiet."""

import pytest

from orilla.runtime.bench.reference_workload import ReferenceWorkload


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def quiet(monkeypatch, request):
    """Else a neighbour on this machine makes a second three."""
    if "real_yardstick" not in request.fixturenames:
        monkeypatch.setattr(ReferenceWorkload, "_once", lambda self: 25.0)


@pytest.fixture
def real_yardstick():
    """Its own, for those who ask."""
