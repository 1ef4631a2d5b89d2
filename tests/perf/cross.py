"""Compare `orilla bench` with other tools: `python tests/perf/cross.py [BUNDLE…] [--rounds 5]`.

The following programs run the same model files with one thread, interleaved:

- Orilla's single-stream scenario
- `benchmark_litert_model`, which is in LiteRT's wheel and uses LiteRT's CompiledModel API
- a bare loop over ONNX Runtime
- MLPerf's LoadGen (`pip install mlcommons-loadgen`) with Orilla's session

The medians should differ by at most 5 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

BOUND = 0.05


def orilla(where: str, variant: str, engine: str, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "r.json"
        words = [
            "bench",
            "run",
            where,
            "--variant",
            variant,
            "--engine",
            engine,
            "--threads",
            "1",
            "--seconds",
            str(seconds),
        ]
        command = [sys.executable, "-m", "orilla.runtime.cli", *words, "--out", str(out)]
        ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        assert ended.returncode in (0, 3), command  # 3: the machine was disturbed
        return json.loads(out.read_text())["summary"]["infer"]["percentiles"][0]["ms"]


def litert(path: Path, seconds: float, expected_ms: float) -> float:
    """Run the benchmark tool in LiteRT's wheel, which uses LiteRT's CompiledModel API."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "r.json"
        runs = {"num_runs": max(50, int(seconds * 1e3 / expected_ms)), "warmup_runs": 100, "num_threads": 1}
        words = [f"--model={path}", f"--result_json={out}", *(f"--{name}={value}" for name, value in runs.items())]
        command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", *words]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads(out.read_text())["latency"]["median_ms"]


def onnx(path: Path, seconds: float, _: float) -> float:
    """Time a bare loop over ONNX Runtime. ONNX Runtime's own profiler would slow the road network by a fifth."""
    code = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
kind = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}[given.type]
frame = np.random.default_rng(0).integers(0, 255, given.shape).astype(kind)
times, ends = [], time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < ends:
    began = time.perf_counter_ns()
    session.run(None, {given.name: frame})
    times.append(time.perf_counter_ns() - began)
print(json.dumps(times[len(times) // 5 :]))
"""
    words = [sys.executable, "-c", code, str(path), str(seconds)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    return statistics.median(json.loads(ended.stdout.splitlines()[-1])) / 1e6


LOADGEN = """
import json, sys
import mlperf_loadgen as loadgen
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import loader
from orilla.runtime.bundle.golden import read_frames
bundle = Bundle.open(sys.argv[1])
session = loader.load(bundle, bundle.manifest.variant(sys.argv[2]), threads=1)
known = [one.prepared for one in read_frames(bundle)]
def issue(samples):
    for sample in samples:
        session.run(known[sample.index % len(known)])
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])
system = loadgen.ConstructSUT(issue, lambda: None)
library = loadgen.ConstructQSL(len(known), len(known), lambda ids: None, lambda ids: None)
settings = loadgen.TestSettings()
settings.scenario = loadgen.TestScenario.SingleStream
settings.mode = loadgen.TestMode.PerformanceOnly
settings.min_duration_ms = int(1000 * float(sys.argv[3]))
settings.min_query_count = 100
output = loadgen.LogOutputSettings()
output.outdir = sys.argv[4]
log = loadgen.LogSettings()
log.log_output = output
loadgen.StartTestWithLogSettings(system, library, settings, log)
"""


def loadgen(where: str, variant: str, seconds: float, _: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", LOADGEN, where, variant, str(seconds), folder]
        subprocess.run(words, check=True, capture_output=True)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    return float(re.findall(r"50.00 percentile latency \(ns\)\s*: (\d+)", summary)[0]) / 1e6


def compare(message: str, ours: Callable[[], float], theirs: Callable[[float], float], rounds: int) -> float:
    """Measure both programs in turn and print one row. Return the median ratio over all rounds."""
    pairs = []
    for _ in range(rounds):
        own = ours()
        pairs.append((own, theirs(own)))
    ratio = statistics.median(reference / own for own, reference in pairs)
    own, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"| {message} | {own:.3f} | {reference:.3f} | {ratio:.3f} |", flush=True)
    return abs(ratio - 1)


def rows(where: str, folder: Path, seconds: float, rounds: int) -> list[float]:
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines.registry import default_engine

    bundle, off = Bundle.open(where), []
    for variant in bundle.manifest.variants:
        path = folder / Path(variant.file).name
        path.write_bytes(bundle.read(variant.file))
        name = f"{Path(where).stem} | {variant.name}"
        engines = ("litert", "compiled", "onnx")
        ours = {engine: partial(orilla, where, variant.name, engine, seconds) for engine in engines}
        if variant.format == "tflite":
            tool = partial(litert, path, seconds)
            off.append(compare(f"{name} | benchmark_litert_model", ours["compiled"], tool, rounds))
        else:
            tool = partial(onnx, path, seconds)
            off.append(compare(f"{name} | a bare loop over ONNX Runtime", ours["onnx"], tool, rounds))
        if importlib.util.find_spec("mlperf_loadgen") is not None:
            driven = partial(loadgen, where, variant.name, seconds)
            off.append(compare(f"{name} | LoadGen", ours[default_engine(variant.format)], driven, rounds))
    return off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", default=["road", "mobilenet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    from orilla.devices.detect import detect

    print(f"{detect()}; one thread, medians of {arguments.rounds} rounds of {arguments.seconds:g} s\n")
    print("| model | variant | other tool | orilla bench, p50 ms | other tool | ratio |")
    print("|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        off = [
            row for where in arguments.bundles for row in rows(where, Path(folder), arguments.seconds, arguments.rounds)
        ]
    if importlib.util.find_spec("mlperf_loadgen") is None:
        print("LoadGen is not installed: pip install mlcommons-loadgen")
    print(f"worst {100 * max(off):.1f} % (bound {100 * BOUND:g} %)")
    sys.exit(max(off) > BOUND)


if __name__ == "__main__":
    main()
