"""The result of a benchmark. It contains the raw times, machine, engine and bundle, and is stored as versioned JSON."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.gate import MAX_JSON_BYTES, only_our_errors, read_file
from orilla.devices.text_files import json_bytes
from orilla.runtime.bench.monitor import Second
from orilla.runtime.bench.reference_workload import ExcludedInterval, Interference, outside
from orilla.runtime.bench.samples import Summary, summarise
from orilla.runtime.bench.warmup import WarmUp
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import encode
from orilla.runtime.evaluation.accuracy import Accuracy
from orilla.runtime.files import make_folder, write_bytes

SCHEMA = 2
"""Schema version that this reader understands."""

Scenario = Literal["single-stream", "multi-stream", "offline", "loop"]

HEADLINE = {"single-stream": "infer", "multi-stream": "query", "offline": "sample", "loop": "age"}
"""For each scenario, the stage whose times are compared."""


class BenchmarkSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subject of a measurement: the bundle, variant, engine, threads and scenario."""

    bundle: str
    sha256: str
    """SHA-256 of the bundle's manifest, which contains the hashes of all its files."""
    variant: str
    engine: str
    """Name of the engine, as listed by `orilla devices`."""
    engine_version: str
    threads: int
    scenario: Scenario
    streams: int = 1
    """Number of frames per query."""
    source: str | None = None
    """Source of the frames in the scenario `loop`. None in other scenarios."""
    policy: str | None = None


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine that a result was measured on."""

    identity: str
    """Names of board and processor. Results with the same identity can be compared and merged."""
    description: str
    cores: int
    python: str
    orilla: str
    packages: dict[str, str]
    """Version of each installed engine package."""
    governor: str | None = None
    name: str | None = None
    """Name of the machine if `orilla bench run --host` ran the measurement, else None."""


class ColdStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Start-up time and memory use, measured in a new process."""

    start_ms: float
    """Time in milliseconds from the import of the engine to the first output."""
    load_ms: float
    """Time in milliseconds from the import of the engine until the variant is loaded."""
    memory_mib: float | None
    """Peak resident memory minus the resident memory before the import of the engine, in MiB. None if unknown."""
    peak_mib: float | None
    """Peak resident memory of the whole process in MiB. None if unknown."""


class Soak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times at the start of a soak (burst) and at its end (sustained)."""

    burst: Summary
    """Times of the first ten seconds."""
    sustained: Summary
    """Times of the last minute."""
    steady: bool
    """True if the machine reached a thermal steady state."""
    steady_after_s: float | None
    judged_by: str
    """Readings that show the steady state: temperature and times, or only the times if there is no temperature
    sensor."""
    slowdown: float
    """Ratio of sustained p50 to burst p50."""


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Result of one run."""

    schema: int
    created: str
    """Time of the measurement in ISO 8601 format, UTC."""
    subject: BenchmarkSubject
    host: Host
    seconds: float
    """Duration of the measurement in seconds, by the monotonic clock."""
    complete: bool
    """False if the run was interrupted. The result then contains the samples up to the interrupt."""
    valid: bool
    """True if nothing disturbed the run."""
    invalid: tuple[str, ...]
    """Disturbances that make the result invalid. Empty if it is valid."""
    notes: tuple[str, ...]
    warm_up: WarmUp
    samples_ms: dict[str, list[float]]
    """Raw times of each stage in milliseconds, in the order of measurement. `at_s` contains the start time of each
    sample."""
    at_s: list[float]
    summary: dict[str, Summary]
    per_second: float
    """Number of frames processed per second."""
    cpu_ms: float
    """Processor time per frame in milliseconds."""
    peak_mib: float | None
    cold_start: ColdStart | None
    timeline: tuple[Second, ...]
    joules: float | None = None
    energy_source: str | None = None
    accuracy: Accuracy | None = None
    soak: Soak | None = None
    drops: dict[str, int] = {}
    """Number of frames that the loop dropped for each reason."""
    interference: Interference | None = None
    """Interference that the reference workload detected. None in the scenario `loop`, which runs no reference
    workload."""
    excluded: tuple[ExcludedInterval, ...] = ()
    """Excluded intervals. `summary` contains only the samples outside them."""

    def undisturbed(self, stage: str) -> list[float]:
        """Return the times of a stage outside the excluded intervals."""
        return undisturbed(self.samples_ms[stage], self.at_s, self.excluded)

    @property
    def headline(self) -> str:
        """Return the stage whose times are compared."""
        return HEADLINE[self.subject.scenario]

    @property
    def main(self) -> Summary:
        """Return the summary of the headline stage."""
        return self.summary[self.headline]

    @property
    def meets_mlperf(self) -> bool:
        """Return True if the number of queries and the duration meet the rules of MLPerf's single-stream scenario."""
        from orilla.runtime.bench.samples import MLPERF_QUERIES, MLPERF_SECONDS

        return self.main.count >= MLPERF_QUERIES and self.seconds >= MLPERF_SECONDS


def undisturbed(times: list[float], at_s: Sequence[float], excluded: Sequence[ExcludedInterval]) -> list[float]:
    """Return the times outside the excluded intervals, or all times if every time lies in an excluded interval."""
    if not excluded:
        return times
    return [time for time, stays in zip(times, outside(at_s, excluded), strict=True) if stays] or times


def bundle_digest(bundle: Bundle) -> str:
    """Return the SHA-256 (hex) of a bundle's manifest, which contains the hashes of all its files."""
    return hashlib.sha256(encode(bundle.manifest)).hexdigest()


def this_host() -> Host:
    """Return the properties of this machine."""
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
    """Return the current time in UTC, in ISO 8601 format."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write(path: Path, result: Result) -> None:
    """Write a result. If this fails, raise `OutputError` and leave no partial file."""
    write_bytes(path, msgspec.json.encode(result) + b"\n")


def read(path: Path) -> Result:
    """Read one result.

    Raises:
        DataError: The file is not a result, is damaged, has a newer schema version, or contains no samples.
    """
    with only_our_errors(path):
        return _checked(path, json_bytes(read_file(path, MAX_JSON_BYTES), str(path)))


def _checked(path: Path, data: bytes) -> Result:
    try:
        version = msgspec.json.decode(data, type=_Version).schema
        if version > SCHEMA:
            msg = f"{path} has schema version {version}, but this Orilla reads version {SCHEMA}: install a newer Orilla"
            raise DataError(msg)
        result = msgspec.json.decode(data, type=Result)
    except msgspec.DecodeError as error:
        msg = f"{path} is not a result of orilla bench: {error}"
        raise DataError(msg) from error
    times = result.samples_ms.get(result.headline)
    if not times:
        msg = f"{path} contains no samples: measure again"
        raise DataError(msg)
    whole = all(len(stage) == len(result.at_s) for stage in result.samples_ms.values())
    if not whole or result.headline not in result.summary or not min(times) > 0 or not math.isfinite(max(times)):
        msg = f"{path} is damaged: its samples are incomplete or invalid; measure again"
        raise DataError(msg)
    # The summary is computed again from the samples. The summary in the file is only for other programs.
    summary = {stage: summarise(result.undisturbed(stage)) for stage in result.samples_ms}
    return msgspec.structs.replace(result, summary=summary)


def read_all(path: Path) -> list[Result]:
    """Return the result in a file, or all results in a folder, oldest first. Raises `DataError`."""
    if not path.is_dir():
        return [read(path)]
    results = [read(result) for result in sorted(path.glob("*.json"))]
    if not results:
        msg = f"{path} contains no results (*.json)"
        raise DataError(msg)
    return sorted(results, key=lambda result: result.created)


def merge(results: list[Result]) -> Result:
    """Merge runs of the same subject on the same machine into one result.

    Raises:
        ConfigError: The runs differ in machine, bundle, variant, engine or scenario.
    """
    first = results[0]
    for result in results[1:]:
        if result.host.identity != first.host.identity:
            msg = f"runs on {first.host.identity} and on {result.host.identity} cannot be merged"
            raise ConfigError(msg)
        if result.subject != first.subject:
            msg = f"runs of {describe(first.subject)} and of {describe(result.subject)} cannot be merged"
            raise ConfigError(msg)
    if len(results) == 1:
        return first
    samples: dict[str, list[float]] = {}
    for result in results:
        for stage, times in result.samples_ms.items():
            samples.setdefault(stage, []).extend(times)
    counts = [result.main.count for result in results]
    total = sum(counts)
    offsets = [sum(result.seconds for result in results[:index]) for index in range(len(results))]
    at_s = [at + offset for result, offset in zip(results, offsets, strict=True) for at in result.at_s]
    excluded = tuple(
        ExcludedInterval(interval.from_s + offset, interval.to_s + offset)
        for result, offset in zip(results, offsets, strict=True)
        for interval in result.excluded
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
        excluded=excluded,
        summary={stage: summarise(undisturbed(times, at_s, excluded)) for stage, times in samples.items()},
        per_second=sum(result.per_second * count for result, count in zip(results, counts, strict=True)) / total,
        cpu_ms=sum(result.cpu_ms * count for result, count in zip(results, counts, strict=True)) / total,
        peak_mib=max((result.peak_mib for result in results if result.peak_mib is not None), default=None),
    )


def describe(subject: BenchmarkSubject) -> str:
    """Return a short description of a subject."""
    threads = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
    return f"{subject.bundle} {subject.variant} on {subject.engine_version}, {threads}, {subject.scenario}"


def keep(folder: Path, result: Result) -> Path:
    """Write a result to a folder of results, and return the path of its file."""
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
