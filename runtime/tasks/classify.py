"""Classification, of a picture or a text: scores in, classes out, the most likely first."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError

SHOWN = 5
"""Classes that a JSON line names."""


Scores = NDArray[np.float32]


def class_scores(outputs: NDArray[np.float32]) -> Scores:
    """Scores `[N,C]` from a network's outputs: those, or `[N,1]` probabilities of the second of two classes."""
    outputs = outputs.reshape(len(outputs), -1)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


class ClassScore(msgspec.Struct, frozen=True):
    """A class and how likely it is."""

    label: str
    score: float
    """0-1; the scores of all classes sum to 1."""


class Classification(msgspec.Struct, frozen=True, eq=False):
    """What a picture or a text is."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """`[C]`, one for each label; the result's own copy."""

    @property
    def top(self) -> ClassScore:
        """The most likely class."""
        return self.top_k(1)[0]

    def top_k(self, count: int) -> list[ClassScore]:
        """The `count` most likely classes, the most likely first; all of them where there are fewer."""
        if count < 1:
            msg = f"top_k({count}): ask for 1 class or more"
            raise ConfigError(msg)
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [ClassScore(self.labels[place], float(self.scores[place])) for place in order]

    def to_dict(self) -> dict[str, object]:
        """What one JSON line says of the result."""
        guesses = [{"label": one.label, "score": round(one.score, 4)} for one in self.top_k(SHOWN)]
        return {"task": "classify", "top": guesses[0], "top_k": guesses}


def decode(output: NDArray[np.float32], labels: tuple[str, ...]) -> Classification:
    """Turns one output, `[1,C]` or `[C]` float32 scores, or the probability of the second of two classes, into a
    result that owns its data.

    Raises:
        BundleError: an output of another size.
    """
    if output.size != len(labels) and not (output.size == 1 and len(labels) == 2):
        msg = f"the variant's output is {list(output.shape)}: there are {len(labels)} labels"
        raise BundleError(msg)
    return Classification(labels, class_scores(output.reshape(1, -1))[0].astype(np.float32, copy=True))
