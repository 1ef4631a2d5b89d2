"""User names, passwords and tokens of cameras appear in no output."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from orilla.devices.errors import OrillaError
from orilla.devices.names import without_secrets
from orilla.runtime import model as models
from orilla.runtime.bench import runner
from orilla.runtime.bench.runner import Plan
from orilla.runtime.bench.scenario import LoopScenario
from orilla.runtime.cli import main
from orilla.runtime.sources.http_request import Credentials
from orilla.runtime.sources.registry import open_source

ADDRESSES = (
    "http://robot:hunter2@camera.invalid/stream",
    "rtsp://robot:hun/ter2@camera.invalid:554/1",
    "rtsp://robot:hunt@er2@camera.invalid/1",
    "http://camera.invalid/cgi?user=robot&password=hunter2&channel=1",
    "http://camera.invalid/cgi?channel=1&access_token=hunter2",
    "rtspsrc location=rtsp://robot:hunter2@camera.invalid/1 ! decodebin ! appsink",
)
SECRETS = ("hunter2", "ter2", "er2", "robot")


def reveals(text: str) -> bool:
    return any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_redacted(address: str):
    assert not reveals(without_secrets(address))
    assert "camera.invalid" in without_secrets(address)


@pytest.mark.parametrize("text", ["drive.mp4", "0", "scenes+clock", "http://camera/video?channel=1", "/home/a@b/x.mp4"])
def test_other_sources_are_unchanged(text: str):
    assert without_secrets(text) == text


@pytest.mark.parametrize("address", ADDRESSES[:5])
def test_a_benchmark_does_not_store_the_password(address: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch):
    with models.Model.open(tiny_bundle) as model:
        plan = Plan(scenario="loop", seconds=0.1, source=address)
        subject = runner._subject(model, plan, LoopScenario(model, address, None))
    assert not reveals(msgspec.json.encode(subject).decode())


@pytest.mark.parametrize("address", ADDRESSES[:5])
def test_the_plan_of_a_loop(address: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(tiny_bundle), "--source", address, "--dry-run", "--json"]) == 0
    printed = capsys.readouterr()
    assert not reveals(printed.out + printed.err)


@pytest.mark.parametrize(
    "address", [*ADDRESSES[:5], "http://robot:hunter2@[bad/x", "htp://robot:hunter2@camera.invalid/x"]
)
def test_messages(address: str):
    with pytest.raises(OrillaError) as refused:
        open_source(address)
    assert not reveals(str(refused.value))


def test_another_server_does_not_get_the_password():
    """A camera may redirect the request to a server of its own choice."""
    credentials = Credentials("http://robot:hunter2@camera.example/stream")
    challenge = ['Basic realm="camera"']
    assert credentials.answer(challenge, "http://camera.example/other") is not None
    for address in ("http://attacker.example/stream", "https://camera.example/", "http://camera.example:8080/"):
        assert credentials.answer(challenge, address) is None
