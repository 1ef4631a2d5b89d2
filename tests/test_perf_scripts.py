"""The benchmark scripts run, and print the figures that the documentation lists. The test does not check the values."""

import json
import subprocess
import sys
from pathlib import Path

from helpers import factories
from helpers.regressions import regression_bundle

SCRIPTS = Path(__file__).parent / "perf"


def document(script, *words):
    command = [sys.executable, str(SCRIPTS / script), *map(str, words), "--json"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def test_loop(tiny_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 30, (90, 120))
    result = document("loop.py", "--bundle", tiny_bundle, "--clip", clip, "--rounds", 2)
    assert set(result["stages_ms"]) == {"capture", "prepare", "infer", "decode", "sink"}
    assert result["bound_fps"] > 0
    assert result["fps"] > 0
    assert 0 < result["spread"][0] <= result["bound_ratio"] <= result["spread"][1]
    assert document("loop.py", "--clip", clip, "--rounds", 1, "--workers")["to_by_hand"] > 0


def test_roads(tiny_bundle, tiny_data, animals, tmp_path):
    (result,) = document("roads.py", tiny_bundle, "--data", tiny_data, "--empty", animals, "--sheets", tmp_path)[:1]
    assert set(result["constant"]) == {"black", "grey", "white", "noise", "bars"}
    assert result[tiny_data.name]["low"] <= result[tiny_data.name]["iou"] <= result[tiny_data.name]["high"]
    assert 0 <= result[animals.name]["mean"] <= 1
    assert len(list(tmp_path.glob("*.png"))) % 2 == 0


def test_video(tiny_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 30, (90, 120))
    result = document("video.py", clip, "--bundle", tiny_bundle, "--rounds", 2)
    assert result["pixels"]["max"] <= 2
    assert all(result[f"{kind}_{unit}_ratio"] > 0 for kind in ("reader", "loop") for unit in ("fps", "cpu_ms"))


def test_guard(tmp_path):
    for index in range(3):
        factories.write_picture(tmp_path / f"{index}.jpg", factories.picture(180, 240, seed=index))
    result = document("guard.py", tmp_path)
    assert result["cost_ms"] > 0
    assert result["sets"][tmp_path.name]["images"] == 3


def test_clips():
    result = document("clips.py", "--size", "64x48", "--before", 1)
    assert result["noise"]["megabytes"] > result["scenes"]["megabytes"] > 0


def test_soak(tiny_bundle):
    words = ("--ticks", 2000, "--minutes", 0.05, "--bundle", tiny_bundle, "--slower", 1e6, "--growth", 100)
    result = document("soak.py", *words)
    assert result["accelerated"]["answers"] == 2000
    assert result["real time"]["answers"] > 0
    assert all(part["problems"] == [] and len(part["tenths"]) == 10 for part in result.values())


def test_sandbox(tiny_bundle):
    result = document("sandbox.py", tiny_bundle, "--repeat", 1)
    assert set(result["medians_ms"]) == {"without trial", "known", "unknown"}
    assert min(result["medians_ms"].values()) > 0


def test_start(tiny_bundle):
    assert document("start.py", "--bundle", tiny_bundle, "--rounds", 1)["cpu_ratio"] > 0


def test_cameras():
    result = document("cameras.py", "--seconds", 6)
    assert result["front"]["rate_hz"] > 0
    assert result["rear"]["rate_hz"] > 0
    assert result["front after the death of rear"]["rate_hz"] > 0


def test_sinks():
    rows = {row["fault"]: row for row in document("sinks.py", "--only", "exec", "--seconds", 0.5)}
    assert set(rows) == {"healthy", "slow", "dead", "refusing", "killed"}
    assert all(row["ratio"] > 0 for row in rows.values())
    assert rows["healthy"]["events"] == []
    assert rows["dead"]["dropped"] > 0
    assert "failed: refused" in rows["refusing"]["events"][0]
    assert "exit code -9" in rows["killed"]["events"][0]


def test_live():
    result = document("live.py", "--seconds", 3, "--infer-ms", 40)
    assert set(result["dropped"]) <= {"superseded", "unconsumed"}
    assert result["orilla_ms"]["p50"] <= result["orilla_by_clock_ms"]["p50"]
    assert result["naive_ms"]["p50"] > 0


def test_stamps():
    (row,) = document("stamps.py", "--seconds", 3, "--rates", 10, "--kinds", "tcp-mjpeg")
    assert row["frames"] > 10
    assert row["unread"] == 0
    assert -5 < row["p50_ms"] < 100


def test_overhead(tiny_bundle):
    assert document("overhead.py")["overhead_ms"] > 0
    assert document("overhead.py", "--bundle", tiny_bundle, "--growth", 1100)["at_end_mib"] > 10


def test_tracking():
    assert all(0 < row["p50_ms"] <= row["p90_ms"] for row in document("tracking.py"))


def test_keep_lane(tmp_path):
    bundle = regression_bundle(tmp_path / "driver.orilla")
    result = document("keep_lane.py", bundle, "--drives", 1, "--seconds", 5, "--variants", "litert_fp32")
    assert set(result["drivers"]) == {"exact", "straight", "litert_fp32"}
    assert result["drivers"]["exact"]["departures"] == 0
    assert result["drivers"]["exact"]["rms_m"] < 0.1 < result["drivers"]["straight"]["rms_m"]


def test_export(tiny_run):
    result = document("export.py", tiny_run, "--recipes", "litert_fp32,litert_wi8_ai8")["exports"][0]
    assert result["variants"] == 2
    assert result["recommended"] in ("litert_fp32", "litert_wi8_ai8")
    assert 0 < result["building_seconds"] < result["seconds"]
    assert result["peak_mib"] > result["float_mib"]


def test_recurrent_layers():
    result = document("export.py", "--rounds", 1)["recurrent"]
    assert {(layer["layer"], layer["form"]) for layer in result} >= {("LSTM", "fused"), ("GRU", "onnx")}
    assert max(layer["parity"] for layer in result) <= 1e-5


def test_nms_threads():
    result = document("nms_threads.py", "--rounds", 3, "--threads", 1)
    assert result["different"] == {"1": 0}


def test_web():
    result = document("web.py", "--rounds", 1, "--seconds", 1, "--viewers", 2, "--size", "48x64")
    assert set(result["fps"]) == {"without", "idle", "watched"}
    assert result["received_mb_per_s"] > 0


def test_ladder(tiny_bundle):
    words = ("--variant", "litert_fp32", "--rungs", "litert_wi8_ai8", "--calm", 2, "--busy", 3)
    result = document("ladder.py", tiny_bundle, *words, "--deadline", 1000)
    assert result["ladder"]["p90_busy_ms"] > 0
    assert set(result["ladder"]["rungs_busy"]) <= {"litert_fp32", "litert_wi8_ai8"}
    assert result["without"]["rungs_busy"] == {"litert_fp32": 1.0}
