"""Classification of images and texts. Scores are converted into a list of classes, the most likely first."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError

JSON_CLASSES = 5
"""Number of classes in the JSON document of a result."""

Scores = NDArray[np.float32]


def class_scores(outputs: NDArray[np.float32]) -> Scores:
    """Return the scores `[N,C]` of `N` outputs.

    Args:
        outputs: Scores of all classes, or for two classes the probability of the second one, `[N,1]`.
    """
    outputs = outputs.reshape(len(outputs), -1)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


class ClassScore(msgspec.Struct, frozen=True):
    """A class and its score."""

    label: str
    score: float
    """Score, 0–1. The scores of all classes sum to 1."""


class Classification(msgspec.Struct, frozen=True, eq=False):
    """The predicted class of an image or a text."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Scores `[C]`, one per label. They are a copy, not a view of the engine's memory."""

    @property
    def top(self) -> ClassScore:
        """Return the most likely class."""
        return self.top_k(1)[0]

    def top_k(self, count: int) -> list[ClassScore]:
        """Return the `count` most likely classes, or all if there are fewer, the most likely first."""
        if count < 1:
            msg = f"top_k({count}): the number of classes must be 1 or more"
            raise ConfigError(msg)
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [ClassScore(self.labels[index], float(self.scores[index])) for index in order]

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        classes = [{"label": top.label, "score": round(top.score, 4)} for top in self.top_k(JSON_CLASSES)]
        return {"task": "classify", "top": classes[0], "top_k": classes}


def decode(output: NDArray[np.float32], labels: tuple[str, ...]) -> Classification:
    """Convert one output into a result that owns its data.

    Args:
        output: Scores `[1,C]` or `[C]` float32, or for two classes the probability of the second one.
        labels: Names of the classes.

    Raises:
        BundleError: The size of the output does not fit the labels.
    """
    if output.size != len(labels) and not (output.size == 1 and len(labels) == 2):
        msg = f"the variant's output has shape {list(output.shape)}, but there are {len(labels)} labels"
        raise BundleError(msg)
    return Classification(labels, class_scores(output.reshape(1, -1))[0].astype(np.float32, copy=True))
