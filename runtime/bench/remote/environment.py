"""Find or create a Python environment on another machine with the packages that Orilla needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from orilla.runtime.bench.remote.ssh import Remote, RemoteError

FOLDER = ".cache/orilla/remote"
"""Folder for all files that Orilla puts on the machine, relative to the user's home folder."""

NEEDED_KIB = 800 << 10
"""Disk space in KiB that an environment with NumPy, OpenCV and LiteRT needs."""

MARK = "orilla-missing:"
MISSING_CODE = """
import re, sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
def needed(requirement):
    below = re.search("python_version < '3[.]([0-9]+)'", requirement)
    return below is None or sys.version_info < (3, int(below[1]))
def outdated(requirement):
    name, _, minimum = requirement.partition(";")[0].partition(">=")
    try:
        return [int(n) for n in re.findall("[0-9]+", version(name))[:2]] < [int(n) for n in minimum.split(".")]
    except PackageNotFoundError:
        return False
requirements = {requirements!r}
print({mark!r}, *[name for name, need in requirements.items()
    if needed(need) and (find_spec(name) is None or outdated(need))])
"""
"""Program that prints the import names of missing and outdated packages. A package is present if its module can be
found, whichever distribution provides it."""

PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
MIN_PYTHON = (3, 10)
INSTALL_S = 1800.0


def find_python(remote: Remote) -> str:
    """Return the command of a sufficiently new Python on the machine.

    Raises:
        RemoteError: The machine has no such Python.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    script = "; ".join(f'command -v {name} >/dev/null && echo {name} $({name} -c "{code}")' for name in PYTHONS)
    words = [line.split() for line in remote.run(f"{script}; true").splitlines()]
    versions = {line[0]: line[1] for line in words if len(line) == 2}
    for name, version in versions.items():
        if (numbers := re.fullmatch(r"(\d+)\.(\d+)", version)) and (int(numbers[1]), int(numbers[2])) >= MIN_PYTHON:
            return name
    present = ", ".join(sorted(set(versions.values()))) or "no Python"
    msg = (
        f"{remote.name}: Orilla needs Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer, but the machine has {present}: "
        "sudo apt install python3"
    )
    raise RemoteError(msg)


def environment(
    remote: Remote,
    python: str,
    requirements: Mapping[str, str],
    wheels: Mapping[str, bytes],
) -> tuple[str, bool]:
    """Return the command of a Python that has all required packages.

    If the machine's own Python has them, this Python is returned. Otherwise, the packages are installed in a virtual
    environment, and its Python is returned.

    Args:
        remote: The machine.
        python: The command that starts the machine's own Python.
        requirements: Requirements such as `numpy>=1.26`, by import name.
        wheels: Content of wheels, by file name. If wheels are given, pip installs only from them, without a network.

    Returns:
        The command that starts this Python, and whether packages were installed.

    Raises:
        RemoteError: There is too little disk space, or `venv` or `pip` fails.
    """
    own = f'"$HOME"/{FOLDER}/env/bin/python'
    for candidate in (python, own):
        if not (missing := missing_packages(remote, candidate, requirements)):
            return candidate, False
    home = remote.run('df -Pk "$HOME" | tail -n 1').split()
    if len(home) > 3 and home[3].isdigit() and int(home[3]) < NEEDED_KIB:
        msg = (
            f"{remote.name}: only {int(home[3]) >> 10} MiB of disk space is free, but the packages need "
            f"{NEEDED_KIB >> 10} MiB: free some space"
        )
        raise RemoteError(msg)
    remote.report(f"installing {', '.join(requirements[name] for name in missing)}")
    _create(remote, python, own)
    options = _wheel_options(remote, wheels)
    packages = shlex.join(requirements.values())
    remote.run(f"{own} -m pip install --quiet --disable-pip-version-check {options} {packages}", timeout_s=INSTALL_S)
    return own, True


def _create(remote: Remote, python: str, own: str) -> None:
    output = remote.run(
        f'test -x {own} || {python} -m venv --system-site-packages "$HOME"/{FOLDER}/env 2>&1 || echo NO VENV',
        timeout_s=INSTALL_S,
    )
    if "NO VENV" in output:
        msg = f"{remote.name}: cannot create a virtual environment: sudo apt install python3-venv"
        raise RemoteError(msg)


def _wheel_options(remote: Remote, wheels: Mapping[str, bytes]) -> str:
    for name, data in wheels.items():
        remote.send(data, f"{FOLDER}/wheels/{name}")
    return f'--no-index --find-links "$HOME"/{FOLDER}/wheels' if wheels else ""


def missing_packages(remote: Remote, python: str, requirements: Mapping[str, str]) -> list[str]:
    """Return the import names of the required packages that are missing or too old in a Python environment.

    Args:
        remote: The machine.
        python: The command that starts the Python.
        requirements: Requirements such as `numpy>=1.26`, by import name.
    """
    code = MISSING_CODE.format(mark=MARK, requirements=dict(requirements))
    output = remote.run(f"{python} -c {shlex.quote(code)} 2>/dev/null || true")
    return _missing(output.splitlines(), requirements)


def _missing(lines: Iterable[str], requirements: Mapping[str, str]) -> list[str]:
    answers = [line.removeprefix(MARK).split() for line in lines if line.startswith(MARK)]
    return [name for name in requirements if name in answers[-1]] if answers else list(requirements)
