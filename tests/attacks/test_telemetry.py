"""No process of Orilla looks up a name, connects to a host or writes to the home folder without a request."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from helpers.bundles import BUNDLES
from helpers.lonely import run_lonely

VARIABLE = "ORT_DISABLE_TELEMETRY"
ROAD = str(BUNDLES / "road.orilla")
ORILLA = ["-m", "orilla.runtime.cli"]
QUANTISE = """
from orilla.export.convert.fork_server import call
from orilla.runtime.bundle.bundle import Bundle
from pathlib import Path
bundle = Bundle.open(PATH)
Path("float.onnx").write_bytes(bundle.read(bundle.manifest.variant("onnx_fp32").file))
call("orilla.export.quantize.onnx:dynamic_int8", source="float.onnx", out="out.onnx")
"""
LIBRARY = """
import numpy, orilla.runtime
with orilla.runtime.open(PATH, variant="onnx_fp32") as model:
    model(numpy.zeros((20, 30, 3), numpy.uint8))
"""
PROVIDERS = "from orilla.runtime.doctor import providers\nassert providers()"

PROCESSES = {
    "the library": ["-c", LIBRARY.replace("PATH", repr(ROAD))],
    "a loop on ONNX Runtime": [*ORILLA, "run", ROAD, "--engine", "onnx", "--source", "scenes", "--frames", "2"],
    "verify": [*ORILLA, "verify", ROAD, "--variant", "onnx_fp32"],
    "doctor": [*ORILLA, "doctor"],
    "the providers that doctor lists": ["-c", PROVIDERS],
}
SLOW = {"the quantiser of the export": ["-c", QUANTISE.replace("PATH", repr(ROAD))]}
"""Processes that import TensorFlow."""


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a user who has not set anything for ONNX Runtime, with an empty home folder."""
    kept = {name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("XDG_")}
    return {**kept, "HOME": str(home)}


def test_the_name_server_of_the_test_notes_names(tmp_path: Path):
    code = "import socket\ntry: socket.getaddrinfo('robot.example', 80)\nexcept OSError: pass"
    ended = run_lonely([sys.executable, "-c", code], clean_environment(tmp_path))
    if ended is None:
        pytest.skip("this machine does not allow network namespaces")
    assert "robot.example" in ended.names


@pytest.mark.parametrize("process", [*PROCESSES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_no_process_asks_for_a_host_or_leaves_traces(process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    ended = run_lonely([sys.executable, *(PROCESSES | SLOW)[process]], clean_environment(home))
    if ended is None:
        pytest.skip("this machine does not allow network namespaces")
    assert ended.returncode == 0 or process == "doctor", ended.stderr
    assert ended.names == []
    assert [path for path in home.rglob("*") if "Microsoft" in path.parts or "onnxruntime" in path.name] == []


@pytest.mark.parametrize("package", ["devices", "runtime", "export", "train"])
def test_every_package_switches_the_telemetry_off(package: str, tmp_path: Path):
    code = f"import os, orilla.{package}\nassert os.environ[{VARIABLE!r}] == '1'"
    assert os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], clean_environment(tmp_path)) == 0


def test_the_choice_of_the_user_is_kept(tmp_path: Path):
    code = f"import os, orilla.runtime\nassert os.environ[{VARIABLE!r}] == '0'"
    environment = {**clean_environment(tmp_path), VARIABLE: "0"}
    assert os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], environment) == 0
