"""Benchmark other machines: `orilla bench run BUNDLE --host ssh://…`.

The code and the bundle are copied to each machine. The machine verifies the bundle and runs the benchmark, and then its
result is copied back.
"""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from orilla.devices.errors import ConfigError, OrillaError
from orilla.devices.names import without_secrets
from orilla.devices.progress import Progress
from orilla.runtime.bench.remote import job as jobs
from orilla.runtime.bench.remote.job import HostReport, Job
from orilla.runtime.bench.remote.ssh import Remote
from orilla.runtime.bench.remote.wheel import wheel
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """Settings of a benchmark on other machines."""

    hosts: tuple[str, ...]
    """URLs of the machines, in the form `ssh://[USER@]HOST[:PORT]`."""
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


def bench_on(plan: RemotePlan, progress: Progress) -> tuple[list[HostReport], bool]:
    """Run the benchmark on all machines at the same time.

    Args:
        plan: Settings of the benchmark.
        progress: Receives the progress.

    Returns:
        One report per machine, and whether the user interrupted the measurement.

    Raises:
        ConfigError: A setting is invalid.
    """
    if plan.source is not None and Path(plan.source).exists():
        name = without_secrets(plan.source)
        msg = f"source={name} is a file on this machine: state a source on the other machine, or `scenes`"
        raise ConfigError(msg)
    remotes = [Remote(url, progress) for url in plan.hosts]
    if len({remote.name for remote in remotes}) < len(remotes):
        msg = "two of the hosts are the same machine, so their measurements would disturb each other: list it only once"
        raise ConfigError(msg)
    job, stop = _job(plan), threading.Event()
    with ThreadPoolExecutor(len(remotes)) as pool:
        runs = [pool.submit(_report, remote, job, stop) for remote in remotes]
        try:
            wait(runs)
        except KeyboardInterrupt:
            progress.message("interrupted: fetching the samples measured so far")
            stop.set()
        return [run.result() for run in runs], stop.is_set()


def _job(plan: RemotePlan) -> Job:
    bundle = Bundle.open(plan.bundle)
    variant = loader.choose(bundle, plan.variant, plan.engine)
    paths = sorted(plan.wheels.glob("*.whl")) if plan.wheels else []
    if plan.wheels and not paths:
        msg = f"wheels={plan.wheels}: this folder contains no wheel (*.whl)"
        raise ConfigError(msg)
    return Job(
        name=bundle.path.stem,
        bundle=_packed(bundle),
        code=wheel(),
        wheels={path.name: path.read_bytes() for path in paths},
        variant=variant.name,
        engine=plan.engine,
        options=_options(plan),
        seconds=plan.seconds,
        needs_onnx=(plan.engine or default_engine(variant.format)).startswith("onnx"),
    )


def _options(plan: RemotePlan) -> tuple[str, ...]:
    """Return the options of `orilla bench run` on the other machine, except `--variant` and `--engine`."""
    values = {
        "scenario": plan.scenario,
        "seconds": plan.seconds,
        "threads": plan.threads,
        "streams": plan.streams,
        "source": plan.source,
        "policy": plan.policy,
    }
    words = [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]
    return (*words, "--soak") if plan.soak else tuple(words)


def _packed(bundle: Bundle) -> bytes:
    """Return the content of a bundle as one `.orilla` file."""
    if bundle.path.is_file():
        return bundle.path.read_bytes()
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{bundle.path.name}.orilla"
        bundles.write(path, bundle.manifest, files)
        return path.read_bytes()


def _report(remote: Remote, job: Job, stop: threading.Event) -> HostReport:
    report = HostReport(remote.name)
    try:
        jobs.run(remote, job, report, stop)
    except OrillaError as error:
        report.error = str(error).removeprefix(f"{remote.name}: ")
    return report
