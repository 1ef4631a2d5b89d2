"""Contract tests that every sink must pass. The checks are in `orilla.runtime.sinks.contract`."""

import numpy as np
import pytest

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.sinks.contract import CHECKS, SinkCase
from orilla.runtime.sinks.registry import SINKS
from orilla.runtime.tasks.segment import decode


def result(size_hw):
    """Return an answer that contains a mask."""
    return decode(np.full((4, 4, 1), 0.7, np.float32), size_hw, "road")


@pytest.fixture(params=SINKS.built_in)
def case(request, tmp_path):
    """A sink that writes to a file. The sink `window` writes none, and is skipped if it cannot be opened here."""
    if request.param != "window":
        return SinkCase(f"{request.param}:{tmp_path / 'out.avi'}", result, tmp_path / "out.avi")
    case = SinkCase("window", result)
    try:
        case.open().close(complete=True)
    except (ConfigError, MissingExtraError) as error:
        pytest.skip(str(error))
    return case


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case, check):
    check(case)
