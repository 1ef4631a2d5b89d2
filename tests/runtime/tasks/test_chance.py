"""Metrics of a model that is no better than a constant answer."""

import numpy as np
import pytest

from orilla.runtime.bundle.choices import INTRODUCTION, Choice, choice_lines
from orilla.runtime.tasks.heads.head import Detections
from orilla.runtime.tasks.metrics import HasChance
from orilla.runtime.tasks.metrics.class_segmentation import ClassSegmentationMetrics
from orilla.runtime.tasks.metrics.classification import ClassificationMetrics, upper_tail
from orilla.runtime.tasks.metrics.detection import BoxTruth, DetectionMetrics
from orilla.runtime.tasks.metrics.regression import RegressionMetrics
from orilla.runtime.tasks.metrics.segmentation import SegmentationMetrics, tally

RNG = np.random.default_rng(0)


def classified(predicted, labels, classes=("cat", "dog")):
    scores = np.eye(len(classes), dtype=np.float32)[np.asarray(predicted)]
    return ClassificationMetrics(scores, np.asarray(labels, np.int64), classes)


def test_the_upper_tail_is_that_of_the_binomial_distribution():
    assert upper_tail(0, 10, 0.3) == pytest.approx(1)
    assert upper_tail(10, 10, 0.5) == pytest.approx(2**-10)
    assert upper_tail(6, 8, 0.5) == pytest.approx(37 / 256)
    assert upper_tail(30000, 60000, 0.5) == pytest.approx(0.5, abs=0.01)


def test_a_classifier_that_guesses():
    labels = [0] * 30 + [1] * 10
    assert classified([0] * 40, labels).chance() == (
        "accuracy 0.750 on 40 samples is not better than 0.750, the accuracy of always answering cat"
    )
    assert classified([1] * 30 + [0] * 10, labels).chance().startswith("accuracy 0.000 on 40 samples")
    assert classified(labels, labels).chance() is None
    assert classified([0] * 31 + [1] * 9, labels).chance() is None


def test_what_too_few_samples_cannot_show_is_not_claimed():
    assert classified([0, 1], [1, 0]).chance() is None
    assert classified([1] * 20, [0] * 20).chance() is None
    assert classified([0, 1, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1, 1, 1]).chance() is not None


def masks(probability, truth):
    everywhere = np.ones(truth.shape, bool)
    return SegmentationMetrics([f"image{place}" for place in range(6)], [tally(probability, truth, everywhere)] * 6)


def test_a_mask_that_covers_everything_or_nothing():
    truth = np.zeros((10, 10), bool)
    truth[:4] = True
    for value in (0.0, 1.0):
        assert (
            "is not better than 0.400, the IoU of a mask of all pixels"
            in masks(np.full((10, 10), value, np.float32), truth).chance()
        )
    assert masks(truth.astype(np.float32), truth).chance() is None


def test_one_class_for_all_pixels():
    constant = np.array([[60, 0, 0], [40, 0, 0]])
    metrics = ClassSegmentationMetrics(("road", "sky"), [constant] * 6)
    assert metrics.chance() == (
        "mean IoU 0.300 on 6 images is not better than 0.300, the mean IoU of road for all pixels"
    )
    assert ClassSegmentationMetrics(("road", "sky"), [np.array([[55, 5, 0], [5, 35, 0]])] * 6).chance() is None


def test_numbers_that_are_no_better_than_their_mean():
    true = RNG.uniform(-1, 1, (40, 2))
    found = np.stack([true[:, 0] + 0.01, np.zeros(40)], axis=1)
    sentence = RegressionMetrics(found, true, ("steering", "throttle"), np.array([2.0, 2.0])).chance()
    assert sentence.endswith("for throttle on 40 samples, which is not better than always predicting the mean")
    assert "steering" not in sentence
    assert RegressionMetrics(true, true, ("a", "b"), np.array([2.0, 2.0])).chance() is None


def test_a_detector_that_finds_nothing():
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    truths = [BoxTruth(boxes, np.zeros(1, np.int64), np.zeros(1, bool))] * 10
    nothing = [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))] * 10
    right = [Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64))] * 10
    assert "almost none of 10 objects is found" in DetectionMetrics(truths, nothing, ("cat",)).chance()
    metrics = DetectionMetrics(truths, right, ("cat",))
    assert isinstance(metrics, HasChance)
    assert metrics.chance() is None


def test_choices_are_listed_by_their_origin():
    choices = (
        Choice("input range", "0..1", "you"),
        Choice("colour", "rgb", "default"),
        Choice("resize", "crop", "you"),
    )
    assert choice_lines(choices) == [
        INTRODUCTION,
        "  by default: colour: rgb",
        "  stated by you: input range: 0..1; resize: crop",
    ]
    assert choice_lines(()) == []
