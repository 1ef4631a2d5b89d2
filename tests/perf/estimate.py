"""Fit the cost model of `orilla bench estimate`: `python tests/perf/estimate.py [--write]`.

The script converts networks of Keras Applications, with random weights, to float and int8. It measures them on this
machine, interleaved, with one thread. Then it fits a non-negative cost for each kind of work, so that the relative
errors of the times are as small as possible. Finally, it predicts every published figure of a known model from the
other figures of the same device. `--write` stores the costs and the models in `devices/costs.toml`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

NETWORKS = {
    "mobilenet_v1": ("MobileNet", {}),
    "mobilenet_v2": ("MobileNetV2", {}),
    "mobilenet_v3_large": ("MobileNetV3Large", {}),
    "mobilenet_v3_small": ("MobileNetV3Small", {}),
    "vgg16": ("VGG16", {}),
    "vgg19": ("VGG19", {}),
    "resnet50": ("ResNet50", {}),
    "efficientnet_b0": ("EfficientNetB0", {}),
    "mobilenet_v1_0.5_128": ("MobileNet", {"alpha": 0.5, "input_shape": (128, 128, 3)}),
    "mobilenet_v2_0.35_160": ("MobileNetV2", {"alpha": 0.35, "input_shape": (160, 160, 3)}),
}
OTHER_KERNELS = {"int8": ("mobilenet_v3_large", "mobilenet_v3_small")}
"""Models that the fit for a precision excludes, because XNNPACK has no int8 kernel for their hard-swish operators."""

ROUNDS = 7
UPDATES = 200_000
"""Number of iterations of the fit."""


def convert(name: str, precision: str) -> bytes:
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    kind, options = NETWORKS[name]
    keras.utils.set_random_seed(0)
    options = {"weights": None, "input_shape": (224, 224, 3), **options}
    if kind.startswith("MobileNetV3"):
        options["include_preprocessing"] = False
    model = getattr(keras.applications, kind)(**options)
    shape = (1, *options["input_shape"])
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    frozen = convert_variables_to_constants_v2(concrete)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if precision == "int8":
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.random(shape, np.float32)] for _ in range(3))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    keras.backend.clear_session()
    return converter.convert()


def converted(folder: Path) -> dict[tuple[str, str], bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in NETWORKS:
        for precision in ("float32", "int8"):
            path = folder / f"{name}-{precision}.tflite"
            if not path.exists():
                print(f"converting {path.name}", flush=True)
                path.write_bytes(convert(name, precision))
            files[name, precision] = path.read_bytes()
    return files


def measure(files: dict[tuple[str, str], bytes]) -> dict[tuple[str, str], float]:
    """Measure the model files in turn with one thread. Return the median inference time of each in milliseconds."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters = {key: Interpreter(model_content=data, num_threads=1) for key, data in files.items()}
    for interpreter in interpreters.values():
        interpreter.allocate_tensors()
        interpreter.invoke()
    times: dict[tuple[str, str], list[float]] = {key: [] for key in files}
    for _ in range(ROUNDS):
        for key, interpreter in interpreters.items():
            for _ in range(3):
                began = time.perf_counter_ns()
                interpreter.invoke()
                times[key].append((time.perf_counter_ns() - began) / 1e6)
    return {key: statistics.median(milliseconds) for key, milliseconds in times.items()}


def fit(works: dict[str, object], times: dict[str, float]) -> np.ndarray:
    """Return a non-negative cost for each kind of work. These costs minimise the relative errors of the times."""
    from orilla.runtime.bench.work import KINDS

    names = list(works)
    rows = np.array([[getattr(works[name], kind) / times[name] for kind in KINDS] for name in names])
    scale = rows.max(axis=0)
    rows = rows / scale
    costs = np.full(len(KINDS), 0.2)
    # The updates are multiplicative. Source: Lee and Seung, "Algorithms for Non-negative Matrix Factorization" (2000).
    for _ in range(UPDATES):
        costs *= (rows.T @ np.ones(len(names))) / np.maximum(rows.T @ (rows @ costs), 1e-12)
    return costs / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("build/predict"), help="folder for the converted networks")
    arguments = parser.parse_args()
    from orilla.devices.detect import detect
    from orilla.runtime.bench import estimate
    from orilla.runtime.bench.work import KINDS, work_of

    files = converted(arguments.folder)
    works = {key: work_of(data, key[0]) for key, data in files.items()}
    times = measure(files)
    lines = [
        "# Written by tests/perf/estimate.py. Costs are milliseconds of a million (of ops: of one), one thread of",
        f"# {detect()}, LiteRT with XNNPACK.",
        "",
    ]
    for precision in ("float32", "int8"):
        of_precision = {name: works[name, precision] for name in NETWORKS}
        measured = {name: times[name, precision] for name in NETWORKS}
        fitting = {name: work for name, work in of_precision.items() if name not in OTHER_KERNELS.get(precision, ())}
        costs = dict(zip(KINDS, fit(fitting, measured), strict=True))
        lines += [
            f"[costs.{precision}]",
            *(f"{kind} = {round(float(f'{cost:.4g}'), 9)}" for kind, cost in costs.items()),
            "",
        ]
        print(f"\n{precision}: measured and fitted times in ms")
        for name in NETWORKS:
            fitted = sum(getattr(of_precision[name], kind) * costs[kind] for kind in KINDS)
            print(f"  {name:24} {measured[name]:8.2f} {fitted:8.2f}  {100 * (fitted / measured[name] - 1):+.0f} %")
    for name in NETWORKS:
        lines += [
            f'[models."{name}"]',
            *(f"{kind} = {getattr(works[name, 'float32'], kind):.4f}" for kind in KINDS),
            "",
        ]
    if arguments.write:
        estimate.COSTS.write_text("\n".join(lines))
        estimate.costs.cache_clear()
        estimate.models.cache_clear()
    show_errors()


def show_errors() -> None:
    from orilla.devices.errors import DataError
    from orilla.devices.spec import catalog
    from orilla.runtime.bench.estimate import costs, models, speed_of

    devices = catalog()
    print("\n| device | precision | model | published ms | predicted from the others ms | error |")
    print("|---|---|---|---:|---:|---:|")
    for device, spec in devices.devices.items():
        for latency in spec.latencies:
            if latency.engine == "edgetpu" or latency.precision not in costs():
                continue
            try:
                speed = speed_of(device, latency.precision, devices)
            except DataError:
                continue
            if latency.model in speed.errors and latency.model in models():
                predicted = latency.ms / speed.errors[latency.model]
                error = 100 * (predicted / latency.ms - 1)
                print(
                    f"| {device} | {latency.precision} | {latency.model} | {latency.ms:g} | {predicted:.1f} "
                    f"| {error:+.0f} % |"
                )


if __name__ == "__main__":
    main()
