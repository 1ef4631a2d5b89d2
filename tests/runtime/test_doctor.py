"""`orilla doctor` reports broken engines. The engines fail as on real machines, each in a real process."""

import json
import os
import subprocess
import sys

import pytest

from orilla.runtime import doctor
from orilla.runtime.cli import main


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Return a function that shadows an installed package with a module of the given source, in subprocesses.

    The subprocesses find the module through `PYTHONPATH`.
    """
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]

    def plant(name, text):
        module = tmp_path / name.replace(".", "/")
        module.parent.mkdir(parents=True, exist_ok=True)
        for parent in module.parents:
            if parent == tmp_path:
                break
            (parent / "__init__.py").touch()
        module.with_suffix(".py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

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
def test_an_engine_that_crashes_is_reported_with_a_fix(planted, text, reason, fix):
    planted("ai_edge_litert.interpreter", text)
    finding = doctor.finding(doctor.probe("litert"))
    assert finding.level == "failure"
    assert reason in finding.detail
    assert fix in finding.fix
    assert "\n" not in finding.detail


def test_an_engine_with_wrong_results_is_a_failure(planted):
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
    finding = doctor.finding(doctor.probe("onnx"))
    assert finding.level == "failure"
    assert "onnxruntime 9.9 runs, but its result is wrong: onnx_fp32: infer, mean error" in finding.detail


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        ("libGL.so.1", "pip install opencv-python-headless"),
        ("libxcb.so.1", "pip install opencv-python-headless"),
        ("libfoo.so.2", "apt-file search libfoo.so.2"),
    ],
)
def test_a_missing_library_of_opencv_is_named_with_its_fix(planted, missing, fix):
    planted("cv2", f"raise ImportError('{missing}: cannot open shared object file: No such file or directory')\n")
    finding = doctor.finding(doctor.probe(doctor.OPENCV))
    assert (finding.level, fix in finding.fix) == ("failure", True)


def test_an_opencv_that_is_built_for_another_numpy_is_fixed_by_the_other_numpy(planted):
    planted("cv2", "raise ImportError('numpy.core.multiarray failed to import')\n")
    finding = doctor.finding(doctor.probe(doctor.OPENCV))
    assert (finding.level, finding.fix) == ("failure", 'pip install "numpy<2" "opencv-python-headless<5"')


def test_a_process_that_does_not_end_is_a_failure(planted, monkeypatch):
    planted("cv2", "import time; time.sleep(60)\n")
    monkeypatch.setattr(doctor, "TIMEOUT_S", 1)
    assert "it did not respond within 1 s" in doctor.finding(doctor.probe(doctor.OPENCV)).detail


def test_an_illegal_instruction_of_onnxruntime_names_the_release(planted):
    planted("onnxruntime", DIE.format("SIGILL"))
    assert 'pip install "onnxruntime!=1.21.*"' in doctor.finding(doctor.probe("onnx")).fix


def test_the_command_reports_all_findings_and_exits_with_1(planted, capsys):
    planted("onnxruntime", DIE.format("SIGSEGV"))
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    levels = {finding["name"]: finding["level"] for finding in document["findings"]}
    assert levels["engine onnx"] == "failure"
    assert levels["engine litert"] == "ok"
    assert main(["doctor"]) == 1
    message = capsys.readouterr().out
    assert "FAIL engine onnx: `onnx` does not work: segmentation fault" in message
    assert "     fix: pip install --force-reinstall onnxruntime" in message


def test_this_installation_has_no_failure(capsys):
    assert main(["doctor"]) == 0
    assert "ok   engine litert: ai_edge_litert" in capsys.readouterr().out


def test_the_doctor_runs_if_numpy_and_opencv_crash(planted):
    planted("cv2", DIE.format("SIGSEGV"))
    planted("numpy", DIE.format("SIGSEGV"))
    ended = subprocess.run(
        [sys.executable, "-m", "orilla.runtime.cli", "doctor"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "FAIL opencv: `opencv` does not work: segmentation fault" in ended.stdout


def test_files_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    for name in ("onnxruntime", "cv2", "json"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert "CPUExecutionProvider" in doctor.providers()
    assert doctor.finding(doctor.probe(doctor.OPENCV)).level == "ok"
    assert not (tmp_path / "ran").exists()


def test_the_output_of_a_library_is_not_taken_for_the_answer(planted):
    planted("cv2", "import atexit; atexit.register(print, 7); print('{}'); raise ImportError('no')\n")
    assert "ImportError: no" in doctor.finding(doctor.probe(doctor.OPENCV)).detail


def test_devices_runs_if_the_packages_crash(planted):
    for name in ("cv2", "numpy", "onnxruntime"):
        planted(name, DIE.format("SIGSEGV"))
    command = [sys.executable, "-m", "orilla.runtime.cli", "devices"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Raspberry Pi 5" in ended.stdout


def test_a_broken_base_package_is_one_line_that_names_the_doctor(planted):
    planted("cv2", "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n")
    command = [sys.executable, "-m", "orilla.runtime.cli", "run", "road", "--source", "scenes"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip().count("\n") == 0
    assert "libGL.so.1" in ended.stderr
    assert "run `orilla doctor` to check" in ended.stderr


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
