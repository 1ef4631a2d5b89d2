"""pytest plugin: `@pytest.mark.budget(bundle="road", p90_ratio=0.5, max_drop=0.5)` checks a bundle against a budget.

The body of the test runs first. Then every limit is measured and checked. The limits have the same names as in the
budget files of `orilla verify --budget`. A test with an empty body checks only the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orilla.runtime.bench.budgets.limits import LimitResult
    from orilla.runtime.bench.budgets.measurement import Measurement, Timed
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines.session import Session

MARK = "budget"

ABOUT = (
    "budget(bundle, variant=None, device=None, engine=None, threads=None, reference=None, data=None, seconds=3, "
    "p50_ratio=..., p90_ratio=..., p99_ratio=..., p50_ms=..., p90_ms=..., p99_ms=..., start_ms=..., memory_mib=..., "
    "max_mib=..., size_ratio=..., max_drop=..., min_agreement=...): checks a bundle against a budget (docs/ci.md)"
)

_MEASURED = pytest.StashKey[list["Measurement"]]()
_JUDGED = pytest.StashKey[list[tuple[str, "LimitResult"]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the `budget` mark."""
    config.addinivalue_line("markers", ABOUT)
    config.stash[_JUDGED] = []


@pytest.fixture
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """Return the bundle that the test's `budget` mark names."""
    return _measurements(request.node)[0].subject.bundle


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """Yield a session that runs the variant of the test's `budget` mark on its engine."""
    loaded = _measurements(request.node)[0].load()
    yield loaded
    loaded.close()


@pytest.fixture
def samples(request: pytest.FixtureRequest) -> Timed:
    """Return the times of the variant and, if the budget limits a ratio, times of the full-precision variant."""
    return _measurements(request.node)[0].timed()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run the test, then check its budgets."""
    yield
    if item.get_closest_marker(MARK) is None:
        return
    from orilla.devices.errors import OrillaError
    from orilla.runtime.bench.budgets.live import judge

    judged: list[LimitResult] = []
    try:
        for measurement in _measurements(item):
            judged += judge(measurement)
    except OrillaError as error:
        msg = f"budget: {error}"
        raise _refused(msg) from None
    item.config.stash[_JUDGED] += [(item.nodeid, result) for result in judged]
    if broken := [result for result in judged if not result.passed]:
        rows = "\n".join(
            f"  {result.limit:<14} {result.figure:<44} {result.allowed:<18} {result.status}" for result in judged
        )
        reasons = "\n".join(str(result.reason) for result in broken)
        pytest.fail(f"{len(broken)} of {len(judged)} limits are not met\n{rows}\n{reasons}", pytrace=False)
    if judged and all(result.status == "elsewhere" for result in judged):
        pytest.skip(judged[0].figure)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print a table with all limits that were checked in this pytest session."""
    judged = config.stash[_JUDGED]
    if not judged:
        return
    terminalreporter.section("budgets")
    width = max(len(f"{result.bundle} {result.variant} {result.limit}") for _, result in judged)
    for _, result in judged:
        name = f"{result.bundle} {result.variant} {result.limit}"
        terminalreporter.write_line(
            f"{name:<{width}}  {result.figure}, {result.allowed}: {result.status}", red=not result.passed
        )


def _measurements(item: pytest.Item) -> list[Measurement]:
    """Return one measurement per `budget` mark of a test, with the nearest mark first."""
    if _MEASURED not in item.stash:
        marks = list(item.iter_markers(MARK))
        if not marks:
            pytest.fail(
                "the fixtures `bundle`, `session` and `samples` need @pytest.mark.budget(bundle=...) on the test",
                pytrace=False,
            )
        item.stash[_MEASURED] = [_measurement(mark) for mark in marks]
    return item.stash[_MEASURED]


def _measurement(mark: pytest.Mark) -> Measurement:
    from pathlib import Path

    from orilla.devices.budget import budget_of
    from orilla.devices.errors import ConfigError, OrillaError
    from orilla.runtime.bench.budgets.measurement import MAX_S, MIN_S, SECONDS, Measurement, budget_target
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.evaluation.accuracy import open_labelled

    arguments = dict(mark.kwargs)
    where = arguments.setdefault("bundle", mark.args[0] if mark.args else None)
    try:
        if len(mark.args) > 1:
            msg = f"{len(mark.args)} positional arguments were given, but the mark takes only one, the bundle"
            raise ConfigError(msg)
        data, seconds = arguments.pop("data", None), arguments.pop("seconds", SECONDS)
        if type(seconds) not in (int, float) or not MIN_S <= seconds <= MAX_S:
            msg = f"seconds = {seconds!r}: must be {MIN_S:g} to {MAX_S:g}"
            raise ConfigError(msg)
        for key in ("bundle", "reference"):
            if isinstance(arguments.get(key), Path):
                arguments[key] = str(arguments[key].absolute())
        budget = budget_of(arguments)
        opened = Bundle.open(budget.bundle)
        dataset = open_labelled(str(data), opened.manifest) if data is not None else None
        return Measurement(budget_target(budget, opened), dataset=dataset, seconds=seconds)
    except OrillaError as error:
        msg = f"budget of {where}: {error}"
        raise _refused(msg) from None


def _refused(reason: str) -> BaseException:
    """Return an exception that pytest reports on one line, without a traceback."""
    return pytest.fail.Exception(reason, pytrace=False)
