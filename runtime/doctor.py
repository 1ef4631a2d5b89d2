"""Try each engine in a separate process, because it may crash: `python -m orilla.runtime.doctor ENGINE`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from orilla.devices.checks.packages import older_numpy
from orilla.devices.finding import Finding
from orilla.devices.interpreter import module_command, program_command
from orilla.devices.packages import OPENCV_WHEELS
from orilla.devices.packages import installed as distributions
from orilla.runtime.engines.registry import ENGINES, installed, is_package

TIMEOUT_S = 60

OPENCV = "opencv"
"""Name of OpenCV's trial run. Every other trial run has the name of its engine."""

MARK = "orilla-probe: "
"""Prefix of the line on which the process prints its report."""

DIED = {
    "SIGILL": "illegal instruction: it was built for another processor",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGKILL": "killed, probably because memory ran out",
}
"""Explanations of the signals that end a process."""

OPENCV_LIBRARIES = ("libGL", "libxcb", "libX11", "libSM", "libgthread", "libglib")
"""Shared libraries that OpenCV needs for windows. The headless build does not need them."""

OTHER_NUMPY = ("numpy.core.multiarray", "_ARRAY_API")
"""Parts of the error messages of packages that are built for numpy 1 if numpy 2 is installed."""

WHEELS = {"litert": "ai-edge-litert", "compiled": "ai-edge-litert", "tflite": "tflite-runtime"}
"""The package that provides each engine, except those of ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The report that the process of an engine prints as JSON."""

    engine: str = ""
    """Name and version of the library."""
    providers: tuple[str, ...] = ()
    """Available providers of ONNX Runtime."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Variants that the engine cannot load, each with the reason."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Variants whose result is wrong, each with a description of the difference."""
    error: str | None = None
    """Reason why the engine does not work. None if it works."""
    missing: str | None = None
    """Name of a shared library that could not be found, or None."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of a trial run."""

    name: str
    """Name of the engine, or `opencv`."""
    answer: Answer | None
    """Report that the process printed. None if the engine does not work."""
    reason: str = ""
    """One-line reason why the engine does not work. Empty if it works."""
    missing: str | None = None
    """Name of a shared library that could not be found, or None."""


def probe(name: str) -> Probe:
    """Try one engine on the shipped bundle `probe`, or try OpenCV."""
    command = module_command("orilla.runtime.doctor", name)
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Probe(name, None, f"it did not respond within {TIMEOUT_S} s")
    if ended.returncode < 0:
        fatal = _signal_name(-ended.returncode)
        return Probe(name, None, DIED.get(fatal, f"ended by {fatal}"))
    answer = _answer(ended.stdout)
    if answer is None:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        return Probe(name, None, lines[-1][:300] if lines else f"exit code {ended.returncode}")
    if answer.error is not None:
        return Probe(name, None, answer.error, answer.missing)
    return Probe(name, answer)


def providers() -> tuple[str, ...]:
    """Return the providers that ONNX Runtime reports in a separate process.

    The result is empty if ONNX Runtime is not installed or crashes.
    """
    if not is_package("onnxruntime"):
        return ()
    code = "import json, onnxruntime; answer = {'providers': onnxruntime.get_available_providers()}; "
    code += f"print({MARK!r} + json.dumps(answer))"
    try:
        ended = subprocess.run(program_command(code), capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.SubprocessError:
        return ()
    answer = _answer(ended.stdout)
    return () if answer is None else tuple(answer.providers)


def _answer(output: str) -> Answer | None:
    """Return the last report in the output, or None if there is none. Libraries may print before and after it."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                return Answer(**json.loads(line.removeprefix(MARK)))
            except (ValueError, TypeError):
                return None
    return None


def examine(*, edgetpu: bool = False) -> list[Finding]:
    """Try OpenCV and each installed engine, two at the same time.

    Args:
        edgetpu: True if an Edge TPU is attached.
    """
    names = [OPENCV, *_engine_names(), *(["edgetpu"] if edgetpu else []), *_plugin_engines()]
    with ThreadPoolExecutor(2) as pool:
        probes = list(pool.map(probe, names))
    answers = [result.answer for result in probes if result.name == "onnx" and result.answer is not None]
    probes += [probe(name) for answer in answers for name in _provider_engines(answer)]
    return [finding(result) for result in probes]


def finding(result: Probe) -> Finding:
    """Convert the outcome of a trial run into a finding."""
    name, answer = result.name, result.answer
    label = name if name == OPENCV else f"engine {name}"
    if answer is None and (is_plugin(name) or name == "compiled" or name.startswith("onnx:")):
        # Only warn, because these engines are used only on request, and a different engine runs the same files.
        fix = f"use the engine `{'onnx' if name.startswith('onnx:') else 'litert'}`, or install what is missing"
        if is_plugin(name):
            fix = f"update {ENGINES.package(name)}, or use another engine"
        return Finding(label, "warning", f"`{name}` does not work here: {result.reason}", fix)
    if answer is None:
        return Finding(label, "failure", f"`{name}` does not work: {result.reason}", _fix(result))
    if answer.wrong:
        summary = "; ".join(f"{variant}: {difference}" for variant, difference in answer.wrong.items())
        fix = "use another engine, and report the difference to the authors of this one"
        return Finding(label, "failure", f"{answer.engine} runs, but its result is wrong: {summary}", fix)
    if answer.rejected:
        reason = next(iter(answer.rejected.values()))
        return Finding(label, "ok", f"{answer.engine}; rejects {', '.join(answer.rejected)} ({reason})")
    return Finding(label, "ok", answer.engine)


def _engine_names() -> list[str]:
    """Return the engines whose packages are installed. No package is imported, because an import may crash."""
    names = []
    if is_package("ai_edge_litert"):
        names += ["litert", "compiled"]
    if is_package("tflite_runtime"):
        names.append("tflite")
    if not names and is_package("tensorflow"):
        names.append("litert")
    return [*names, *(["onnx"] if is_package("onnxruntime") else [])]


def is_plugin(name: str) -> bool:
    """Return True if a package adds the engine."""
    return ENGINES.package(name) is not None


def _plugin_engines() -> list[str]:
    """Return the engines of plug-ins whose packages are installed, and that can run a file of the bundle `probe`."""
    formats = {ENGINES[name].format for name in ENGINES.built_in}
    names = [name for name in ENGINES if is_plugin(name)]
    return [name for name in names if installed(name) and ENGINES[name].format in formats]


def _provider_engines(answer: Answer) -> list[str]:
    """Return the engines whose providers are part of the installed ONNX Runtime."""
    return [
        name
        for name, engine in ENGINES.items()
        if name != "onnx" and engine.options.get("provider") in answer.providers
    ]


def _fix(result: Probe) -> str:
    """Return a command that fixes the problem of a trial run, or advice if no command is known."""
    if result.missing is not None:
        return _fix_library(result.missing)
    if result.name == "edgetpu":
        return "unplug the accelerator and plug it in again; if this does not help, see docs/devices.md (Coral)"
    if any(sign in result.reason for sign in OTHER_NUMPY) or (result.name == "tflite" and "numpy" in result.reason):
        return older_numpy(distributions(OPENCV_WHEELS))
    if result.name == OPENCV:
        return "pip install --force-reinstall opencv-python-headless"
    wheel = WHEELS.get(result.name) or _onnxruntime_wheel()
    if DIED["SIGILL"] not in result.reason:
        return f"pip install --force-reinstall {wheel}"
    if wheel == "onnxruntime":
        return (
            'pip install "onnxruntime!=1.21.*" (its wheels of 1.21.0 crashed on a Raspberry Pi 4), or use the engine '
            "`litert`"
        )
    return f"use another engine, or install an older {wheel} (pip index versions {wheel} lists them)"


def _fix_library(library: str) -> str:
    """Return a command that installs a missing shared library or makes it unnecessary."""
    if library.startswith(OPENCV_LIBRARIES):
        return "pip uninstall -y opencv-python opencv-contrib-python && pip install opencv-python-headless"
    if library.startswith("libgomp"):
        return "sudo apt install libgomp1"
    return f"install the package that contains {library} (apt-file search {library})"


def _onnxruntime_wheel() -> str:
    """Return the name of the installed ONNX Runtime package."""
    return next(iter(distributions(["onnxruntime-openvino", "onnxruntime-gpu", "onnxruntime"])), "onnxruntime")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main(name: str) -> Answer:
    """Import and run an engine in this process. Raise the error of the engine if it does not work."""
    if name == OPENCV:
        return _run_opencv()
    if name == "edgetpu":
        from orilla.runtime.engines import edgetpu

        return Answer(edgetpu.try_library())
    return _run_engine(name)


def _run_engine(name: str) -> Answer:
    """Verify the variants of the shipped bundle `probe` on an engine."""
    from orilla.devices.errors import OrillaError
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines import loader
    from orilla.runtime.verify import verify

    bundle = Bundle.open("probe")
    variants = tuple(variant for variant in bundle.manifest.variants if loader.fits(variant, name))
    engine = ""
    rejected: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for verdict in verify(bundle, variants, engine=name):
        failed = next((stage for stage in verdict.stages if not stage.passed), None)
        if failed is not None and verdict.first_difference == "load":
            rejected[verdict.variant] = failed.detail
            continue
        engine = verdict.engine
        if failed is not None:
            wrong[verdict.variant] = f"{failed.name}, {failed.detail}"
    if not engine:
        raise OrillaError(next(iter(rejected.values()), "it cannot run any variant of the shipped bundle `probe`"))
    return Answer(engine, _providers() if name == "onnx" else (), rejected, wrong)


def _providers() -> tuple[str, ...]:
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def _run_opencv() -> Answer:
    """Halve an image, and compare the first pixel of the result with the mean of the four pixels that it replaces."""
    import cv2
    import numpy as np

    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    smaller = cv2.resize(image, (2, 2), interpolation=cv2.INTER_AREA)
    is_right = np.abs(smaller[0, 0] - image[:2, :2].mean(axis=(0, 1))).max() <= 1
    wrong = {} if is_right else {"resize": "a pixel of a halved image is not the mean of the four original pixels"}
    return Answer(f"OpenCV {cv2.__version__} on numpy {np.__version__}", wrong=wrong)


def _failure(error: Exception) -> Answer:
    """Return a report with the error and, if the loader did not find a shared library, with the library's name."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    line = next(iter(str(root).strip().splitlines()), "").removesuffix("; run `orilla doctor` for details")
    kind = "" if type(root).__module__.startswith("orilla.") else type(root).__name__
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object", line)
    reason = ": ".join(part for part in (kind, line) if part)
    return Answer(error=reason[:300], missing=library[1] if library else None)


if __name__ == "__main__":
    try:
        answer = main(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - every error of a library is the answer
        answer = _failure(error)
    print(f"\n{MARK}{json.dumps(asdict(answer))}", flush=True)
