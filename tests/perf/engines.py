"""Compare the latency, memory and start-up time of engines. Each engine runs in a separate process.

`python tests/perf/engines.py road convnet.orilla --python openvino=ENV/bin/python --python tflite=ENV/bin/python`

In each round, every available engine runs once, so that a disturbance affects all engines alike. `--python NAME=PATH`
adds the engines of another environment that contains the project's wheel (`make test-engines` creates two). For each
round, the median latency is computed; the table shows the median, minimum and maximum of these values. Memory is the
growth of the process's memory from just before the engine is imported until after the inferences. Start is the time
from just before the import until the first answer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CACHED = "compiled, weight cache"
"""Name of an engine that exists only in this script: LiteRT's CompiledModel API with a file in which XNNPACK caches its
packed weights."""


def child(engine: str, where: str, variant: str, threads: int, seconds: float) -> dict[str, float]:
    """Run a variant on an engine in this process."""
    from orilla.devices.process import memory_mib
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.golden import read_frames
    from orilla.runtime.engines import loader

    if engine == CACHED:
        use_weight_cache()
        engine = "compiled"
    bundle = Bundle.open(where)
    frames = [frame.prepared for frame in read_frames(bundle)]
    before, began = memory_mib(), time.perf_counter()
    session = loader.load(bundle, bundle.manifest.variant(variant), engine=engine, threads=threads)
    session.run(frames[0])
    start_ms = (time.perf_counter() - began) * 1e3
    times, ends = [], time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < 20:
        at = time.perf_counter_ns()
        session.run(frames[len(times) % len(frames)])
        times.append((time.perf_counter_ns() - at) / 1e6)
    grown = memory_mib() - before
    session.close()
    warm = times[len(times) // 5 :]
    p90 = statistics.quantiles(warm, n=10)[-1]
    return {"p50": statistics.median(warm), "p90": p90, "memory": grown, "start": start_ms, "name": session.engine}


def use_weight_cache() -> None:
    import tempfile

    from ai_edge_litert import compiled_model

    real, path = compiled_model.CpuOptions, Path(tempfile.gettempdir(), f"orilla-weights-{os.getpid()}")
    compiled_model.CpuOptions = lambda **options: real(**options, xnnpack_weight_cache_path=str(path))


def ask(python: str, *words: object) -> dict[str, float]:
    command = [python, __file__, "--child", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        message = (line.strip() for line in ended.stderr.splitlines())
        lines = [line for line in message if line and not line.startswith(("INFO", "WARNING"))]
        msg = f"{words[0]} of {words[1]}: {lines[-1] if lines else ended.returncode}"
        raise SystemExit(msg) from None


def variants_of(where: str) -> dict[str, str]:
    """Return the default variant of the bundle, and the variant with the same precision in the other file format."""
    from orilla.runtime.bundle.bundle import Bundle

    manifest = Bundle.open(where).manifest
    chosen = {manifest.variant(manifest.default).format: manifest.default}
    for variant in sorted(manifest.variants, key=lambda candidate: manifest.files[candidate.file].size):
        chosen.setdefault(variant.format, variant.name)
    return chosen


def main() -> None:
    from orilla.runtime.engines import registry

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", default=["road", "convnet", "mobilenet", "sentiment"])
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PATH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    from orilla.devices.detect import detect

    pythons = dict.fromkeys(("litert", "compiled", CACHED, "onnx"), sys.executable)
    pythons |= {name: path for name, _, path in (run.partition("=") for run in arguments.python)}
    print(f"{detect()}; {arguments.threads} thread(s), {arguments.rounds} rounds of {arguments.seconds:g} s\n")
    print("| model | variant | engine | p50 ms | of litert | p90 ms | MiB | start ms |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for where in arguments.bundles:
        chosen = variants_of(where)
        rows: dict[str, list[dict[str, float]]] = {}
        reasons: dict[str, str] = {}
        for _ in range(arguments.rounds):
            for engine, python in pythons.items():
                file_format = registry.ENGINES["compiled" if engine == CACHED else engine].format
                if file_format not in chosen or engine in reasons:
                    continue
                try:
                    results = ask(python, engine, where, chosen[file_format], arguments.threads, arguments.seconds)
                except SystemExit as failure:
                    reasons[engine] = str(failure)
                    continue
                rows.setdefault(engine, []).append(results)
        base = statistics.median(run["p50"] for run in rows["litert"])
        for engine, results in rows.items():
            file_format = registry.ENGINES["compiled" if engine == CACHED else engine].format
            p50, p90, memory, start = (
                statistics.median(run[key] for run in results) for key in ("p50", "p90", "memory", "start")
            )
            spread = f"{min(run['p50'] for run in results):.2f}-{max(run['p50'] for run in results):.2f}"
            name = f"{engine} ({results[0]['name']})"
            print(
                f"| {Path(where).stem} | {chosen[file_format]} | {name} | {p50:.2f} ({spread}) "
                f"| {p50 / base:.2f} | {p90:.2f} | {memory:.1f} | {start:.0f} |"
            )
        for engine, reason in reasons.items():
            print(f"| {Path(where).stem} | | {engine} | {reason.split(': ', 1)[-1][:90]} | | | | |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        engine, where, variant, threads, seconds = sys.argv[2:]
        print(json.dumps(child(engine, where, variant, int(threads), float(seconds))))
    else:
        main()
