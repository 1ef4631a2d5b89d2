"""Run each engine in a process of its own, which may crash: `python -m orilla.runtime.doctor ENGINE`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from orilla.devices.finding import Finding
from orilla.devices.packages import installed as distributions
from orilla.runtime.engines.registry import ENGINES, is_package

TIMEOUT_S = 60
OPENCV = "opencv"
MARK = "orilla-probe: "
"""Prefix of the line with the process's answer."""

DIED = {
    "SIGILL": "illegal instruction: it was built for another processor",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGKILL": "killed, probably because memory ran out",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """Outcome of one engine's process."""

    name: str
    answer: dict[str, Any] | None
    """Answer of the process. None if it failed."""
    reason: str
    """Reason of the failure, one line."""
    missing: str | None = None
    """Missing shared library or package."""


def probe(name: str) -> Probe:
    """Run one engine, or `opencv`, on the bundle that ships for it."""
    # Without -P, a file in the current folder with the package's name would be imported instead.
    command = [sys.executable, "-P", "-m", "orilla.runtime.doctor", name]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Probe(name, None, f"no answer for {TIMEOUT_S} s")
    if ended.returncode < 0:
        fatal = _name(-ended.returncode)
        return Probe(name, None, DIED.get(fatal, f"died of {fatal}"))
    try:
        answer = _answer(ended.stdout)
    except ValueError:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        return Probe(name, None, lines[-1][:300] if lines else f"exit code {ended.returncode}")
    if "error" in answer:
        return Probe(name, None, str(answer["error"]), answer.get("missing"))
    return Probe(name, answer, "")


def providers() -> tuple[str, ...]:
    """Return ONNX Runtime's providers, from a process of its own; empty if it is not installed or crashes."""
    if not is_package("onnxruntime"):
        return ()
    code = "import json, onnxruntime; found = {'providers': onnxruntime.get_available_providers()}; "
    code += f"print({MARK!r} + json.dumps(found))"
    try:
        command = [sys.executable, "-P", "-c", code]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        return tuple(_answer(ended.stdout)["providers"])
    except (subprocess.SubprocessError, ValueError, KeyError):
        return ()


def _answer(output: str) -> dict[str, Any]:
    """Return the answer after the mark. Libraries print before and after it. Raises `ValueError` without an answer."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            found = json.loads(line.removeprefix(MARK))
            if isinstance(found, dict):
                return found
    msg = "no answer"
    raise ValueError(msg)


def examine(*, edgetpu: bool = False) -> list[Finding]:
    """Run OpenCV and each installed engine, several at a time.

    Args:
        edgetpu: True if there is a stick to open.
    """
    names = [OPENCV, *_names(), *(["edgetpu"] if edgetpu else [])]
    with ThreadPoolExecutor(2) as pool:
        probes = list(pool.map(probe, names))
    for one in probes:
        if one.name == "onnx" and one.answer is not None:
            probes += [probe(name) for name in _offered(one.answer)]
    return [finding(one) for one in probes]


def finding(one: Probe) -> Finding:
    """Convert a probe into a finding."""
    label = one.name if one.name == OPENCV else f"engine {one.name}"
    if one.answer is None and (one.name == "compiled" or one.name.startswith("onnx:")):
        # Nobody uses these engines without requesting them, and they come in one wheel with an engine that works.
        fix = f"use --engine {'litert' if one.name == 'compiled' else 'onnx'}, or install what is missing"
        return Finding(label, "warning", f"{one.name} does not work here: {one.reason}", fix)
    if one.answer is None:
        return Finding(label, "failure", f"{one.name} does not work: {one.reason}", _mend(one))
    refused: dict[str, str] = one.answer.get("refused", {})
    wrong: dict[str, str] = one.answer.get("wrong", {})
    detail = str(one.answer["engine"])
    if wrong:
        summary = "; ".join(f"{name}: {why}" for name, why in wrong.items())
        fix = "use another engine (--engine), and report it to the makers of this one"
        return Finding(label, "failure", f"{detail} runs, but its result is wrong: {summary}", fix)
    if refused:
        detail += f"; rejects {', '.join(refused)} ({next(iter(refused.values()))})"
    return Finding(label, "ok", detail)


def _names() -> list[str]:
    """Return the engines whose packages are installed. Nothing is imported, because that could crash."""
    found = []
    if is_package("ai_edge_litert"):
        found += ["litert", "compiled"]
    if is_package("tflite_runtime"):
        found.append("tflite")
    if not found and is_package("tensorflow"):
        found.append("litert")
    return [*found, *(["onnx"] if is_package("onnxruntime") else [])]


def _offered(answer: dict[str, Any]) -> list[str]:
    """Return the engines whose providers this build of ONNX Runtime has."""
    providers = answer.get("providers", [])
    return [name for name, engine in ENGINES.items() if name != "onnx" and engine.options.get("provider") in providers]


def _mend(one: Probe) -> str:
    """Return the command that fixes a known problem."""
    reason, missing = one.reason, one.missing or ""
    if missing.startswith(("libGL", "libxcb", "libX11", "libSM", "libgthread", "libglib")):
        return "pip uninstall -y opencv-python opencv-contrib-python && pip install opencv-python-headless"
    if missing.startswith("libgomp"):
        return "sudo apt install libgomp1"
    if missing.startswith("lib"):
        return f"install the package that contains {missing} (apt-file search {missing})"
    if one.name == "edgetpu":
        return "unplug it and plug it in again; then see docs/devices.md, Coral"
    if one.name == OPENCV:
        return "pip install --force-reinstall opencv-python-headless"
    if one.name == "tflite" and ("numpy" in reason or "_ARRAY_API" in reason):
        return 'pip install "numpy<2" "opencv-python-headless<5"'
    wheel = {"litert": "ai-edge-litert", "compiled": "ai-edge-litert", "tflite": "tflite-runtime"}.get(one.name)
    wheel = wheel or next(
        iter(distributions(["onnxruntime-openvino", "onnxruntime-gpu", "onnxruntime"])), "onnxruntime"
    )
    if "illegal instruction" in reason and wheel == "onnxruntime":
        return (
            'pip install "onnxruntime!=1.21.*" (its wheels of 1.21.0 crashed on a Raspberry Pi 4), or --engine litert'
        )
    if "illegal instruction" in reason:
        return f"use another engine (--engine), or an older {wheel}: pip index versions {wheel}"
    return f"pip install --force-reinstall {wheel}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main(name: str) -> dict[str, object]:
    """Import and run an engine in this process."""
    if name == OPENCV:
        return _run_opencv()
    if name == "edgetpu":
        from orilla.runtime.engines import edgetpu

        return {"engine": edgetpu.try_library()}
    from orilla.devices.errors import OrillaError
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines import loader
    from orilla.runtime.verify import verify

    bundle = Bundle.open("probe")
    variants = tuple(one for one in bundle.manifest.variants if loader.fits(one, name))
    engine, refused, wrong, first = "", {}, {}, None
    for verdict in verify(bundle, variants, engine=name):
        failed = next((stage for stage in verdict.stages if not stage.passed), None)
        if verdict.first_difference == "load":
            assert failed is not None
            refused[verdict.variant] = failed.detail
            first = first or OrillaError(failed.detail)
            continue
        engine = verdict.engine
        if failed is not None:
            wrong[verdict.variant] = f"{failed.name}, {failed.detail}"
    if not engine:
        raise first or OrillaError("it runs no variant")
    found: dict[str, object] = {"engine": engine, "refused": refused, "wrong": wrong}
    if name == "onnx":
        import onnxruntime

        found["providers"] = onnxruntime.get_available_providers()
    return found


def _run_opencv() -> dict[str, object]:
    import cv2
    import numpy as np

    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    smaller = cv2.resize(picture, (2, 2), interpolation=cv2.INTER_AREA)
    right = np.abs(smaller[0, 0] - picture[:2, :2].mean(axis=(0, 1))).max() <= 1
    wrong = {} if right else {"resize": "a resized image is not its mean"}
    return {"engine": f"OpenCV {cv2.__version__} on numpy {np.__version__}", "wrong": wrong}


def _described(failure: Exception) -> dict[str, object]:
    """Return an error, and the shared library that the loader did not find."""
    root: BaseException = failure
    while root.__cause__ is not None:
        root = root.__cause__
    line = next(iter(str(root).strip().splitlines()), "").removesuffix("; orilla doctor gives details")
    kind = "" if type(root).__module__.startswith("orilla.") else type(root).__name__
    lacks = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object", line)
    summary = ": ".join(part for part in (kind, line) if part)
    return {"error": summary[:300], "missing": lacks[1] if lacks else None}


if __name__ == "__main__":
    try:
        summary = main(sys.argv[1])
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is what there is to tell
        summary = _described(failure)
    print(f"\n{MARK}{json.dumps(summary)}", flush=True)
