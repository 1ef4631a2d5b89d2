"""Engines that are broken in the ways that occur in the field, in real processes."""

import json
import os
import sys

import pytest

from orilla.runtime import doctor
from orilla.runtime.cli import main


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Replace an installed package in the process under test."""

    def plant(name, text):
        module = tmp_path / name.replace(".", "/")
        module.parent.mkdir(parents=True, exist_ok=True)
        for parent in module.parents:
            if parent == tmp_path:
                break
            (parent / "__init__.py").touch()
        module.with_suffix(".py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return plant


DIE = "import os, signal; os.kill(os.getpid(), signal.{})\n"


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        (DIE.format("SIGILL"), "illegal instruction: it was built for another processor", "an older ai-edge-litert"),
        ("import ctypes; ctypes.string_at(0)\n", "segmentation fault", "pip install --force-reinstall ai-edge-litert"),
        (DIE.format("SIGKILL"), "killed, probably because memory ran out", "ai-edge-litert"),
        (
            "raise ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')\n",
            "libgomp.so.1: cannot open shared object file",
            "sudo apt install libgomp1",
        ),
        (
            "class Interpreter:\n    def __init__(self, **_): raise RuntimeError('no\\nluck')\n",
            "cannot load this variant: no",
            "pip install --force-reinstall ai-edge-litert",
        ),
        ("import os; os._exit(3)\n", "exit code 3", "ai-edge-litert"),
    ],
)
def test_an_engine_that_breaks_is_reported_not_suffered(planted, text, reason, fix):
    planted("ai_edge_litert.interpreter", text)
    found = doctor.finding(doctor.probe("litert"))
    assert found.level == "failure"
    assert reason in found.detail
    assert fix in found.fix
    assert "\n" not in found.detail


def test_an_engine_that_computes_something_else(planted):
    planted(
        "onnxruntime",
        "import numpy as np, sys\n"
        "class SessionOptions:\n    add_session_config_entry = lambda *_: None\n"
        "set_default_logger_severity = lambda level: None\n"
        "get_available_providers = lambda: ['CPUExecutionProvider']\n"
        "__version__ = '9.9'\n"
        "class Put:\n    name, type, shape = 'image', 'tensor(float)', [1, 48, 80, 3]\n"
        "class InferenceSession:\n"
        "    def __init__(self, *_, **__): pass\n"
        "    get_inputs = get_outputs = lambda self: [Put]\n"
        "    get_providers = lambda self: ['CPUExecutionProvider']\n"
        "    disable_fallback = lambda self: None\n"
        "    run = lambda self, *_: [np.full((1, 10), 0.1, np.float32)]\n",
    )
    found = doctor.finding(doctor.probe("onnx"))
    assert found.level == "failure"
    assert "onnxruntime 9.9 runs, but its result is wrong: onnx_fp32: infer, mean error" in found.detail


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        ("libGL.so.1", "pip install opencv-python-headless"),
        ("libxcb.so.1", "pip install opencv-python-headless"),
        ("libfoo.so.2", "apt-file search libfoo.so.2"),
    ],
)
def test_an_opencv_that_lacks_a_library(planted, missing, fix):
    planted("cv2", f"raise ImportError('{missing}: cannot open shared object file: No such file or directory')\n")
    found = doctor.finding(doctor.probe(doctor.OPENCV))
    assert (found.level, fix in found.fix) == ("failure", True)


def test_a_process_that_does_not_end(planted, monkeypatch):
    planted("cv2", "import time; time.sleep(60)\n")
    monkeypatch.setattr(doctor, "TIMEOUT_S", 1)
    assert "no answer for 1 s" in doctor.finding(doctor.probe(doctor.OPENCV)).detail


def test_an_illegal_instruction_of_onnxruntime_names_the_release(planted):
    planted("onnxruntime", DIE.format("SIGILL"))
    assert 'pip install "onnxruntime!=1.21.*"' in doctor.finding(doctor.probe("onnx")).fix


def test_doctor_says_it_all_and_exits_with_1(planted, capsys):
    planted("onnxruntime", DIE.format("SIGSEGV"))
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    levels = {one["name"]: one["level"] for one in document["findings"]}
    assert levels["engine onnx"] == "failure"
    assert levels["engine litert"] == "ok"
    assert main(["doctor"]) == 1
    message = capsys.readouterr().out
    assert "FAIL engine onnx: onnx does not work: segmentation fault" in message
    assert "     fix: pip install --force-reinstall onnxruntime" in message


def test_doctor_of_this_installation(capsys):
    assert main(["doctor"]) == 0
    assert "ok   engine litert: ai_edge_litert" in capsys.readouterr().out


def test_the_doctor_itself_loads_nothing_that_may_be_broken(planted):
    planted("cv2", DIE.format("SIGSEGV"))
    planted("numpy", DIE.format("SIGSEGV"))
    import subprocess

    ended = subprocess.run(
        [sys.executable, "-m", "orilla.runtime.cli", "doctor"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "FAIL opencv: opencv does not work: segmentation fault" in ended.stdout


def test_a_file_of_the_same_name_in_the_current_folder_is_no_engine(tmp_path, monkeypatch):
    for name in ("onnxruntime", "cv2", "json"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert "CPUExecutionProvider" in doctor.providers()
    assert doctor.finding(doctor.probe(doctor.OPENCV)).level == "ok"
    assert not (tmp_path / "ran").exists()


def test_what_a_library_prints_is_no_answer(planted):
    planted("cv2", "import atexit; atexit.register(print, 7); print('{}'); raise ImportError('no')\n")
    assert "ImportError: no" in doctor.finding(doctor.probe(doctor.OPENCV)).detail


def test_devices_needs_nothing_that_may_be_broken(planted):
    import subprocess

    for name in ("cv2", "numpy", "onnxruntime"):
        planted(name, DIE.format("SIGSEGV"))
    command = [sys.executable, "-m", "orilla.runtime.cli", "devices"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Raspberry Pi 5" in ended.stdout


def test_a_base_package_that_is_broken_is_one_line_that_names_the_doctor(planted):
    import subprocess

    planted("cv2", "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n")
    command = [sys.executable, "-m", "orilla.runtime.cli", "run", "road", "--source", "scenes"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip().count("\n") == 0
    assert "libGL.so.1" in ended.stderr
    assert "orilla doctor checks" in ended.stderr


def test_devices_lists_this_machine_and_the_catalogue(capsys):
    assert main(["devices", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    engines = {row["name"]: row for row in document["engines"]}
    assert engines["litert"]["here"]
    assert engines["onnx"]["here"]
    assert not engines["onnx:cuda"]["here"]
    assert "onnxruntime-gpu" in engines["onnx:cuda"]["install"]
    assert main(["devices"]) == 0
    message = capsys.readouterr().out
    assert "Raspberry Pi 5" in message
    assert "MiB free" in message
    assert main(["devices", "pi4"]) == 0
    assert "XNNPACK README" in capsys.readouterr().out
    assert main(["devices", "pi44"]) == 2
    assert "did you mean pi4" in capsys.readouterr().err
