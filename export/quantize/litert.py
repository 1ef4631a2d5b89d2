"""Quantise float LiteRT files with `litert-quantizer`."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.convert.keras_litert import calibration_samples
from orilla.runtime.files import replacing

PERCENTILES = (0.01, 99.99)
"""Lower and upper percentile of a tensor's values that the calibration method `Percentile` uses as range."""


def float16(source: str, out: str) -> None:
    """Store weights as float16. Engines convert them to float32 when they load the model."""
    from litert_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work = quantizer.Quantizer(source)
    work.update_quantization_recipe(".*", qtyping.TFLOperationName.ALL_SUPPORTED, config, "float_casting")
    Path(out).write_bytes(work.quantize().quantized_model)


def dynamic(source: str, out: str, recipe: str) -> None:
    """Quantise weights to integers and keep activations in float. No calibration is needed.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        recipe: Name of a `litert-quantizer` recipe, such as `dynamic_wi8_afp32`.
    """
    from litert_quantizer import quantizer
    from litert_quantizer import recipe as known

    work = quantizer.Quantizer(source, getattr(known, recipe)())
    Path(out).write_bytes(work.quantize().quantized_model)


def static(source: str, out: str, calibration: str, recipe: str) -> None:
    """Quantise weights to int8 per channel, and activations to integers.

    The range of an activation extends from its minimum to its maximum over all samples. The quantiser's default, a
    moving average of the range of each sample, is not used. For a tensor with one element, such as the logit before a
    sigmoid, minimum and maximum are equal in every sample, so their averages would give an empty range.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
        recipe: Name of a `litert-quantizer` recipe, such as `static_wi8_ai8`.
    """
    from litert_quantizer import quantizer
    from litert_quantizer import recipe as known

    config = getattr(known, recipe)()
    work = quantizer.Quantizer(source, [*config, _per_tensor(config[0], "BATCH_MATMUL")])
    Path(out).write_bytes(work.quantize(_ranges(source, calibration, config)).quantized_model)


def partial(source: str, out: str, calibration: str, method: str, keep_float: Sequence[str]) -> None:
    """Quantise to int8 like `static`, except for some operators.

    Args:
        source: Path of the float model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
        method: Calibration method: `MinMax`, or `Percentile` for ranges without the outliers of each sample.
        keep_float: Scopes of the operators that stay in float32. See `scope`.
    """
    from litert_quantizer import quantizer
    from litert_quantizer import recipe as known

    config = known.static_wi8_ai8()
    kept = [_in_float(config[0], name) for name in keep_float]
    work = quantizer.Quantizer(source, [*config, _per_tensor(config[0], "BATCH_MATMUL"), *kept])
    ranges = _ranges(source, calibration, config)
    if method == "Percentile":
        ranges = _without_outliers(source, calibration, ranges)
    Path(out).write_bytes(work.quantize(ranges).quantized_model)


def scope(outputs: Sequence[str]) -> str:
    """Return the name by which the quantiser knows an operator.

    Args:
        outputs: Names of the tensors that the operator computes.
    """
    return "".join(f"{name};" for name in outputs)


def _in_float(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a row of a quantiser's recipe that leaves the operator with this scope in float32."""
    return {**row, "regex": f"^{re.escape(name)}$", "algorithm_key": "no_quantize"}


def edgetpu(source: str, out: str, calibration: str) -> None:
    """Quantise to int8 like `static`, but use a single scale for all weights of a dense layer.

    Coral's compiler does not support dense layers with per-channel scales.
    """
    from litert_quantizer import quantizer
    from litert_quantizer import recipe as known

    config = known.static_wi8_ai8()
    single = [_per_tensor(config[0], operation) for operation in ("FULLY_CONNECTED", "BATCH_MATMUL")]
    work = quantizer.Quantizer(source, [*config, *single])
    Path(out).write_bytes(work.quantize(_ranges(source, calibration, config)).quantized_model)


def _per_tensor(row: dict[str, Any], operation: str) -> dict[str, Any]:
    """Return a row of a quantiser's recipe that uses a single scale for the weights of an operation.

    The kernel of BATCH_MATMUL reads only the first scale of int8 weights, so scales per channel give wrong results.
    """
    from litert_quantizer import qtyping

    changed = copy.deepcopy(row)
    changed["operation"] = qtyping.TFLOperationName[operation]
    changed["op_config"]["weight_tensor_config"]["granularity"] = qtyping.QuantGranularity.TENSORWISE
    return changed


def _ranges(source: str, calibration: str, recipe: Any) -> dict[str, Any]:
    """Return the activation range of each tensor. The ranges are stored, and other recipes for the file reuse them."""
    from ai_edge_litert.interpreter import Interpreter
    from litert_quantizer import calibrator, recipe_manager
    from litert_quantizer.utils import qsv_utils

    file = Path(f"{calibration}.{Path(source).name}.ranges.npz")
    if file.exists():
        return _read_ranges(file)
    interpreter = Interpreter(source)
    (key,) = interpreter.get_signature_list()
    shapes = {
        name: tuple(details["shape"])
        for name, details in interpreter.get_signature_runner(key).get_input_details().items()
    }
    samples = [_fitted(sample, shapes) for sample in calibration_samples(calibration)]
    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe)
    observer = calibrator.Calibrator(
        source,
        mode=calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
        qsv_update_func=qsv_utils.min_max_update,
    )
    observer.calibrate({key: samples}, recipes)
    ranges: dict[str, dict[str, np.ndarray]] = observer.get_model_qsvs()
    _write_ranges(file, ranges)
    return ranges


def _without_outliers(
    source: str, calibration: str, ranges: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return smaller ranges, which exclude the smallest and largest values of each sample.

    The range of a tensor contains the values between the percentiles `PERCENTILES` of each sample.
    """
    from orilla.export.layers.litert_trace import open_trace
    from orilla.runtime.engines.session import UNBOUND

    trace = open_trace(Path(source).read_bytes(), UNBOUND)
    shapes = {slot.name: slot.shape for slot in trace.inputs}
    bounds: dict[str, list[np.ndarray]] = {}
    for sample in calibration_samples(calibration):
        for name, values in trace.run({key: array[0] for key, array in _fitted(sample, shapes).items()}).items():
            bounds.setdefault(name, []).append(np.percentile(values, PERCENTILES))
    changed = copy.deepcopy(ranges)
    for name, pairs in bounds.items():
        if name in changed and np.size(changed[name]["min"]) == 1:
            low, high = np.min(pairs, axis=0)[0], np.max(pairs, axis=0)[1]
            for key, value in (("min", low), ("max", high)):
                changed[name][key] = np.full_like(changed[name][key], value)
    return changed


def _write_ranges(file: Path, ranges: dict[str, dict[str, np.ndarray]]) -> None:
    """Store the activation ranges, so that other recipes for the same file can reuse them."""
    arrays = {
        f"{place}.{bound}": np.asarray(value)
        for place, bounds in enumerate(ranges.values())
        for bound, value in bounds.items()
    }
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, names=np.array(list(ranges)), **arrays)  # type: ignore[arg-type]


def _read_ranges(file: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the activation ranges that `_write_ranges` stored."""
    with np.load(file, allow_pickle=False) as data:
        ranges: dict[str, dict[str, np.ndarray]] = {str(name): {} for name in data["names"]}
        names = list(ranges)
        for key in data.files:
            place, _, bound = key.partition(".")
            if bound:
                ranges[names[int(place)]][bound] = data[key]
    return ranges


def _fitted(sample: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return the arrays of a sample by the input names of the model file, and in the layout of the file.

    The samples of an imported `.onnx` file may have the channels first, but the converted file has them last.
    """
    named = sample if set(sample) == set(shapes) else dict(zip(shapes, sample.values(), strict=True))
    return {
        name: np.ascontiguousarray(np.moveaxis(array, 1, -1))
        if array.shape != shapes[name] == np.moveaxis(array, 1, -1).shape
        else array
        for name, array in named.items()
    }
