"""Float ONNX files made small, by ONNX Runtime's quantiser."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np


def static_int8(source: str, out: str, calibration: str) -> None:
    """Static QDQ: weights int8 per channel, activations int8 with the least and greatest value seen.

    Args:
        calibration: `.npy`, `[N,h,w,3]` uint8, prepared.
    """
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        simplified = str(Path(folder, "simplified.onnx"))
        # Shapes are static, so there is nothing to infer symbolically (that would need SymPy).
        quant_pre_process(source, simplified, skip_symbolic_shape=True)
        quantize_static(
            simplified,
            out,
            _Reader(source, calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


class _Reader:
    """Hands the calibration pictures out one by one."""

    def __init__(self, source: str, calibration: str) -> None:
        import onnx

        self._name = onnx.load(source, load_external_data=False).graph.input[0].name
        self._pictures = iter(np.load(calibration, mmap_mode="r"))

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {self._name: picture[None].astype(np.float32)}
