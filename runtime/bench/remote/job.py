"""Run one benchmark on another machine.

The steps are: find a Python interpreter, copy the code and the bundle, run `orilla doctor` and `orilla verify`, and run
the benchmark.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from orilla.runtime.bench import result as results
from orilla.runtime.bench.reference_workload import PATIENCE
from orilla.runtime.bench.remote.environment import FOLDER, environment, find_python
from orilla.runtime.bench.remote.ssh import Remote, RemoteError
from orilla.runtime.bench.remote.wheel import ONNX, REQUIREMENTS
from orilla.runtime.bench.result import Result

POLL_S = 1.0

STOP_S = 30.0
"""Time limit in seconds for writing the result of an interrupted measurement."""

GRACE_S = 600.0
"""Time limit in seconds for each other step. Small and emulated machines take a long time to start."""

INTERRUPTED, NOT_VALID = 128 + signal.SIGINT, 3
"""Exit codes with which `orilla bench run` writes a result although it was interrupted or disturbed."""


@dataclass(frozen=True, slots=True)
class Job:
    """A benchmark job: the files to send to each machine, and the measurement to run there.

    All machines get the same job.
    """

    name: str
    """Name of the bundle."""
    bundle: bytes
    """Content of the bundle as one `.orilla` file."""
    code: bytes
    """Content of an Orilla wheel."""
    wheels: dict[str, bytes]
    """Content of wheels of other packages, by file name, for machines without a network."""
    variant: str
    engine: str | None
    options: tuple[str, ...]
    """Options of `orilla bench run`, except `--variant` and `--engine`."""
    seconds: float
    """Duration of the measurement in seconds."""
    needs_onnx: bool
    """True if the benchmark runs on ONNX Runtime, and the machine therefore needs its package."""

    @property
    def requirements(self) -> dict[str, str]:
        """Requirements that pip installs on the machine. The keys are the import names."""
        return {**REQUIREMENTS, **(ONNX if self.needs_onnx else {})}

    @property
    def selection(self) -> str:
        """The options `--variant` and `--engine`, quoted for a shell."""
        engine = () if self.engine is None else ("--engine", self.engine)
        return shlex.join(("--variant", self.variant, *engine))


@dataclass
class HostReport:
    """The outcome of a benchmark on one machine."""

    name: str
    result: Result | None = None
    error: str | None = None
    """Error message if there is no result, else None."""
    findings: list[str] = field(default_factory=list)
    """Warnings and failures that `orilla doctor` reported."""
    sent: list[str] = field(default_factory=list)
    """Parts that were sent or installed because the machine lacked them: `orilla`, `bundle`, `environment`."""


def run(remote: Remote, job: Job, report: HostReport, stop: threading.Event) -> None:
    """Run the job on one machine and write the outcome into `report`.

    Args:
        remote: The machine.
        job: The benchmark.
        report: Receives the findings, the sent parts and the result.
        stop: The caller sets it to interrupt the measurement.

    Raises:
        RemoteError: The machine cannot be reached, or a step fails on it.
    """
    python = find_python(remote)
    code, was_sent = send_code(remote, job.code, python)
    report.sent += ["orilla"] if was_sent else []
    python, installed = environment(remote, python, job.requirements, job.wheels)
    report.sent += ["environment"] if installed else []
    digest = hashlib.sha256(job.bundle).hexdigest()[:16]
    path = f"{FOLDER}/{digest}/{job.name}.orilla"
    if remote.send(job.bundle, path):
        report.sent.append("bundle")
    orilla = command_of(python, code)
    bundle = f'"$HOME"/{shlex.quote(path)}'
    _check_stop(stop)
    remote.report("running doctor and verify")
    report.findings += doctor(remote, orilla)
    verify(remote, f"{orilla} verify {bundle} {job.selection}")
    _check_stop(stop)
    remote.report("measuring")
    command = f"{orilla} bench run {bundle} {job.selection} {shlex.join(job.options)}"
    report.result = _measure(remote, command, job.seconds, stop)


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        msg = "interrupted before the measurement began"
        raise RemoteError(msg)


def send_code(remote: Remote, code: bytes, python: str) -> tuple[str, bool]:
    """Copy Orilla's code to the machine unless it is already there.

    Args:
        remote: The machine.
        code: Content of an Orilla wheel.
        python: The command that starts the machine's Python.

    Returns:
        The folder of the code, relative to the home folder, and whether it was sent.
    """
    folder = f"{FOLDER}/code-{hashlib.sha256(code).hexdigest()[:16]}"
    if remote.run(f'test -f "$HOME"/{folder}/.ready && echo yes || true').strip() == "yes":
        return folder, False
    remote.report(f"sending orilla ({len(code) >> 10} KiB)")
    remote.send(code, f"{folder}.whl")
    unpacked = f'"$HOME"/{folder}'
    remote.run(f"{python} -m zipfile -e {unpacked}.whl {unpacked} && touch {unpacked}/.ready")
    return folder, True


def command_of(python: str, code: str) -> str:
    """Return the shell command that starts Orilla on a machine.

    Args:
        python: The command that starts the machine's Python.
        code: Folder of the code, as `send_code` returns it.
    """
    return f'env PYTHONPATH="$HOME"/{code}${{PYTHONPATH:+:$PYTHONPATH}} {python} -m orilla.runtime.cli'


def doctor(remote: Remote, orilla: str) -> list[str]:
    """Run `orilla doctor` on the machine and return its warnings and failures.

    Args:
        remote: The machine.
        orilla: The shell command that starts Orilla on the machine.
    """
    output = remote.run(f"{orilla} doctor --json", timeout_s=GRACE_S, check=False)
    try:
        findings = json.loads(output)["findings"]
    except (ValueError, KeyError, TypeError):
        return ["orilla doctor failed: it printed no findings"]
    return [
        f"{finding['level']}: {finding['name']}: {finding['detail']}"
        for finding in findings
        if finding.get("level") != "ok"
    ]


def verify(remote: Remote, command: str) -> None:
    """Verify the bundle on the machine, so that a bundle with wrong outputs is not measured.

    Args:
        remote: The machine.
        command: The shell command that runs `orilla verify` on the bundle.

    Raises:
        RemoteError: The bundle does not pass the verification.
    """
    output = remote.run(f"{command} --json 2>&1", timeout_s=GRACE_S, check=False)
    start = output.find("{")
    try:
        document = json.JSONDecoder().raw_decode(output[start:])[0] if start >= 0 else {}
    except ValueError:
        document = {}
    if document.get("verdict") == "pass":
        return
    details = [
        f"{variant['variant']}: {stage['name']}: {stage['detail']}"
        for variant in document.get("variants", ())
        for stage in variant["stages"]
        if not stage["passed"]
    ]
    details += [line for line in output.splitlines()[-1:] if line.strip()]
    msg = f"{remote.name}: orilla verify failed on that machine: {details[0] if details else 'it printed nothing'}"
    raise RemoteError(msg)


def _measure(remote: Remote, command: str, seconds: float, stop: threading.Event) -> Result:
    """Measure in a process that continues if the connection is lost, and return its result.

    Args:
        remote: The machine.
        command: The shell command of the measurement.
        seconds: Duration of the measurement in seconds.
        stop: The caller sets it to interrupt the measurement.

    Raises:
        RemoteError: The measurement fails, or reaches its time limit.
    """
    folder = f'"$HOME"/{FOLDER}/runs/{uuid.uuid4().hex[:16]}'
    script = f"echo $$ > {folder}/pid; exec {command} --out {folder}/result.json"
    # A retry after a lost connection must not start a second measurement. mkdir prevents that: it fails if the folder
    # exists.
    remote.run(
        f'mkdir -p "$HOME"/{FOLDER}/runs; mkdir {folder} 2>/dev/null && '
        f"{{ (nohup sh -c {shlex.quote(script)} > {folder}/output 2>&1 < /dev/null; echo $? > {folder}/code) "
        "> /dev/null 2>&1 & }; true"
    )
    code = _wait(remote, folder, PATIENCE * seconds + GRACE_S, stop)
    if code not in ("0", str(INTERRUPTED), str(NOT_VALID)):
        output = remote.run(f"cat {folder}/output || true")
        lines = [line for line in output.splitlines() if line.strip()]
        msg = f"{remote.name}: {lines[-1][:300] if lines else f'exit code {code}'}"
        raise RemoteError(msg)
    data = remote.run(f"cat {folder}/result.json", timeout_s=GRACE_S).encode()
    with tempfile.TemporaryDirectory() as local:
        path = Path(local) / "result.json"
        path.write_bytes(data)
        result = results.read(path)
    remote.run(f"rm -rf {folder}")
    return msgspec.structs.replace(result, host=msgspec.structs.replace(result.host, name=remote.name))


def _wait(remote: Remote, folder: str, limit_s: float, stop: threading.Event) -> str:
    """Wait until the measurement ends, and return its exit code. If `stop` is set, interrupt the measurement.

    Args:
        remote: The machine.
        folder: Folder of the measurement on the machine.
        limit_s: Time limit in seconds.
        stop: The caller sets it to interrupt the measurement.

    Raises:
        RemoteError: The time limit is reached.
    """
    deadline, stopped = time.monotonic() + limit_s, False
    while not (code := remote.run(f"cat {folder}/code 2>/dev/null || true").strip()):
        if time.monotonic() > deadline:
            remote.run(f"kill -KILL $(cat {folder}/pid)", check=False)
            msg = f"{remote.name}: the measurement did not end within {limit_s:.0f} s"
            raise RemoteError(msg)
        if stopped:
            time.sleep(POLL_S)
        elif stop.wait(POLL_S):
            # After this signal the measurement writes its samples and ends.
            remote.run(f"kill -TERM $(cat {folder}/pid)", check=False)
            stopped, limit_s, deadline = True, STOP_S, time.monotonic() + STOP_S
    return code
