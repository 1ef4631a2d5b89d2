"""Run Orilla's contracts on this package: `pytest tests`. The package must be installed."""

import numpy as np
import pytest
from orilla_count.task import TASK, Count

from orilla.runtime.engines import contract as engines
from orilla.runtime.sinks import contract as sinks
from orilla.runtime.tasks import contract as tasks
from orilla.runtime.tasks.task import DecodeContext

ONE, TWO = np.zeros((6, 8, 1), np.float32), np.zeros((6, 8, 1), np.float32)
ONE[1:3, 1:3] = TWO[1:3, 1:3] = TWO[4:6, 5:8] = 0.9


@pytest.mark.parametrize("check", tasks.CHECKS, ids=lambda check: check.__name__)
def test_task(check):
    check(tasks.TaskCase(TASK, DecodeContext(("sheep",)), truth=2, right={"heat": TWO}, wrong={"heat": ONE}))


@pytest.mark.parametrize("check", sinks.CHECKS, ids=lambda check: check.__name__)
def test_sink(check, tmp_path):
    table = tmp_path / "tally.csv"
    check(sinks.SinkCase(f"tally:{table}", lambda size_hw: Count("sheep", ((1, 2, 5, 6),)), table))


@pytest.mark.parametrize("check", engines.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", engines.cases("litert-reference"), ids=lambda case: case.variant.name)
def test_engine(case, check):
    check(case)
