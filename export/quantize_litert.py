"""Float LiteRT files made small, by `litert-quantizer`."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def float16(source: str, out: str) -> None:
    """Stores weights as float16; they are widened when the model is loaded."""
    from litert_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work = quantizer.Quantizer(source)
    work.update_quantization_recipe(".*", qtyping.TFLOperationName.ALL_SUPPORTED, config, "float_casting")
    Path(out).write_bytes(work.quantize().quantized_model)


def static_int8(source: str, out: str, calibration: str) -> None:
    """Weights int8 per channel, activations int8 between the least and the greatest value seen on `calibration`.

    Not the quantiser's own moving average of each sample's range: of a tensor with one element, the logit before a
    sigmoid, least and greatest are the same in every sample, and their averages leave no range.

    Args:
        calibration: `.npy`, `[N,h,w,3]` uint8 or `[N,T]` int32, prepared.
    """
    from ai_edge_litert.interpreter import Interpreter
    from litert_quantizer import calibrator, quantizer, recipe, recipe_manager
    from litert_quantizer.utils import qsv_utils

    ((key, signature),) = Interpreter(source).get_signature_list().items()
    (name,) = signature["inputs"]
    pictures = np.load(calibration, mmap_mode="r")
    samples = [{name: _input(picture)} for picture in pictures]
    chosen = recipe.static_wi8_ai8()
    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(chosen)
    seen = calibrator.Calibrator(
        source,
        mode=calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
        qsv_update_func=qsv_utils.min_max_update,
    )
    seen.calibrate({key: samples}, recipes)
    work = quantizer.Quantizer(source, chosen)
    Path(out).write_bytes(work.quantize(seen.get_model_qsvs()).quantized_model)


def dynamic_int8(source: str, out: str) -> None:
    """Weights int8 per channel, activations float32, ranges measured at run time: nothing to calibrate."""
    from litert_quantizer import quantizer, recipe

    work = quantizer.Quantizer(source, recipe.dynamic_wi8_afp32())
    Path(out).write_bytes(work.quantize().quantized_model)


def _input(prepared: np.ndarray) -> np.ndarray:
    return prepared[None] if prepared.dtype == np.int32 else prepared[None].astype(np.float32)
