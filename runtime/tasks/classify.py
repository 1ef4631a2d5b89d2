"""Classification of images and texts. Scores are converted into a list of classes in descending order of score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, DataError, unknown_name
from orilla.runtime.preprocessing.tensor_spec import Outputs, only
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.documents import ClassificationDocument, ScoreDocument
from orilla.runtime.tasks.label_names import count_of
from orilla.runtime.tasks.metrics.classification import ClassificationMetrics
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Image, ImportedOutput, Measure, Target, Task

JSON_CLASSES = 5
"""Number of classes in the JSON document of an answer."""

CAPTION_CLASSES = 3
"""Maximum number of classes that the caption of an answer lists."""

MIN_SAMPLES = 8
"""Minimum number of samples for `plausibility`."""

EPSILON = 1e-12
"""Score that replaces 0, because 0 has no logarithm."""

MIN_SCORE = 0.6
"""Minimum score of the best class of a golden sample. A less certain decision may differ on another processor."""

Scores = NDArray[np.float32]


def class_scores(outputs: NDArray[np.float32], decoding: Decoding = PLAIN) -> Scores:
    """Return the scores `[N,C]` of `N` outputs.

    Args:
        outputs: Scores of all classes, `[N,C]`, or for two classes only the probability of the second class, `[N,1]`.
        decoding: Settings of the model's task.
    """
    scores = decoding.probabilities(outputs.reshape(len(outputs), -1))
    if scores.shape[1] == 1 and not decoding.multi_label:
        return np.concatenate([1 - scores, scores], axis=1)
    return scores


class ClassScore(msgspec.Struct, frozen=True):
    """A class and its score."""

    label: str
    score: float
    """Score, 0–1. The scores of all classes sum to 1, except those of a multi-label model."""


class Classification(msgspec.Struct, frozen=True, eq=False):
    """The predicted class of an image or a text."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Scores `[C]`, one per label. They are a copy, not a view of the engine's memory."""
    threshold: float | None = None
    """Minimum score at which a class applies. None if exactly one class applies, the most likely one."""

    @property
    def top(self) -> ClassScore:
        """Return the most likely class."""
        return self.top_k(1)[0]

    def top_k(self, count: int) -> list[ClassScore]:
        """Return the `count` most likely classes, or all if there are fewer, in descending order of score."""
        if count < 1:
            msg = f"top_k({count}): the number of classes must be 1 or more"
            raise ConfigError(msg)
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [ClassScore(self.labels[index], float(self.scores[index])) for index in order]

    @property
    def chosen(self) -> list[ClassScore]:
        """Return the classes that apply, in descending order of score.

        For a multi-label model, the list may be empty.
        """
        if self.threshold is None:
            return [self.top]
        return [score for score in self.top_k(len(self.labels)) if score.score >= self.threshold]

    def to_dict(self) -> ClassificationDocument:
        """Return the result as a JSON document. `chosen` is included only for a multi-label model."""
        classes = [ScoreDocument(label=top.label, score=round(top.score, 4)) for top in self.top_k(JSON_CLASSES)]
        document: ClassificationDocument = {"task": "classify", "top": classes[0], "top_k": classes}
        if self.threshold is not None:
            document["chosen"] = [score.label for score in self.chosen]
        return document

    def caption(self) -> list[str]:
        """Return the most likely classes with their scores in per cent."""
        return [f"{score.label} {100 * score.score:.0f} %" for score in self.top_k(CAPTION_CLASSES)]

    def measures(self) -> list[Measure]:
        """Return the score of the most likely class."""
        return [Measure("score", "", self.top.score)]

    def state(self) -> object:
        """Return the classes that apply."""
        return [score.label for score in self.chosen] or self.top.label

    def draw(self, image: Image) -> list[str]:
        """Return the caption. Nothing is drawn into the image."""
        del image
        return self.caption()


class ClassifyTask(Task):
    """The task `classify`: scores of classes.

    A model with two classes may output only the probability of the second class.
    """

    name = "classify"
    input_kinds: ClassVar[tuple[str, ...]] = ("image", "tensor")
    metric = "accuracy"
    metric_title = "accuracy"
    decision = "classes"
    classifies = True
    golden_candidates = 3

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check that the model has one vector of scores. Return the labels, or class indices if no labels are given."""
        shape = self.only_output(outputs)
        # Some networks keep the axes of their last feature map, of length 1.
        shape = tuple(size for size in shape if size != 1) or (1,)
        classes = 2 if shape == (1,) else shape[0] if len(shape) == 1 else 0
        if not classes:
            msg = (
                f"a classifier's output has shape [classes], but this model's output has shape {list(shape)}: "
                "use task=tensor for other outputs"
            )
            raise ConfigError(msg)
        if labels and len(labels) != classes:
            msg = f"`labels` has {count_of(labels)}, but the model has {classes} classes"
            raise ConfigError(msg)
        return labels or tuple(map(str, range(classes)))

    def decoding_for(self, output: ImportedOutput, *, multi_label: bool) -> Decoding:
        """Return the decoding for an output: softmax or sigmoid if it contains logits, else without an activation."""
        if output.has_numbers:
            msg = "the model outputs class indices, but a classifier outputs scores: use task=tensor"
            raise ConfigError(msg)
        if output.has_activation:
            return Decoding(multi_label=multi_label)
        one = output.shape[-1:] == (1,)
        return Decoding(activation="sigmoid" if one or multi_label else "softmax", multi_label=multi_label)

    def decode(self, outputs: Outputs, context: DecodeContext) -> Classification:
        """Convert scores `[C]`, or the probability of the second of two classes, into an answer.

        Raises:
            BundleError: The size of the output does not match the labels.
        """
        output, labels, decoding = only(outputs), context.labels, context.decoding
        if output.size != len(labels) and not (output.size == 1 and len(labels) == 2 and not decoding.multi_label):
            msg = f"the variant's output has shape {list(output.shape)}, but there are {len(labels)} labels"
            raise BundleError(msg)
        scores = class_scores(output.reshape(1, -1), decoding)[0].astype(np.float32, copy=True)
        return Classification(labels, scores, decoding.threshold if decoding.multi_label else None)

    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the index of the most likely class, `[1]`.

        For a multi-label model, return True for each class that applies, `[C]`.
        """
        scores = class_scores(only(outputs)[None], context.decoding)
        if context.decoding.multi_label:
            applies: NDArray[np.generic] = scores[0] >= context.decoding.threshold
            return applies
        best: NDArray[np.intp] = np.argmax(scores, axis=1)
        return best

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> int:
        """Return the index of the most likely class."""
        return int(np.argmax(class_scores(only(outputs)[None], context.decoding)))

    def plausibility(self, outputs: Sequence[Outputs], context: DecodeContext) -> float | None:
        """Return the mutual information of sample and class, as a share of the entropy that the samples allow.

        It is high if the model decides clearly, and decides differently for different samples. With wrong inputs, a
        model is undecided, or predicts the same class for all samples. Source: Barratt and Sharma, "A Note on the
        Inception Score" (2018), section 2.
        """
        if context.decoding.multi_label or len(outputs) < MIN_SAMPLES:
            return None
        scores = class_scores(np.stack([only(output) for output in outputs]), context.decoding).astype(np.float64)
        scores = np.maximum(scores, EPSILON)
        own = -(scores * np.log(scores)).sum(axis=1).mean()
        mean = scores.mean(axis=0)
        return float((-(mean * np.log(mean)).sum() - own) / np.log(min(scores.shape)))

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of each class among the labels. Raise `ConfigError` if the model lacks a class."""
        del data
        for name in classes:
            if name not in labels:
                raise unknown_name(name, labels, kind="class of the model")
        return tuple(labels.index(name) for name in classes)

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> ClassificationMetrics:
        """Return accuracy, precision, recall and F1. Raise `DataError` if a class index is out of range."""
        labels, scores = [], []
        for truth, outputs in answers:
            labels.append(target.class_indices[known_class(target, int(truth.value), truth.name)])
            scores.append(only(outputs))
        return ClassificationMetrics(
            class_scores(np.stack(scores), target.context.decoding), np.array(labels, np.int64), target.labels
        )

    def sums_to_one(self, outputs: Outputs, context: DecodeContext) -> bool:
        """Return True if the network outputs a probability for each class and exactly one class applies."""
        shape, decoding = only(outputs).shape, context.decoding
        return len(shape) == 2 and shape[1] > 1 and decoding.activation is None and not decoding.multi_label

    def choose_golden(self, outputs: Outputs, context: DecodeContext, count: int) -> list[int]:
        """Return the indices of samples with a clear decision, as `clear_decisions` chooses them."""
        return clear_decisions(class_scores(only(outputs), context.decoding), count)


def known_class(target: Target, label: int, name: str) -> int:
    """Return `label`. Raise `DataError` if the data set has no class with this index."""
    if not 0 <= label < len(target.class_indices):
        msg = f"sample {name} has class {label}: the classes are 0 to {len(target.class_indices) - 1}"
        raise DataError(msg)
    return label


def clear_decisions(scores: Scores, count: int) -> list[int]:
    """Return the indices of the golden samples of a classifier.

    Only samples with a clear decision are chosen, if possible the same number for each class. Within a class, the
    chosen samples are evenly spaced from the least to the most certain decision. If too few decisions are clear, the
    samples with the most certain decisions are chosen.

    Args:
        scores: Scores of the original model, `[N,classes]`.
        count: Number of samples to choose.
    """
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    clear = order[best[order] >= MIN_SCORE]
    if len(clear) < count:
        return sorted(order[-count:].tolist())
    of_class = [clear[classes[clear] == label] for label in np.unique(classes[clear])]
    shares = [0] * len(of_class)
    while sum(shares) < count:
        for place, members in enumerate(of_class):
            if sum(shares) < count and shares[place] < len(members):
                shares[place] += 1
    chosen: list[int] = []
    for members, share in zip(of_class, shares, strict=True):
        chosen += members[np.linspace(0, len(members) - 1, share).round().astype(int)].tolist()
    return sorted(chosen)


TASK = ClassifyTask()
