"""Fixtures of all benchmark tests: a cache of their own, and a machine that the reference workload finds quiet."""

import pytest

from orilla.runtime.bench import reference_workload


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def quiet(monkeypatch, request):
    """Prevent interference from making a measurement three times as long."""
    if "real_workload" not in request.fixturenames:
        monkeypatch.setattr(reference_workload, "step_ns", lambda steps: 25.0)


@pytest.fixture
def real_workload():
    """Use the real reference workload."""
