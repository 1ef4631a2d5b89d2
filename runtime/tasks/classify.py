"""Classification of images and texts: from scores to classes, the most likely first."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError

SHOWN = 5
"""Number of classes in a JSON line."""


Scores = NDArray[np.float32]


def class_scores(outputs: NDArray[np.float32]) -> Scores:
    """Return scores `[N,C]` from outputs, which are scores or `[N,1]` probabilities of the second of two classes."""
    outputs = outputs.reshape(len(outputs), -1)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


class ClassScore(msgspec.Struct, frozen=True):
    """A class and its score."""

    label: str
    score: float
    """Score, 0–1. The scores of all classes sum to 1."""


class Classification(msgspec.Struct, frozen=True, eq=False):
    """The class of an image or a text."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Scores, `[C]`, one per label; the result owns them."""

    @property
    def top(self) -> ClassScore:
        """Return the most likely class."""
        return self.top_k(1)[0]

    def top_k(self, count: int) -> list[ClassScore]:
        """Return the `count` most likely classes, or all if there are fewer, the most likely first."""
        if count < 1:
            msg = f"top_k({count}): ask for 1 class or more"
            raise ConfigError(msg)
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [ClassScore(self.labels[place], float(self.scores[place])) for place in order]

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        guesses = [{"label": one.label, "score": round(one.score, 4)} for one in self.top_k(SHOWN)]
        return {"task": "classify", "top": guesses[0], "top_k": guesses}


def decode(output: NDArray[np.float32], labels: tuple[str, ...]) -> Classification:
    """Convert one output into a result that owns its data.

    Args:
        output: `[1,C]` or `[C]` float32 scores, or the probability of the second of two classes.
        labels: Class names.

    Raises:
        BundleError: The output has another size.
    """
    if output.size != len(labels) and not (output.size == 1 and len(labels) == 2):
        msg = f"the variant's output is {list(output.shape)}, but there are {len(labels)} labels"
        raise BundleError(msg)
    return Classification(labels, class_scores(output.reshape(1, -1))[0].astype(np.float32, copy=True))
