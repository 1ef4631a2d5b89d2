"""A benchmark's result: raw times, the machine, the engine and the bundle, as one JSON document of a version."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bench.monitor import Second
from orilla.runtime.bench.reference_workload import ExcludedInterval, Interference, outside
from orilla.runtime.bench.samples import Summary, summarise
from orilla.runtime.bench.warmup import WarmUp
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant, encode
from orilla.runtime.evaluation.accuracy import Accuracy
from orilla.runtime.files import make_folder, write_bytes

SCHEMA = 1
"""The version that this reader understands."""

Scenario = Literal["single-stream", "multi-stream", "offline", "loop"]

HEADLINE = {"single-stream": "infer", "multi-stream": "query", "offline": "sample", "loop": "age"}
"""Of each scenario, the times that its verdict is about."""


class BenchmarkSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured."""

    bundle: str
    sha256: str
    """Of the bundle's manifest, which holds the hashes of all its files."""
    variant: str
    engine: str
    """As `--engine` takes it."""
    engine_version: str
    threads: int
    scenario: Scenario
    streams: int = 1
    """Frames of one query."""
    source: str | None = None
    """Of the loop."""
    policy: str | None = None


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it was measured."""

    identity: str
    """Board and processor: results of one identity may be compared and merged."""
    description: str
    cores: int
    python: str
    orilla: str
    packages: dict[str, str]
    """Versions of the engines."""
    governor: str | None = None
    name: str | None = None
    """The host's, where it was asked over the network."""


class ColdStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Start-up and memory, in a process of its own."""

    start_ms: float
    """From before the engine is imported to the first answer."""
    load_ms: float
    """Of it, until the variant is loaded."""
    memory_mib: float | None
    """What the process has grown by at its peak, from before the engine is imported; None where nothing tells."""
    peak_mib: float | None
    """Resident memory of the whole process at its peak."""


class Soak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Burst against sustained."""

    burst: Summary
    """The first ten seconds."""
    sustained: Summary
    """The last minute."""
    steady: bool
    """Whether the end was a thermal steady state."""
    steady_after_s: float | None
    judged_by: str
    """Temperature, or, where no sensor is, the times alone."""
    slowdown: float
    """Sustained p50 by burst p50."""


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run."""

    schema: int
    created: str
    """UTC, ISO 8601."""
    subject: BenchmarkSubject
    host: Host
    seconds: float
    """That the samples were taken over, by the monotonic clock."""
    complete: bool
    """Whether it ran to its end; an interrupted one keeps what it had."""
    valid: bool
    """Whether nothing disturbed it."""
    invalid: tuple[str, ...]
    """What did."""
    notes: tuple[str, ...]
    warm_up: WarmUp
    samples_ms: dict[str, list[float]]
    """Raw, in their order, by stage; `at_s` says when each began."""
    at_s: list[float]
    summary: dict[str, Summary]
    per_second: float
    """Frames answered a second."""
    cpu_ms: float
    """Processor time for each frame."""
    peak_mib: float | None
    cold: ColdStart | None
    timeline: tuple[Second, ...]
    joules: float | None = None
    energy_source: str | None = None
    accuracy: Accuracy | None = None
    soak: Soak | None = None
    drops: dict[str, int] = {}
    """Frames that the loop gave up, by reason."""
    company: Interference | None = None
    """What the yardstick told; None of a loop, beside whose threads there is none."""
    aside: tuple[ExcludedInterval, ...] = ()
    """Stretches of time in which the machine was slower; `summary` is of the other samples."""

    def kept(self, stage: str) -> list[float]:
        """The times of a stage that are not set aside."""
        return kept(self.samples_ms[stage], self.at_s, self.aside)

    @property
    def headline(self) -> str:
        """The stage that its verdict is about."""
        return HEADLINE[self.subject.scenario]

    @property
    def main(self) -> Summary:
        """Of the headline."""
        return self.summary[self.headline]

    @property
    def meets_mlperf(self) -> bool:
        """Whether queries and duration are those of a single-stream run of MLPerf."""
        from orilla.runtime.bench.samples import MLPERF_QUERIES, MLPERF_SECONDS

        return self.main.count >= MLPERF_QUERIES and self.seconds >= MLPERF_SECONDS


def kept(times: list[float], at_s: Sequence[float], aside: Sequence[ExcludedInterval]) -> list[float]:
    """The times that are not set aside; all of them, where none would be left."""
    if not aside:
        return times
    return [time for time, stays in zip(times, outside(at_s, aside), strict=True) if stays] or times


def benchmark_subject(
    bundle: Bundle, variant: Variant, engine: str, engine_version: str, threads: int, scenario: Scenario, **more: object
) -> BenchmarkSubject:
    """Names what is measured."""
    digest = hashlib.sha256(encode(bundle.manifest)).hexdigest()
    return BenchmarkSubject(
        bundle.path.stem,
        digest,
        variant.name,
        engine,
        engine_version,
        threads,
        scenario,
        **more,  # type: ignore[arg-type]
    )


def this_host() -> Host:
    """This machine, as a result names it."""
    from importlib.metadata import PackageNotFoundError, version

    from orilla.devices.detect import detect, identity

    machine = detect()
    try:
        orilla = version("orilla")
    except PackageNotFoundError:
        orilla = "unknown"
    return Host(
        identity(), str(machine), machine.cores, machine.python, orilla, dict(machine.engines), machine.governor
    )


def now() -> str:
    """The wall clock, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(path: Path, result: Result) -> None:
    """Writes a result, whole or not at all; raises `OutputError`."""
    write_bytes(path, msgspec.json.encode(result) + b"\n")


def read(path: Path) -> Result:
    """Reads one result.

    Raises:
        DataError: no result, a damaged one, one of a newer version, or one without samples.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error
    try:
        version = msgspec.json.decode(data, type=_Version).schema
        if version > SCHEMA:
            msg = f"{path} is of version {version}: this orilla reads {SCHEMA}; install a newer one"
            raise DataError(msg)
        found = msgspec.json.decode(data, type=Result)
    except msgspec.DecodeError as error:
        msg = f"{path} is no result of orilla bench: {error}"
        raise DataError(msg) from error
    times = found.samples_ms.get(found.headline)
    if not times:
        msg = f"{path} holds no samples: measure again"
        raise DataError(msg)
    whole = all(len(stage) == len(found.at_s) for stage in found.samples_ms.values())
    if not whole or found.headline not in found.summary or not min(times) > 0 or not math.isfinite(max(times)):
        msg = f"{path} is damaged: its samples don't fit each other; measure again"
        raise DataError(msg)
    # The samples are what was measured; a summary beside them is for other programs to read.
    summary = {stage: summarise(found.kept(stage)) for stage in found.samples_ms}
    return msgspec.structs.replace(found, summary=summary)


def read_all(path: Path) -> list[Result]:
    """The result in a file, or all those in a folder, oldest first; raises `DataError`."""
    if not path.is_dir():
        return [read(path)]
    found = [read(one) for one in sorted(path.glob("*.json"))]
    if not found:
        msg = f"{path} holds no results (*.json)"
        raise DataError(msg)
    return sorted(found, key=lambda one: one.created)


def merge(results: list[Result]) -> Result:
    """Several runs of the same thing on the same machine as one, in their order.

    Raises:
        ConfigError: runs of different machines, bundles, variants, engines or scenarios.
    """
    first = results[0]
    for other in results[1:]:
        if other.host.identity != first.host.identity:
            msg = f"runs on {first.host.identity} and on {other.host.identity} can't be merged"
            raise ConfigError(msg)
        if other.subject != first.subject:
            msg = f"runs of {describe(first.subject)} and of {describe(other.subject)} can't be merged"
            raise ConfigError(msg)
    if len(results) == 1:
        return first
    samples: dict[str, list[float]] = {}
    for result in results:
        for stage, times in result.samples_ms.items():
            samples.setdefault(stage, []).extend(times)
    counts = [result.main.count for result in results]
    total = sum(counts)
    offsets = [sum(result.seconds for result in results[:place]) for place in range(len(results))]
    at_s = [at + offset for result, offset in zip(results, offsets, strict=True) for at in result.at_s]
    aside = tuple(
        ExcludedInterval(one.from_s + offset, one.to_s + offset)
        for result, offset in zip(results, offsets, strict=True)
        for one in result.aside
    )
    return msgspec.structs.replace(
        first,
        created=results[-1].created,
        seconds=sum(result.seconds for result in results),
        complete=all(result.complete for result in results),
        valid=all(result.valid for result in results),
        invalid=tuple(dict.fromkeys(reason for result in results for reason in result.invalid)),
        samples_ms=samples,
        at_s=at_s,
        aside=aside,
        summary={stage: summarise(kept(times, at_s, aside)) for stage, times in samples.items()},
        per_second=sum(result.per_second * count for result, count in zip(results, counts, strict=True)) / total,
        cpu_ms=sum(result.cpu_ms * count for result, count in zip(results, counts, strict=True)) / total,
        peak_mib=max((result.peak_mib for result in results if result.peak_mib is not None), default=None),
    )


def describe(subject: BenchmarkSubject) -> str:
    """A subject in a few words."""
    threads = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
    return f"{subject.bundle} {subject.variant} on {subject.engine_version}, {threads}, {subject.scenario}"


def keep(folder: Path, result: Result) -> Path:
    """Adds a result to a history; returns its file."""
    make_folder(folder)
    subject = result.subject
    words = (subject.bundle, subject.variant, subject.engine, subject.scenario, result.created)
    name = re.sub(r"[^\w.-]+", "-", "_".join(words))
    path = folder / f"{name}.json"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}.json"
    write(path, result)
    return path


class _Version(msgspec.Struct):
    schema: int
