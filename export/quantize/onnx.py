"""Quantise float ONNX files with ONNX Runtime's quantiser."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from orilla.export.convert.keras_litert import calibration_samples


def float16(source: str, out: str) -> None:
    """Convert weights and activations to float16. Inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), out)


def dynamic_int8(source: str, out: str) -> None:
    """Quantise weights to int8. Operators quantise their activations at run time."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        quantize_dynamic(_simplified(source, folder), out, weight_type=QuantType.QInt8)
    sizes = {True: 0, False: 0}
    for weight in onnx.load(out).graph.initializer:
        sizes[weight.data_type == onnx.TensorProto.INT8] += math.prod(weight.dims)
    if sizes[True] < sizes[False]:
        msg = "the quantiser does not support the operators with most of the weights, so these would stay in float32"
        raise ValueError(msg)


def static_int8(source: str, out: str, calibration: str, method: str) -> None:
    """Quantise weights to int8 per channel and activations to int8, in the QDQ format.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
        method: Calibration method: `MinMax`, `Entropy` or `Percentile`.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        quantize_static(
            _simplified(source, folder),
            out,
            _Reader(source, calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
            # With this option, the histogram calibrators process one sample at a time. Without it, they would keep
            # every tensor of every sample in memory.
            extra_options={"CalibStridedMinMax": 1},
        )


def _simplified(source: str, folder: str) -> str:
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)
    simplified = str(Path(folder, "simplified.onnx"))
    # All shapes are fixed, so symbolic shape inference, which requires SymPy, can be skipped.
    quant_pre_process(source, simplified, skip_symbolic_shape=True)
    return simplified


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
