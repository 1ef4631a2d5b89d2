"""Fixtures for all benchmark tests: a separate cache folder, and a reference workload that detects no interference."""

import pytest

from orilla.runtime.bench import reference_workload


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def quiet(monkeypatch, request):
    """Replace the reference workload. With the real one, interference could make a measurement three times as long."""
    if "real_workload" not in request.fixturenames:
        monkeypatch.setattr(reference_workload, "step_ns", lambda steps: 25.0)


@pytest.fixture
def real_workload():
    """Use the real reference workload instead of the replacement that the fixture `quiet` installs."""
