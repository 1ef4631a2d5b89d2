"""Models that output arrays. Orilla does not know what the numbers mean, so it compares them with a tolerance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.documents import ArraysDocument
from orilla.runtime.tasks.metrics.arrays import ArrayMetrics
from orilla.runtime.tasks.task import Bools, DecodeContext, GroundTruth, Image, Measure, Target, Task

TOLERANCE = 0.05
"""Two numbers count as the same decision if they differ by at most this share of the reference's root mean square."""


class ArrayResult(msgspec.Struct, frozen=True, eq=False, dict=True):
    """The result of a model that outputs arrays."""

    arrays: dict[str, NDArray[np.float32]]
    """Outputs by name. They are copies, not views of the engine's memory."""

    def to_dict(self) -> ArraysDocument:
        """Return the result as a JSON document."""
        return {"task": "tensor", "arrays": {name: array.tolist() for name, array in self.arrays.items()}}

    def caption(self) -> list[str]:
        """Return the name and the shape of each output."""
        return [f"{name} {list(array.shape)}" for name, array in self.arrays.items()]

    def measures(self) -> list[Measure]:
        """Return no number, because their meaning is unknown."""
        return []

    def state(self) -> object:
        """Return all numbers."""
        return {name: array.tobytes() for name, array in self.arrays.items()}

    def draw(self, image: Image) -> list[str]:
        """Return no caption. Nothing is drawn into the image."""
        del image
        return []


class TensorTask(Task):
    """The task `tensor`: arrays of any numbers, with the names of the outputs."""

    name = "tensor"
    input_kinds = ("tensor", "image")
    metric = "cosine"
    metric_title = "cosine similarity"
    decision = "numbers"
    needs_labels = False
    scores_in_0_1 = False

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return no labels. Raise `ConfigError` if the user gave labels."""
        del outputs
        if labels:
            msg = "`labels` is only for models that classify or segment, not for task=tensor"
            raise ConfigError(msg)
        return ()

    def decode(self, outputs: Outputs, context: DecodeContext) -> ArrayResult:
        """Return the outputs unchanged."""
        del context
        return ArrayResult(dict(outputs))

    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.float32]:
        """Return the numbers of all outputs, in the order of the outputs' names."""
        del context
        return np.concatenate([outputs[name].ravel() for name in sorted(outputs)])

    def agreeing(self, outputs: Outputs, reference: Outputs, context: DecodeContext) -> Bools:
        """Return True for each number that agrees with the reference within the tolerance.

        The allowed difference is `TOLERANCE` times the root mean square of the output that contains the number.
        """
        del context
        close = []
        for name in sorted(outputs):
            scale = np.sqrt(np.mean(np.square(reference[name], dtype=np.float64)))
            close.append((np.abs(outputs[name] - reference[name]) <= TOLERANCE * scale).ravel())
        return np.concatenate(close)

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the numbers as one vector."""
        return self.decisions(outputs, context)

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return one index for each label. The classes of the data set are ignored."""
        del classes, data
        return tuple(range(len(labels)))

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> ArrayMetrics:
        """Return cosine similarity and mean absolute error. Raise `DataError` if the sizes differ."""
        pairs = [
            (self.decisions(outputs, target.context), np.asarray(truth.value, np.float32).ravel())
            for truth, outputs in answers
        ]
        for output, expected in pairs:
            if output.size != expected.size:
                msg = f"the data set has {expected.size} numbers per sample, but the model outputs {output.size}"
                raise DataError(msg)
        return ArrayMetrics(np.stack([output for output, _ in pairs]), np.stack([expected for _, expected in pairs]))


TASK = TensorTask()
