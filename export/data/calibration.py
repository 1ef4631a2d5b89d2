"""Check and extend the calibration samples, and write them to a file for the quantisers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.data.prepared import SampleSet, row
from orilla.export.source_model import SourceModel
from orilla.runtime.engines.session import Inputs, Slot
from orilla.runtime.preprocessing.familiarity import Familiarity, familiarity_of

MAX_RATIO = 4.0
"""Largest allowed ratio between the value range of an array in the calibration data and in the validation data."""

MIN_COMPARED = 8
"""Minimum number of samples per data set for comparing their value ranges."""


def with_added(calibration: SampleSet, added: SampleSet) -> SampleSet:
    """Return the calibration samples with other samples added, such as the worst frames of a shadow check."""
    digest = hashlib.sha256(f"{calibration.sha256}{added.sha256}".encode()).hexdigest()
    return SampleSet(
        f"{calibration.source}, and {added.count} of {added.source}",
        digest,
        {name: np.concatenate([array, added.inputs[name]]) for name, array in calibration.inputs.items()},
        [*calibration.truths, *added.truths],
        [*calibration.sizes, *added.sizes],
    )


def check_calibration(calibration: SampleSet, source: SourceModel) -> None:
    """Raise `DataError` if the calibration samples are constant, or contain NaN or infinity."""
    least = source.preprocessor.min_deviation
    if least is None:
        return
    for name, array in calibration.inputs.items():
        flat = array.reshape(len(array), -1)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            msg = f"array {name} of the calibration data {calibration.source} contains NaN or infinity"
            raise DataError(msg)
        deviation = max(float(sample.astype(np.float64).std()) for sample in flat)
        if deviation < least:
            contents = source.preprocessor.contents
            msg = f"each of the calibration {contents} in {calibration.source} has only one colour: use real {contents}"
            raise DataError(msg)
        if deviation == 0 and flat.shape[1] > 1 and float(np.ptp(flat.astype(np.float64))) == 0:
            msg = f"array {name} of the calibration data {calibration.source} has the same value everywhere"
            raise DataError(msg)


def check_same_range(calibration: SampleSet, validation: SampleSet, source: SourceModel) -> None:
    """Raise `DataError` if an array has very different value ranges in the calibration data and the validation data.

    The value range of an array is the median, over all samples, of the largest absolute value in a sample.
    """
    if not source.preprocessor.has_ranges or min(calibration.count, validation.count) < MIN_COMPARED:
        return
    for name, array in calibration.inputs.items():
        if array.dtype.kind != "f":
            continue
        ours, theirs = (_range(samples, name) for samples in (calibration, validation))
        if ours > MAX_RATIO * theirs or theirs > MAX_RATIO * ours:
            msg = (
                f"array {name} typically reaches {ours:.3g} in the calibration data {calibration.source}, but "
                f"{theirs:.3g} in the validation data {validation.source}: calibrate on samples of the same kind"
            )
            raise DataError(msg)


def _range(samples: SampleSet, name: str) -> float:
    return float(np.median([np.abs(sample).max() for sample in samples.inputs[name]]))


def calibration_familiarity(calibration: SampleSet | None, source: SourceModel) -> Familiarity | None:
    """Return the statistics of the calibration images, or None if there are none or the inputs are not images."""
    if calibration is None or not source.preprocessor.spec.takes_images:
        return None
    (images,) = calibration.inputs.values()
    return familiarity_of(images)


def save_calibration(calibration: SampleSet, source: SourceModel, file: Path) -> None:
    """Write the calibration file that `export.convert.keras_litert.calibration_samples` reads."""
    if source.foreign is not None:
        np.savez(file, **_file_inputs(calibration, source))  # type: ignore[arg-type]
        return
    floats = {tensor.name for tensor in source.info.inputs if tensor.dtype.startswith("float")}
    arrays = {
        name: array.astype(np.float32) if name in floats and array.dtype.kind == "i" else array
        for name, array in calibration.inputs.items()
    }
    np.savez(file, **arrays)  # type: ignore[arg-type]


def _file_inputs(calibration: SampleSet, source: SourceModel) -> dict[str, NDArray[Any]]:
    """Return the calibration samples in the layout and value range that the imported file takes."""
    assert source.foreign is not None
    slots = [
        Slot(tensor.name, tensor.shape, np.dtype(tensor.dtype), tensor.quantisation) for tensor in source.foreign.inputs
    ]
    converter = Inputs(slots, source.binding)
    arrays = {slot.name: np.empty((calibration.count, *slot.shape[1:]), slot.dtype) for slot in slots}
    for index in range(calibration.count):
        converter.fill(row(calibration.inputs, index), [array[index : index + 1] for array in arrays.values()])
    return arrays
