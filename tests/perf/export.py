"""Measure the export: recommended variants compared with float32, and recurrent layers compared with Keras.

    python tests/perf/export.py [RUN ...] [--recipes all] [--golden scenes] [--rounds 30] [--json]

Each RUN (a run folder of `orilla train`) is exported and checked on its complete validation data. For the recommended
variant, the script prints the drop, the agreement, and the size and latency relative to the float32 LiteRT variant. It
also prints the duration of the export and of its conversions, and the peak memory of the largest process. Without a
RUN, the script measures only the recurrent layers: LSTM, GRU and bidirectional LSTM with 32 units, on 200 steps of 32
features. Each exported form is compared with the same layer in a `tf.function`. All latencies are measured interleaved.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from orilla.devices.progress import NoProgress
from orilla.export.convert import fork_server, keras_litert, keras_onnx
from orilla.export.export import ExportOptions, export
from orilla.runtime.engines import loader
from orilla.runtime.preprocessing.tensor_spec import only
from orilla.runtime.stdio import hidden_stderr
from orilla.runtime.tasks.registry import task_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STEPS, FEATURES, UNITS = 200, 32, 32
FLOAT = "litert_fp32"


class Spans(NoProgress):
    """Progress display that records the time at which each step began."""

    def __init__(self, spans: list[tuple[str, float]]) -> None:
        self._spans = spans

    def status(self, text: str) -> None:
        """Record the time."""
        self._spans.append((text, time.perf_counter()))


def exported(run: Path, recipes: str, golden: str | None) -> dict[str, Any]:
    """Export and check a run. Return the figures of the export."""
    spans: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(recipes=recipes, golden=golden)
        started = time.perf_counter()
        manifest = export(run, Path(folder, "b.orilla"), options, Spans(spans))
        seconds = time.perf_counter() - started
    fork_server.close()  # `getrusage` counts the memory of a process only after it has ended.
    ends = [at for _, at in spans[1:]] + [started + seconds]
    building = sum(end - at for (text, at), end in zip(spans, ends, strict=True) if text.startswith("building"))
    chosen, base = manifest.variant(manifest.default), manifest.variant(FLOAT)
    size = {variant.name: manifest.files[variant.file].size for variant in manifest.variants}
    assert chosen.latency is not None
    assert base.latency is not None
    return {
        "model": manifest.name,
        "samples": manifest.report.count,
        "metric": task_of(manifest.task).metric,
        "original": manifest.report.metrics[task_of(manifest.task).metric],
        "recommended": chosen.name,
        "drop": chosen.check.drop,
        "agreement": chosen.check.agreement,
        "size_ratio": size[chosen.name] / size[FLOAT],
        "latency_ratio": chosen.latency.p50_ms / base.latency.p50_ms,
        "variants": len(manifest.variants),
        "seconds": seconds,
        "building_seconds": building,
        "float_mib": size[FLOAT] / 2**20,
        "peak_mib": max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        / 1024,
        "refused": manifest.report.failed,
    }


def recurrent(rounds: int) -> list[dict[str, Any]]:
    """Return the time and the error of each exported form of each recurrent layer."""
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers

    kinds = {
        "LSTM": (lambda: layers.LSTM(UNITS), ("loop", "fused", "onnx")),
        "GRU": (lambda: layers.GRU(UNITS), ("loop", "onnx")),
        "bidirectional LSTM": (lambda: layers.Bidirectional(layers.LSTM(UNITS)), ("loop", "fused", "onnx")),
    }
    makers = {
        "loop": ("litert", keras_litert.convert),
        "fused": ("litert", keras_litert.convert_fused),
        "onnx": ("onnx", keras_onnx.convert),
    }
    figures = []
    sample = np.random.default_rng(0).normal(size=(STEPS, FEATURES)).astype(np.float32)
    for name, (layer, forms) in kinds.items():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((STEPS, FEATURES)), layer()])
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder, "m.keras"))
            sessions = {}
            for form in forms:
                engine, make = makers[form]
                file = Path(folder, f"{form}.model")
                with hidden_stderr():
                    make(str(Path(folder, "m.keras")), str(file))
                sessions[form] = loader.load_bytes(engine, file.read_bytes(), threads=1)
        function = tf.function(lambda x, model=model: model(x, training=False))
        inputs = tf.constant(sample[None])
        expected = function(inputs).numpy()
        calls = {"keras": lambda f=function, x=inputs: f(x).numpy()}
        calls |= {form: lambda s=session: s.run(sample) for form, session in sessions.items()}
        times: dict[str, list[float]] = {key: [] for key in calls}
        for _ in range(rounds):
            for key, call in calls.items():
                for _ in range(5):
                    started = time.perf_counter()
                    call()
                    times[key].append(1e3 * (time.perf_counter() - started))
        keras_ms = statistics.median(times["keras"])
        for form, session in sessions.items():
            figures.append(
                {
                    "layer": name,
                    "form": form,
                    "ms": statistics.median(times[form]),
                    "keras_ms": keras_ms,
                    "ratio": statistics.median(times[form]) / keras_ms,
                    "parity": float(np.abs(only(session.run(sample)) - expected).max()),
                }
            )
    return figures


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--recipes", default="all")
    parser.add_argument("--golden")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    exports = [exported(run, arguments.recipes, arguments.golden) for run in arguments.runs]
    layers = recurrent(arguments.rounds) if not exports else []
    if arguments.json:
        print(json.dumps({"exports": exports, "recurrent": layers}, indent=2))
        return 0
    for row in exports:
        print(
            f"{row['model']}: {row['recommended']} of {row['variants']}, {row['metric']} {row['original']:.4f} loses "
            f"{row['drop']:+.2f} points on {row['samples']} samples, decides alike {100 * row['agreement']:.2f} %; "
            f"{row['size_ratio']:.3f} x the size and {row['latency_ratio']:.2f} x the time of float32; export "
            f"{row['seconds']:.0f} s, of which {row['building_seconds']:.0f} s conversion; at most "
            f"{row['peak_mib']:.0f} MiB"
        )
    for row in layers:
        print(
            f"{row['layer']}, {row['form']}: {row['ms']:.3f} ms, {row['ratio']:.3f} x Keras' {row['keras_ms']:.2f} ms, "
            f"largest difference {row['parity']:.1e}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
