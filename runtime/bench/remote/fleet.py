"""Benchmark other machines: `orilla bench run BUNDLE --host ssh://…`.

Each machine receives what it lacks, runs doctor and verify, measures, and returns its result.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError, OrillaError
from orilla.runtime.bench import result as results
from orilla.runtime.bench.reference_workload import PATIENCE
from orilla.runtime.bench.remote.ssh import Remote, RemoteError
from orilla.runtime.bench.remote.wheel import ONNX, REQUIREMENTS, wheel
from orilla.runtime.bench.result import Result
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import loader

FOLDER = ".cache/orilla/remote"
"""Folder for all files on the other machine, relative to the home folder."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a command that was interrupted. Its result contains the samples so far."""

NEEDED_KIB = 800 << 10
"""Disk space of an environment with numpy, OpenCV and LiteRT, KiB."""

MARK = "orilla-lacks:"
CHECK = """
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
def old(wanted):
    name, _, least = wanted.partition(">=")
    try:
        return [int(n) for n in re.findall("[0-9]+", version(name))[:2]] < [int(n) for n in least.split(".")]
    except PackageNotFoundError:
        return False
print({mark!r}, *[n for n, wanted in {needed!r}.items() if find_spec(n) is None or old(wanted)])
"""
"""Script that prints the missing packages. A package of another distribution counts as present."""

PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
INSTALL_S = 1800.0
POLL_S = 1.0
STOP_S = 30.0
"""Time in which an interrupted run must write its result, seconds."""

GRACE_S = 600.0
"""Additional time for slow and emulated machines, seconds."""


@dataclass
class HostReport:
    """Outcome of one machine."""

    name: str
    result: Result | None = None
    error: str | None = None
    findings: list[str] = field(default_factory=list)
    """Warnings of doctor and results of verify."""
    sent: list[str] = field(default_factory=list)
    """Items that had to be sent."""


@dataclass(frozen=True, slots=True)
class Order:
    """Work that is the same for all machines."""

    bundle: Bundle
    data: bytes
    """The bundle as one file."""
    wheel: bytes
    wheels: dict[str, bytes]
    """Wheels for machines without a network."""
    words: list[str]
    """Options of `orilla bench run`."""
    seconds: float
    needs_onnx: bool
    stop: threading.Event = field(default_factory=threading.Event)
    """Event that an interrupt of this process sets."""


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """A benchmark on other machines."""

    hosts: tuple[str, ...]
    """Machines, `ssh://[USER@]HOST[:PORT]` each."""
    bundle: str
    scenario: str
    seconds: float
    variant: str | None = None
    engine: str | None = None
    threads: int | None = None
    streams: int | None = None
    source: str | None = None
    policy: str | None = None
    soak: bool = False
    wheels: Path | None = None
    """Folder with wheels for machines without a network."""


def bench_on(plan: RemotePlan, note: Callable[[str], None]) -> tuple[list[HostReport], bool]:
    """Measure on all machines at once.

    Args:
        plan: The benchmark.
        note: Function that receives a line for each step. Several threads call it.

    Returns:
        A report per machine, and True if the measurement was interrupted.

    Raises:
        ConfigError: The plan cannot be carried out.
    """
    if plan.source is not None and Path(plan.source).exists():
        msg = f"source {plan.source} is a file on this machine: give one of the other machine, or scenes"
        raise ConfigError(msg)
    remotes = [Remote(url, note) for url in plan.hosts]
    if len({remote.name for remote in remotes}) < len(remotes):
        msg = "host names the same machine twice, and both runs would disturb each other"
        raise ConfigError(msg)
    order = _order(plan)
    with ThreadPoolExecutor(len(remotes)) as pool:
        runs = [pool.submit(_try, remote, order, note) for remote in remotes]
        try:
            wait(runs)
        except KeyboardInterrupt:
            note("interrupted: fetching the samples so far")
            order.stop.set()
        return [run.result() for run in runs], order.stop.is_set()


def _order(plan: RemotePlan) -> Order:
    bundle = Bundle.open(plan.bundle)
    variant = loader.choose(bundle, plan.variant, plan.engine)
    words = ["--variant", variant.name, "--scenario", plan.scenario, "--seconds", str(plan.seconds)]
    for option in ("engine", "threads", "streams", "source", "policy"):
        if (value := getattr(plan, option)) is not None:
            words += [f"--{option}", str(value)]
    words += ["--soak"] if plan.soak else []
    paths = sorted(plan.wheels.glob("*.whl")) if plan.wheels else []
    wheels = {path.name: path.read_bytes() for path in paths}
    if plan.wheels and not wheels:
        msg = f"wheels {plan.wheels}: the folder contains no wheel"
        raise ConfigError(msg)
    needs_onnx = (plan.engine or variant.engine).startswith("onnx")
    return Order(bundle, _packed(bundle), wheel(), wheels, words, plan.seconds, needs_onnx)


def _packed(bundle: Bundle) -> bytes:
    """Pack a bundle into one file."""
    if bundle.path.is_file():
        return bundle.path.read_bytes()
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{bundle.path.name}.orilla"
        bundles.write(path, bundle.manifest, files)
        return path.read_bytes()


def _try(remote: Remote, order: Order, say: Callable[[str], None]) -> HostReport:
    report = HostReport(remote.name)
    try:
        _bench(remote, order, report, say)
    except OrillaError as error:
        report.error = str(error).removeprefix(f"{remote.name}: ")
    return report


def _bench(remote: Remote, order: Order, report: HostReport, say: Callable[[str], None]) -> None:
    """Run all steps on one machine."""
    python = _python(remote)
    code = f"{FOLDER}/code-{hashlib.sha256(order.wheel).hexdigest()[:16]}"
    if remote.run(f'test -f "$HOME"/{code}/.ready && echo yes || true').strip() != "yes":
        say(f"{remote.name}: sending orilla ({len(order.wheel) >> 10} KiB)")
        remote.send(order.wheel, f"{code}.whl")
        unpacked = f'"$HOME"/{code}'
        remote.run(f"{python} -m zipfile -e {unpacked}.whl {unpacked} && touch {unpacked}/.ready")
        report.sent.append("orilla")
    python = _environment(remote, python, order, report, say)
    digest = hashlib.sha256(order.data).hexdigest()[:16]
    where = f"{FOLDER}/{digest}/{order.bundle.path.stem}.orilla"
    if remote.send(order.data, where):
        report.sent.append("bundle")
    run = f'env PYTHONPATH="$HOME"/{code}${{PYTHONPATH:+:$PYTHONPATH}} {python} -m orilla.runtime.cli'
    there = f'"$HOME"/{shlex.quote(where)}'
    _check_stop(order)
    say(f"{remote.name}: doctor and verify")
    report.findings += _doctor(remote, run)
    variant = order.words[1]
    engine = order.words[order.words.index("--engine") + 1 :][:1] if "--engine" in order.words else []
    _verify(remote, f"{run} verify {there} --variant {shlex.quote(variant)}", engine)
    _check_stop(order)
    say(f"{remote.name}: measuring")
    report.result = _measure(remote, f"{run} bench run {there} {shlex.join(order.words)}", order)


def _check_stop(order: Order) -> None:
    if order.stop.is_set():
        msg = "interrupted before the measurement"
        raise RemoteError(msg)


def _python(remote: Remote) -> str:
    """Return the command of a Python there that is new enough."""
    tell = "import sys; print('%d.%d' % sys.version_info[:2])"
    script = "; ".join(f'command -v {name} >/dev/null && echo {name} $({name} -c "{tell}")' for name in PYTHONS)
    found = dict(line.split() for line in remote.run(f"{script}; true").splitlines() if len(line.split()) == 2)
    for name, version in found.items():
        if (numbers := re.fullmatch(r"(\d+)\.(\d+)", version)) and (int(numbers[1]), int(numbers[2])) >= (3, 11):
            return name
    summary = f"found {', '.join(sorted(set(found.values())))}" if found else "found none"
    msg = f"{remote.name}: needs Python 3.11 or newer, {summary}: sudo apt install python3"
    raise RemoteError(msg)


def _environment(remote: Remote, python: str, order: Order, report: HostReport, say: Callable[[str], None]) -> str:
    """Return a Python there with all packages: its own, or one in a new environment."""
    needed = {**REQUIREMENTS, **(ONNX if order.needs_onnx else {})}
    own = f'"$HOME"/{FOLDER}/env/bin/python'
    for candidate in (python, own):
        if not (missing := _missing(remote, candidate, needed)):
            return candidate
    home = remote.run('df -Pk "$HOME" | tail -n 1').split()
    if len(home) > 3 and home[3].isdigit() and int(home[3]) < NEEDED_KIB:
        free = int(home[3]) >> 10
        msg = f"{remote.name}: {free} MiB are free, but an environment needs {NEEDED_KIB >> 10}: free some space"
        raise RemoteError(msg)
    say(f"{remote.name}: installing {', '.join(needed[name] for name in missing)}")
    offline = ""
    for name, data in order.wheels.items():
        remote.send(data, f"{FOLDER}/wheels/{name}")
        offline = '--no-index --find-links "$HOME"/' + f"{FOLDER}/wheels"
    made = remote.run(
        f'test -x {own} || {python} -m venv --system-site-packages "$HOME"/{FOLDER}/env 2>&1 || echo NO VENV',
        timeout_s=INSTALL_S,
    )
    if "NO VENV" in made:
        msg = f"{remote.name}: cannot create an environment: sudo apt install python3-venv"
        raise RemoteError(msg)
    wanted = shlex.join(needed.values())
    remote.run(f"{own} -m pip install --quiet --disable-pip-version-check {offline} {wanted}", timeout_s=INSTALL_S)
    report.sent.append("environment")
    return own


def _missing(remote: Remote, python: str, needed: dict[str, str]) -> list[str]:
    """Return the packages that a Python there lacks or has in too old a version; all if there is no such Python."""
    code = CHECK.format(needed=needed, mark=MARK)
    said = remote.run(f"{python} -c {shlex.quote(code)} 2>/dev/null || true")
    lines = [line.removeprefix(MARK) for line in said.splitlines() if line.startswith(MARK)]
    return [name for name in needed if name in lines[-1].split()] if lines else list(needed)


def _doctor(remote: Remote, run: str) -> list[str]:
    """Return the problems that doctor finds there. They do not stop the measurement."""
    said = remote.run(f"{run} doctor --json", timeout_s=GRACE_S, check=False)
    try:
        found = json.loads(said)["findings"]
    except (ValueError, KeyError, TypeError):
        return ["doctor gave no answer"]
    return [f"{one['level']}: {one['name']}: {one['detail']}" for one in found if one.get("level") != "ok"]


def _verify(remote: Remote, command: str, engine: list[str]) -> None:
    """Verify the bundle there. A bundle that computes something else is not measured."""
    words = f" --engine {shlex.quote(engine[0])}" if engine else ""
    said = remote.run(f"{command}{words} --json 2>&1", timeout_s=GRACE_S, check=False)
    begins = said.find("{")
    try:
        document = json.JSONDecoder().raw_decode(said[begins:])[0] if begins >= 0 else {}
    except ValueError:
        document = {}
    if document.get("verdict") == "pass":
        return
    details = [
        f"{one['variant']}: {stage['name']}: {stage['detail']}"
        for one in document.get("variants", ())
        for stage in one["stages"]
        if not stage["passed"]
    ]
    details += [line for line in said.splitlines()[-1:] if line.strip()]
    msg = f"{remote.name}: verify fails there: {details[0] if details else 'no answer'}"
    raise RemoteError(msg)


def _measure(remote: Remote, command: str, order: Order) -> Result:
    """Measure there, independently of the connection. After a lost connection, wait again."""
    run = f"{FOLDER}/runs/{uuid.uuid4().hex[:16]}"
    at = f'"$HOME"/{run}'
    job = f"echo $$ > {at}/pid; exec {command} --out {at}/result.json"
    # A second start of the same run does nothing, because its folder exists.
    remote.run(
        f'mkdir -p "$HOME"/{FOLDER}/runs; mkdir {at} 2>/dev/null && '
        f"{{ (nohup sh -c {shlex.quote(job)} > {at}/said 2>&1 < /dev/null; echo $? > {at}/code) > /dev/null 2>&1 & }}; "
        "true"
    )
    limit = PATIENCE * order.seconds + GRACE_S
    ends = time.monotonic() + limit
    stopped = False
    while not (code := remote.run(f"cat {at}/code 2>/dev/null || true").strip()):
        if time.monotonic() > ends:
            remote.run(f"kill -KILL $(cat {at}/pid)", check=False)
            msg = f"{remote.name}: no result after {limit:.0f} s"
            raise RemoteError(msg)
        if order.stop.wait(POLL_S) and not stopped:  # the run writes its samples so far and ends by itself
            remote.run(f"kill -TERM $(cat {at}/pid)", check=False)
            stopped, limit, ends = True, STOP_S, time.monotonic() + STOP_S
        elif stopped:
            time.sleep(POLL_S)
    if code not in ("0", str(INTERRUPTED)):
        said = [line for line in remote.run(f"cat {at}/said || true").splitlines() if line.strip()]
        msg = f"{remote.name}: {said[-1][:300] if said else f'exit code {code}'}"
        raise RemoteError(msg)
    data = remote.run(f"cat {at}/result.json", timeout_s=GRACE_S).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        path.write_bytes(data)
        found = results.read(path)
    remote.run(f"rm -rf {at}")
    return msgspec.structs.replace(found, host=msgspec.structs.replace(found.host, name=remote.name))
