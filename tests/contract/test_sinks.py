"""Contract tests that every sink must pass. The checks are in `orilla.runtime.sinks.contract`."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.mosquitto import mosquitto
from helpers.zenoh_router import zenoh_router

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.sinks.contract import CHECKS, SinkCase
from orilla.runtime.sinks.registry import SINKS
from orilla.runtime.tasks.segment import decode


def result(size_hw):
    """Return an answer that contains a mask."""
    return decode(np.full((4, 4, 1), 0.7, np.float32), size_hw, "road")


TARGETS = {
    "jsonl": ":{}/out.jsonl",
    "text": "",
    "csv": ":{}/out.csv",
    "video": ":{}/out.mp4",
    "clip": ":{}/%H%M%S.mp4?on=change",
    "frames": ":{}",
    "exec": ":cat",
    "mavlink": ":udpout:127.0.0.1:9?max_age=365d",
    "mcap": ":{}/out.mcap?frames",
    "mqtt": ":127.0.0.1:{port}/orilla?qos=1&discovery=homeassistant",
    "metrics": ":127.0.0.1:0",
    "shm": ":orilla-contract-{pid}?frames",
    "web": ":127.0.0.1:0",
    "ros2": ":/orilla/road?via=zenoh&frames&connect=tcp/127.0.0.1:{port}",
    "window": "",
    "none": "",
}
"""Target of each sink, with the name of an empty folder."""

NEEDS = {"mcap": "mcap.writer", "mavlink": "pymavlink.dialects.v20.common"}
"""Modules without which a sink is skipped."""

FILES = ("jsonl", "csv", "video", "mcap")
"""Sinks that write a single file."""


@pytest.fixture
def broker(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def router():
    pytest.importorskip("zenoh")
    with zenoh_router() as router:
        yield router


@pytest.fixture(params=SINKS.built_in)
def case(request, tmp_path):
    """Each sink. Sinks that cannot be opened here, or whose server is not installed, are skipped."""
    server = {"mqtt": "broker", "ros2": "router"}.get(request.param)
    port = request.getfixturevalue(server).port if server else 0
    target = TARGETS[request.param].format(tmp_path, port=port, pid=os.getpid())
    file = Path(target[1:].partition("?")[0]) if request.param in FILES else None
    case = SinkCase(request.param + target, result, file)
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    if request.param in ("window", "mqtt", "metrics", "web", "ros2"):
        try:
            case.open().close()
        except (ConfigError, MissingExtraError) as error:
            pytest.skip(str(error))
    return case


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case, check):
    check(case)
