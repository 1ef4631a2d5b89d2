"""Exports of MLPerf Tiny's Keras 2 models give the same outputs as MLPerf's own float `.tflite` files."""

import numpy as np
import pytest

from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.runtime.model import Model

MODELS = {
    "pretrainedResnet": ("pretrainedResnet.tflite", "0..255", 32, 1.0),
    "vww_96": ("vww_96_float.tflite", "0..1", 96, 255.0),
}
"""For each model file: published `.tflite` file, input range, height and width, and divisor of the pixel values."""


def published(file, images):
    """Return the outputs of a published `.tflite` file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        interpreter.set_tensor(input_details["index"], image[None].astype(np.float32))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(output_details["index"])[0].copy())
    return np.stack(answers)


@pytest.mark.real_data
@pytest.mark.parametrize("name", MODELS)
def test_a_keras_2_model_answers_as_the_published_one(name, data_root, tmp_path):
    tflite, pixels, side, divisor = MODELS[name]
    folder = data_root / "mlperf_tiny"
    images = np.random.default_rng(0).integers(0, 256, (40, side, side, 3), np.uint8)
    np.savez(tmp_path / "x.npz", x=images)
    options = ExportOptions(
        recipes="litert_fp32,onnx_fp32,litert_wi8_ai8",
        calibration=str(tmp_path / "x.npz"),
        hints=ModelHints(task="classify", input_range=pixels),
    )
    manifest = export(folder / f"{name}.h5", tmp_path / "m.orilla", options)
    expected = published(folder / tflite, images[:8] / divisor)
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as model:
            measured = np.stack([model(image, color="rgb").result.scores for image in images[:8]])
        assert np.abs(measured - expected).max() < 1e-5
    assert manifest.variant("litert_wi8_ai8").check.sqnr_db > 20
