"""Quantise float ONNX files with ONNX Runtime's quantiser."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.convert.keras_litert import calibration_samples
from orilla.export.quantize.onnx_fusion import WEIGHTED, require_fused

MIN_OPSET = 13
"""First version of the operator set in which quantisation can use one scale per channel."""


def float16(source: str, out: str) -> None:
    """Convert weights and activations to float16. Inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(_only_computed(onnx.load(source)), keep_io_types=True), out)
    restore_outputs(source, out)


def dynamic_int8(source: str, out: str) -> None:
    """Quantise weights to int8. Operators quantise their activations at run time."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        quantize_dynamic(simplified_file(source, folder), out, weight_type=QuantType.QInt8)
    restore_outputs(source, out)
    sizes = {True: 0, False: 0}
    for weight in onnx.load(out).graph.initializer:
        sizes[weight.data_type == onnx.TensorProto.INT8] += math.prod(weight.dims)
    if sizes[True] < sizes[False]:
        msg = "the quantiser does not support the operators with most of the weights, so these would stay in float32"
        raise ValueError(msg)


def static_int8(source: str, out: str, calibration: str, method: str, keep_float: Sequence[str] | None = None) -> None:
    """Quantise with `quantise_static`. Raise `ValueError` if ONNX Runtime would not run the operators in integers."""
    quantise_static(source, out, calibration, method, keep_float)
    require_fused(out)


def quantise_static(
    source: str, out: str, calibration: str, method: str, keep_float: Sequence[str] | None = None
) -> None:
    """Quantise weights to int8 per channel and activations to uint8, in the QDQ format.

    With int8 activations, ONNX Runtime on x86 would run an operator in float32 if another operator reads the same
    tensor, as in a residual connection. With uint8 activations, it runs all of them in integers.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
        method: Calibration method: `MinMax`, `Entropy` or `Percentile`.
        keep_float: Names of the operators that stay in float32. If None, the names come from `joining_tail`.
    """
    ranges = f"{calibration}.{Path(source).name}.{method}.json"
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        simplified = simplified_file(source, folder)
        kept = joining_tail(simplified) if keep_float is None else keep_float
        quantise_simplified(simplified, out, Calibration(calibration, method, ranges), kept)
    restore_outputs(source, out)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples and method for measuring the activation ranges."""

    samples: str
    """Path of a calibration file that `calibration_samples` can read."""
    method: str
    """Calibration method: `MinMax`, `Entropy` or `Percentile`."""
    ranges: str
    """Path of a file with the ranges. It is written if it does not exist. Older versions of ONNX Runtime do not use it,
    and measure the ranges each time."""


def quantise_simplified(simplified: str, out: str, calibration: Calibration, keep_float: Sequence[str]) -> None:
    """Quantise a file that `simplified_file` wrote. See `quantise_static`."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    keeps_ranges = "calibration_cache_path" in inspect.signature(quantize_static).parameters
    quantize_static(
        simplified,
        out,
        _Reader(simplified, calibration.samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[calibration.method],
        nodes_to_exclude=list(keep_float),
        # Let the histogram calibrators process one sample at a time. By default, they would keep every tensor of every
        # sample in memory.
        extra_options={"CalibStridedMinMax": 1},
        **({"calibration_cache_path": calibration.ranges} if keeps_ranges else {}),
    )


def joining_tail(model: str) -> list[str]:
    """Return the names of the operators after the last weights, if these operators concatenate tensors.

    The last operators of a detector concatenate box coordinates of several hundred pixels with scores between 0 and 1.
    One int8 scale for both would round all scores to a few values, so these operators stay in float. Other networks,
    such as classifiers, have no such operators.

    Args:
        model: Path of the float model file, whose operators have names.
    """
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    consumers: dict[str, list[int]] = {}
    for place, node in enumerate(graph.node):
        for name in node.input:
            consumers.setdefault(name, []).append(place)
    before_weights = [False] * len(graph.node)
    for place in reversed(range(len(graph.node))):  # The operators are in topological order.
        after = {other for name in graph.node[place].output for other in consumers.get(name, ())}
        before_weights[place] = any(graph.node[o].op_type in WEIGHTED or before_weights[o] for o in after)
    tail = [node for place, node in enumerate(graph.node) if not before_weights[place] and node.op_type not in WEIGHTED]
    return [node.name for node in tail] if any(node.op_type == "Concat" for node in tail) else []


def simplified_file(source: str, folder: str) -> str:
    """Write a copy with folded constants and a newer operator set to a folder, and return the path of the copy.

    The copy lacks the outputs that are inputs, because the quantiser fails on them. See `restore_outputs`.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)
    simplified = str(Path(folder, "simplified.onnx"))
    model = onnx.load(source)
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version < MIN_OPSET:
        source = str(Path(folder, "newer.onnx"))
        onnx.save(onnx.version_converter.convert_version(model, MIN_OPSET), source)
    if _passed_through(model := onnx.load(source)):
        source = str(Path(folder, "computed.onnx"))
        onnx.save(_only_computed(model), source)
    # All shapes are fixed, so symbolic shape inference, which requires SymPy, can be skipped.
    quant_pre_process(source, simplified, skip_symbolic_shape=True)
    return simplified


def restore_outputs(source: str, out: str) -> None:
    """Add to a quantised file the outputs of the float file that only return an input, in their order."""
    import onnx

    original = onnx.load(source)
    passed = _passed_through(original)
    if not passed:
        return
    model = onnx.load(out)
    known = {output.name: output for output in model.graph.output}
    outputs = [output if output.name in passed else known[output.name] for output in original.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    onnx.save(model, out)


def _only_computed(model: Any) -> Any:
    """Remove the outputs that are inputs from a model, and return it."""
    passed = _passed_through(model)
    computed = [output for output in model.graph.output if output.name not in passed]
    del model.graph.output[:]
    model.graph.output.extend(computed)
    return model


def _passed_through(model: Any) -> set[str]:
    """Return the names of the outputs that are inputs of a model."""
    return {value.name for value in model.graph.input} & {value.name for value in model.graph.output}


class _Reader:
    """Calibration data reader for ONNX Runtime, which returns one sample at a time."""

    def __init__(self, source: str, calibration: str) -> None:
        import onnx

        self._names = [tensor.name for tensor in onnx.load(source, load_external_data=False).graph.input]
        self._samples = list(calibration_samples(calibration))
        self._waiting: Iterator[dict[str, np.ndarray]] = iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Select the samples that later calls of `get_next` return."""
        self._waiting = islice(iter(self._samples), start_index, end_index)

    def get_next(self) -> dict[str, np.ndarray] | None:
        sample = next(self._waiting, None)
        return None if sample is None else dict(zip(self._names, sample.values(), strict=True))
