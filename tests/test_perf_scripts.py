"""The benchmark scripts run and print what they promise. Their figures are not asserted."""

import json
import subprocess
import sys
from pathlib import Path

from helpers import factories

SCRIPTS = Path(__file__).parent / "perf"


def document(script, *words):
    command = [sys.executable, str(SCRIPTS / script), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_loop(tiny_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 30, (90, 120))
    found = document("loop.py", "--bundle", tiny_bundle, "--clip", clip, "--rounds", 2)
    assert set(found["stages_ms"]) == {"capture", "prepare", "infer", "decode", "sink"}
    assert found["bound_fps"] > 0
    assert found["fps"] > 0
    assert 0 < found["spread"][0] <= found["bound_ratio"] <= found["spread"][1]


def test_start(tiny_bundle):
    assert document("start.py", "--bundle", tiny_bundle, "--rounds", 1)["ratio"] > 0


def test_live():
    found = document("live.py", "--seconds", 3, "--infer-ms", 40)
    assert set(found["dropped"]) <= {"superseded", "unconsumed"}
    assert found["orilla_ms"]["p50"] <= found["orilla_by_clock_ms"]["p50"]
    assert found["naive_ms"]["p50"] > 0


def test_overhead(tiny_bundle):
    assert document("overhead.py")["overhead_ms"] > 0
    assert document("overhead.py", "--bundle", tiny_bundle, "--growth", 1100)["at_end_mib"] > 10


def test_export(tiny_run):
    found = document("export.py", tiny_run, "--recipes", "litert_fp32,litert_wi8_ai8")["exports"][0]
    assert found["variants"] == 2
    assert found["recommended"] in ("litert_fp32", "litert_wi8_ai8")
    assert 0 < found["making_seconds"] < found["seconds"]
    assert found["peak_mib"] > found["float_mib"]


def test_recurrent_layers():
    found = document("export.py", "--rounds", 1)["recurrent"]
    assert {(one["layer"], one["form"]) for one in found} >= {("LSTM", "fused"), ("GRU", "onnx")}
    assert max(one["parity"] for one in found) <= 1e-5
