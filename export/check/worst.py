"""Find the validation samples on which an int8 variant and the original model disagree most, and draw them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.check.compare import OutputArrays, Reference, answers, flat
from orilla.export.source_model import SourceModel
from orilla.runtime.engines import loader
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.datasets.raw import raw_of
from orilla.runtime.preprocessing.tensor_spec import Outputs, per_sample
from orilla.runtime.tasks.drawing import Image, draw_caption
from orilla.runtime.tasks.metrics.detection import BoxTruth
from orilla.runtime.tasks.task import GroundTruth

MAX_FRAMES = 12
"""Number of worst samples that are shown on the contact sheet and used for the calibration."""

SHARE = 4
"""At most one in `SHARE` validation samples counts as one of the worst. The other samples are needed to measure the
gain."""

COLUMNS, CELL_WIDTH = 3, 320
"""Number of samples in a row of the contact sheet, and width of one picture in pixels. Each sample has two pictures."""

GAP = 8
"""Distance between two samples on the contact sheet, in pixels."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A validation sample on which a variant and the original model disagree."""

    place: int
    """Index of the sample in the validation data."""
    name: str
    agreement: float
    """Share of the decisions that are equal, 0–1."""
    original: Outputs
    outputs: Outputs


def outputs_of(engine: str, data: bytes, source: SourceModel, reference: Reference) -> OutputArrays:
    """Run a variant on all validation samples."""
    with closing(loader.load_bytes(engine, data, binding=source.binding)) as session:
        return answers(session, reference.inputs, range(len(reference.truths)), reference.outputs)


def worst_samples(reference: Reference, outputs: OutputArrays) -> list[Disagreement]:
    """Return the samples with the lowest agreement. Among equal ones, samples with larger errors come first.

    Args:
        reference: Outputs of the original model.
        outputs: Outputs of the variant for all validation samples.
    """
    task, context = reference.target.task, reference.target.context
    errors = np.abs(flat(outputs) - flat(reference.outputs)).mean(axis=1)
    found = []
    pairs = zip(per_sample(outputs), per_sample(reference.outputs), reference.truths, strict=True)
    for place, (output, original, truth) in enumerate(pairs):
        same = task.agreeing(output, original, context.of_frame(reference.sizes[place]))
        agreement = float(np.mean(same)) if same.size else 1.0
        found.append(Disagreement(place, truth.name, agreement, original, output))
    found.sort(key=lambda sample: (sample.agreement, -errors[sample.place]))
    return found[: max(1, min(MAX_FRAMES, len(found) // SHARE))]


def missing_classes(worst: Sequence[GroundTruth], calibration: Sequence[GroundTruth], dataset: Dataset) -> list[str]:
    """Return the names of the classes that occur in the worst samples, but in no calibration sample.

    Args:
        worst: Ground truth of the worst samples. The data set must have labels.
        calibration: Ground truth of the calibration samples.
        dataset: Data set with the names of the classes.
    """
    if not dataset.has_labels or not dataset.classes:
        return []
    known = {index for truth in calibration for index in _classes(truth)}
    lacking = {index for truth in worst for index in _classes(truth)} - known
    return [dataset.classes[index] for index in sorted(lacking) if 0 <= index < len(dataset.classes)]


def _classes(truth: GroundTruth) -> set[int]:
    """Return the class indices of a sample. The result is empty if the sample has none."""
    if isinstance(truth.value, BoxTruth):
        return {int(index) for index in truth.value.classes}
    values = np.asarray(truth.value)
    return {int(index) for index in np.unique(values)} if values.dtype.kind in "iu" else set()


def contact_sheet(
    samples: Sequence[Disagreement], reference: Reference, dataset: Dataset, items: Sequence[Item]
) -> bytes:
    """Return a PNG file that shows each sample with the answers of the original model and of the variant.

    Raises:
        DataError: The samples are not images.
    """
    cells = []
    for sample in samples:
        image = raw_of(dataset.load(*items[sample.place]))
        if not isinstance(image, np.ndarray):
            msg = f"the samples of {dataset.source.name} are not images, so they cannot be drawn on a contact sheet"
            raise DataError(msg)
        left = _drawn(image, sample.original, reference, f"float {sample.name}")
        right = _drawn(image, sample.outputs, reference, f"int8 agrees {100 * sample.agreement:.0f} %")
        cells.append(np.hstack([left, right]))
    height = max(len(cell) for cell in cells)
    padded = [np.pad(cell, ((0, height - len(cell) + GAP), (0, GAP), (0, 0))) for cell in cells]
    padded += [np.zeros_like(padded[0])] * (-len(padded) % min(COLUMNS, len(padded)))
    rows = [np.hstack(padded[start : start + COLUMNS]) for start in range(0, len(padded), COLUMNS)]
    return cv2.imencode(".png", np.vstack(rows))[1].tobytes()


def _drawn(image: NDArray[np.uint8], outputs: Outputs, reference: Reference, title: str) -> Image:
    """Return a picture of fixed width with an answer."""
    target = reference.target
    height = max(1, round(image.shape[0] * CELL_WIDTH / image.shape[1]))
    picture = np.ascontiguousarray(cv2.resize(image, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA))
    size = (picture.shape[0], picture.shape[1])
    lines = target.task.decode(outputs, target.context.of_frame(size)).draw(picture)
    caption = np.zeros((24 * (1 + len(lines)), CELL_WIDTH, 3), np.uint8)
    for row, text in enumerate([title, *lines]):
        draw_caption(caption[24 * row : 24 * (row + 1)], text)
    return np.vstack([picture, caption])
