"""Quantise an ONNX file to int8, except for the layers whose quantisation changes the outputs most."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.convert.keras_litert import calibration_samples
from orilla.export.quantize.onnx import joining_tail, quantise_static, restore_outputs, simplified_file
from orilla.export.quantize.onnx_fusion import WEIGHTED, require_fused

MIN_LAYER_SQNR_DB = 23.0
"""Minimum signal-to-quantisation-noise ratio of the outputs, in decibels, when a single layer is quantised. A layer
with a smaller ratio stays in float32. This applies to 9 of the 68 convolutions of YOLOX-nano."""

SAMPLES = 4
"""Number of calibration samples on which the layers are compared."""


def mixed_int8(source: str, out: str, calibration: str) -> None:
    """Quantise weights to int8 per channel and activations to uint8, except for the most sensitive layers.

    Each layer is quantised alone, and its effect on the outputs is measured on a few calibration samples. The
    activation function after a layer in float32 also stays in float32.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        simplified = simplified_file(source, folder)
        graph = onnx.load(simplified, load_external_data=False).graph
        tail = set(joining_tail(simplified))
        layers = [node.name for node in graph.node if node.op_type in WEIGHTED and node.name not in tail]
        names = {node.name for node in graph.node}
        few = str(Path(folder, "few.npz"))
        _save_few(calibration, few)
        expected, sensitive = _outputs(simplified, few), []
        for layer in layers:
            alone = str(Path(folder, "alone.onnx"))
            quantise_static(simplified, alone, few, "MinMax", keep_float=sorted(names - {layer}))
            if _sqnr_db(expected, _outputs(alone, few)) < MIN_LAYER_SQNR_DB:
                sensitive.append(layer)
        quantise_static(
            simplified, out, calibration, "MinMax", keep_float=sorted(tail | _with_activation(graph, sensitive))
        )
    restore_outputs(source, out)
    require_fused(out)


def _save_few(calibration: str, few: str) -> None:
    samples = list(islice(calibration_samples(calibration), SAMPLES))
    np.savez(few, **{name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]})  # type: ignore[arg-type]


def _outputs(model: str, calibration: str) -> np.ndarray:
    """Return all outputs for all samples as one vector."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    parts = []
    for sample in calibration_samples(calibration):
        parts += session.run(None, dict(zip(names, sample.values(), strict=True)))
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def _sqnr_db(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.mean(np.square(found - expected)))
    return float("inf") if noise == 0 else 10 * float(np.log10(np.mean(np.square(expected)) / noise))


def _with_activation(graph: Any, layers: list[str]) -> set[str]:
    """Return the layers and the operators of their activation functions, such as the two operators of SiLU."""
    nodes = list(graph.node)
    consumers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    chosen = set(layers)
    for node in nodes:
        if node.name not in layers:
            continue
        after = [other for other in consumers.get(node.output[0], []) if other.op_type not in WEIGHTED]
        chosen |= {other.name for other in after}
        chosen |= {
            last.name
            for other in after
            for last in consumers.get(other.output[0], [])
            if last.op_type == "Mul" and node.output[0] in last.input
        }
    return chosen
