"""Install the wheel in fresh environments and test it there: `python tests/install/matrix.py [--python 3.10,3.13]`.

A case is a Python version, an OpenCV wheel, a major version of numpy, and the lowest or the newest versions of all
dependencies. In each case the script installs the wheel with its light extras, and runs `orilla doctor`, `orilla run`
and `orilla verify` on the shipped road model, the compilation of all modules, and tests of the runtime and the devices.
It prints a table, and exits with 1 if a case fails. Python versions that are not installed are skipped with a message.

The script needs a network and, in build/install, about 1 GB. It installs uv there if uv is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build" / "install"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
OPENCV = {
    "headless": "opencv-python-headless",
    "python": "opencv-python",
    "contrib": "opencv-contrib-python",
}
NUMPY = {"1": "numpy<2", "2": "numpy>=2"}
DEPENDENCIES = {"lowest": ("--resolution", "lowest-direct"), "newest": ()}
EXTRAS = ("onnx", "mqtt", "mcap", "mavlink", "metrics", "web", "ros2", "report")
"""The extras without TensorFlow."""

TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jinja2", "onnx", "pycocotools")
USE_SYSTEM_CERTIFICATES = {"UV_NATIVE_TLS": "1", "UV_SYSTEM_CERTS": "1"}
"""Variables with which older and newer versions of uv accept the certificates of the system, as pip does."""

LIMIT_S = 900
"""Time limit for one command in seconds."""

SELECT = ("-m", "not slow and not timing", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "worksteal")
TESTS = {
    "none": None,
    "part": ("tests/devices", "tests/runtime/engines", "tests/runtime/test_verify.py", "tests/runtime/test_model.py"),
    "fast": ("tests/devices", "tests/runtime", "--ignore=tests/runtime/bench"),
}


@dataclass(frozen=True)
class Case:
    """One environment."""

    python: str
    opencv: str
    numpy: str
    dependencies: str

    def __str__(self) -> str:
        return f"{self.python:<8}{self.opencv:<10}{self.numpy:<7}{self.dependencies:<8}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case."""

    word: str
    """`pass`, `FAIL` or `none`, which means that the registry has no wheels for this combination."""
    detail: str
    """Installed versions, or the last line of the step that failed."""
    seconds: float = 0.0


def interpreter(version: str) -> str | None:
    """Return the path of a Python of this version, from PATH or pyenv, or None."""
    pyenv = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    for path in (shutil.which(f"python{version}"), *map(str, pyenv)):
        # The shims of pyenv exist for all its versions, but start only the selected versions.
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def uv() -> str:
    """Return the path of uv. It is installed in build/install if it is not on PATH."""
    if found := shutil.which("uv"):
        return found
    own = BUILD / "tools"
    if not (own / "bin/uv").exists():
        subprocess.run([sys.executable, "-m", "venv", own], check=True)
        subprocess.run([own / "bin/pip", "install", "--quiet", "uv"], check=True)
    return str(own / "bin/uv")


def run(*command: str | Path, folder: Path = BUILD) -> str | None:
    """Run a command. Return None if it succeeds, else the last lines of its output."""
    environment = {**USE_SYSTEM_CERTIFICATES, **os.environ}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {LIMIT_S} s"
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return None if done.returncode == 0 else "\n".join(lines[-15:]) or f"exit code {done.returncode}"


def requirements(wheel: Path) -> list[str]:
    """Return the requirements of the wheel and of its light extras.

    The command of uv names them, because uv selects the lowest versions only of packages that the command names.
    """
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    found = []
    for line in (line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")):
        extra = re.search(r'(?:;| and) extra == "(\w+)"', line)
        if (extra is None or extra[1] in EXTRAS) and not line.startswith("orilla"):
            found.append(line if extra is None else line.replace(extra[0], ""))
    return found


def install(case: Case, python: str, wheel: Path, folder: Path) -> str | None:
    """Create the environment of a case. Return None, or the reason why this is impossible."""
    program, opencv = uv(), OPENCV[case.opencv]
    if problem := run(program, "venv", "--quiet", "--clear", "--python", python, folder):
        return problem
    # Replace the headless OpenCV with uv as docs/install.md describes.
    override = folder / "override.txt"
    override.write_text("" if case.opencv == "headless" else "opencv-python-headless; sys_platform == 'never'\n")
    pip = (program, "pip", "install", "--quiet", "--python", folder / "bin/python", "--only-binary", ":all:")
    minimum = "" if case.opencv == "headless" else ">=4.10.0.84"
    packages = (f"orilla @ {wheel.resolve().as_uri()}", *requirements(wheel), f"{opencv}{minimum}", NUMPY[case.numpy])
    options = ("--override", override, *DEPENDENCIES[case.dependencies], "--refresh-package", "orilla")
    return run(*pip, *options, *packages) or run(*pip, *TOOLS)


def check(case: Case, folder: Path, tests: str) -> Iterator[tuple[str, str | None]]:
    """Yield each step with its error message, or None if it succeeded."""
    python, orilla = folder / "bin/python", folder / "bin/orilla"
    code = (
        "import pathlib, subprocess, sys, orilla.runtime as r; place = pathlib.Path(r.__file__).parents[1]; "
        "assert 'site-packages' in str(place), place; "
        "sys.exit(subprocess.call([sys.executable, '-m', 'compileall', '-q', str(place)]))"
    )
    yield "compile", run(python, "-c", code)
    yield "doctor", run(orilla, "doctor")
    yield "run", run(orilla, "run", "road", "--source", "scenes", "--frames", "3")
    yield "verify", run(orilla, "verify", "road")
    if (selected := TESTS[tests]) is not None:
        yield "tests", run(python, "-m", "pytest", *SELECT, *selected, folder=PROJECT)


def versions(folder: Path) -> str:
    code = (
        "import json; from importlib.metadata import version; import cv2, numpy; "
        "names = ('ai-edge-litert', 'onnxruntime', 'av', 'msgspec'); "
        "print(json.dumps(['cv2 ' + cv2.__version__, 'numpy ' + numpy.__version__, "
        "*(name + ' ' + version(name) for name in names)]))"
    )
    done = subprocess.run([folder / "bin/python", "-c", code], capture_output=True, text=True, check=False, cwd=BUILD)
    return ", ".join(json.loads(done.stdout)) if done.returncode == 0 else ""


def test(case: Case, python: str, wheel: Path, tests: str) -> Outcome:
    """Run one case in a fresh environment, which is then removed."""
    folder, start_s = BUILD / "environment", time.monotonic()
    if problem := install(case, python, wheel, folder):
        is_absent = "No solution found" in problem
        return Outcome("none" if is_absent else "FAIL", "no wheels" if is_absent else f"install: {problem}")
    for step, problem in check(case, folder, tests):
        if problem is not None:
            return Outcome("FAIL", f"{step}: {problem}", time.monotonic() - start_s)
    installed = versions(folder)
    shutil.rmtree(folder)
    return Outcome("pass", installed, time.monotonic() - start_s)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=",".join(PYTHONS), help="Python versions, separated by commas")
    parser.add_argument(
        "--opencv", default=",".join(OPENCV), help="OpenCV wheels, separated by commas: headless, python, contrib"
    )
    parser.add_argument("--numpy", default=",".join(NUMPY), help="major versions of numpy, separated by commas: 1, 2")
    parser.add_argument(
        "--dependencies", default=",".join(DEPENDENCIES), help="versions of the dependencies: lowest, newest"
    )
    parser.add_argument("--tests", choices=TESTS, default="part", help="tests to run in each environment")
    parser.add_argument("--wheel", type=Path, help="wheel to test (default: the one in dist/)")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    wheel = chosen.wheel or next(iter(sorted((PROJECT / "dist").glob("orilla-*.whl"))), None)
    if wheel is None:
        sys.exit("test-install: dist/ contains no wheel: run `make wheel`, or name one with --wheel")
    BUILD.mkdir(parents=True, exist_ok=True)
    pythons = {version: interpreter(version) for version in chosen.python.split(",")}
    for version in [version for version, path in pythons.items() if path is None]:
        print(f"Python {version} is not installed: its cases are skipped", flush=True)
        del pythons[version]
    axes = (chosen.opencv.split(","), chosen.numpy.split(","), chosen.dependencies.split(","))
    outcomes = []
    print("python  opencv    numpy  versions  result", flush=True)
    for version, path in pythons.items():
        for case in (Case(version, *values) for values in product(*axes)):
            outcome = test(case, path, wheel, chosen.tests)
            outcomes.append(outcome)
            print(f"{case}  {outcome.word}  {outcome.seconds:3.0f} s  {outcome.detail}", flush=True)
    counts = {word: sum(outcome.word == word for outcome in outcomes) for word in ("pass", "FAIL", "none")}
    print(f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['none']} without wheels")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
