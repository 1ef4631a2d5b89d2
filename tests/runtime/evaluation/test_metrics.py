"""Metrics, compared with their definitions and with the results of simple loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.targets import target_of
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.metrics.bootstrap import intervals, wilson
from orilla.runtime.tasks.metrics.classification import ClassificationMetrics
from orilla.runtime.tasks.metrics.segmentation import SegmentationMetrics, tally
from orilla.runtime.tasks.task import DecodeContext, GroundTruth

masks = arrays.arrays(np.bool_, (5, 7))
probabilities = arrays.arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32))


def segmented(*images):
    """Return the metrics of several images. Each argument contains an image's name and the arguments of `tally`."""
    return SegmentationMetrics([name for name, *_ in images], [tally(*arrays) for _, *arrays in images])


def counted(hit, false, missed, clear):
    """Return the counts for an image with these numbers of true and false positives, false and true negatives."""
    predicted = np.array([1.0] * hit + [1.0] * false + [0.0] * missed + [0.0] * clear, np.float32)
    true = np.array([True] * hit + [False] * false + [True] * missed + [False] * clear)
    return tally(predicted, true, np.ones(len(predicted), bool))


@given(probabilities, masks, masks)
def test_a_tally_equals_the_counts_of_a_loop(probability, truth, known):
    counts = tally(probability, truth, known)
    for row, of_class in enumerate((False, True)):
        pixels = [p for p, t, k in zip(probability.flat, truth.flat, known.flat, strict=True) if k and t == of_class]
        assert counts[row].sum() == len(pixels)
        assert counts[row, 128:].sum() == sum(p >= 0.5 for p in pixels)


def test_the_metrics_of_a_segmentation_match_their_definitions():
    metrics = SegmentationMetrics(["a"], [counted(6, 2, 1, 11)]).metrics()
    assert metrics["iou"] == pytest.approx(6 / 9)
    assert metrics["miou"] == pytest.approx((6 / 9 + 11 / 14) / 2)
    assert metrics["pixel_accuracy"] == pytest.approx(17 / 20)
    assert metrics["precision"] == pytest.approx(6 / 8)
    assert metrics["recall"] == pytest.approx(6 / 7)
    assert metrics["f1"] == pytest.approx(12 / 15)


def test_maxf_is_the_maximum_f1_over_all_thresholds():
    probability = np.array([[0.9, 0.4, 0.3, 0.1]], np.float32)
    truth = np.array([[True, True, False, False]])
    metrics = segmented(("a", probability, truth, np.ones_like(truth))).metrics()
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["maxf"] == 1.0


def test_images_count_by_their_pixels_and_sequences_have_their_own_iou():
    metrics = SegmentationMetrics(
        ["A_1", "A_2", "B_1"], [counted(1, 1, 0, 0), counted(1, 1, 0, 0), counted(3, 0, 0, 0)]
    ).metrics()
    assert (metrics["iou/A"], metrics["iou/B"], metrics["iou"]) == (0.5, 1.0, 5 / 7)


def test_an_iou_per_sequence_needs_named_sequences_that_contain_the_class():
    plain = SegmentationMetrics(["IMG1", "IMG2"], [counted(1, 0, 0, 0), counted(0, 0, 0, 5)]).metrics()
    assert not [name for name in plain if "/" in name]
    metrics = SegmentationMetrics(
        ["A_1", "B_1", "C_1"], [counted(1, 0, 0, 0), counted(0, 0, 0, 5), counted(1, 0, 0, 0)]
    ).metrics()
    assert "iou/B" not in metrics


def test_images_without_the_class_raise_a_data_error():
    with pytest.raises(DataError, match="nothing can be measured"):
        SegmentationMetrics(["a"], [counted(0, 0, 0, 9)])


scores = arrays.arrays(np.float32, (30, 3), elements=st.floats(0, 1, width=16))
truths = arrays.arrays(np.int64, 30, elements=st.integers(0, 2))


@given(scores, truths)
def test_the_metrics_of_a_classifier_match_their_definitions(score, labels):
    metrics = ClassificationMetrics(score, labels, ("a", "b", "c")).metrics()
    predicted = score.argmax(axis=1)
    assert metrics["accuracy"] == pytest.approx(np.mean(predicted == labels))
    for index, name in enumerate("abc"):
        hits = np.sum((predicted == index) & (labels == index))
        precision = hits / max(1, np.sum(predicted == index))
        recall = hits / max(1, np.sum(labels == index))
        assert metrics[f"precision/{name}"] == pytest.approx(precision)
        assert metrics[f"recall/{name}"] == pytest.approx(recall)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert metrics[f"f1/{name}"] == pytest.approx(f1)


@given(
    arrays.arrays(np.float32, 20, elements=st.floats(0, 1, width=16)),
    arrays.arrays(np.int64, 20, elements=st.integers(0, 1)),
)
def test_roc_auc_is_the_probability_that_a_positive_scores_higher(score, labels):
    metrics = ClassificationMetrics(np.stack([1 - score, score], axis=1), labels, ("no", "yes")).metrics()
    pairs = [(p > n) + 0.5 * (p == n) for p in score[labels == 1] for n in score[labels == 0]]
    if pairs:
        assert metrics["roc_auc"] == pytest.approx(np.mean(pairs))
    else:
        assert "roc_auc" not in metrics


@settings(max_examples=25)
@given(scores, truths, st.lists(st.integers(0, 29), min_size=30, max_size=30))
def test_a_weight_has_the_effect_of_repeating_a_sample(score, labels, drawn):
    weights = np.bincount(drawn, minlength=30).astype(float)
    whole, part = (
        ClassificationMetrics(score, labels, ("a", "b", "c")),
        ClassificationMetrics(score[drawn], labels[drawn], ("a", "b", "c")),
    )
    weighted, repeated = whole.metrics(weights), part.metrics()
    # If a class is absent, it has no metrics, and the means cover only the other classes.
    if set(labels[drawn]) < {0, 1, 2}:
        weighted, repeated = (
            {name: counts for name, counts in of.items() if name in weighted and "/" in name}
            for of in (weighted, repeated)
        )
    assert weighted == pytest.approx(repeated)


def test_a_resample_without_a_class_has_no_metric_of_it():
    """About every seventh resample contains neither of the two cats.

    In such a resample, the recall of cats is undefined, not 0. All other resamples have the same metrics, so Wilson's
    interval is used.
    """
    labels = np.array([0, 0] + [1] * 8)
    right = ClassificationMetrics(np.eye(2)[labels].astype(np.float32), labels, ("cat", "dog")).intervals()
    assert set(right.values()) == {wilson(1.0, 10)}
    assert wilson(1.0, 10)[1] == 1.0


def test_intervals_contain_the_true_value_in_about_95_per_cent():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        right = rng.random(200) < 0.8
        low, high = intervals(lambda w, r=right: {"x": float(w @ r / w.sum())}, 200, resamples=200)["x"]
        held += low <= 0.8 <= high
    assert 50 <= held <= 60


def test_one_probability_becomes_two_scores():
    assert class_scores(np.array([[0.25]], np.float32)).tolist() == [[0.75, 0.25]]


def test_the_classes_of_model_and_data_set_are_matched_by_name(tiny_data):
    dataset = open_dataset(tiny_data)
    target = target_of(dataset, "segment", DecodeContext(("road",)))
    sample = dataset.load("val", 0)
    answer = {"mask": (sample.labels == 3).astype(np.float32)[..., None]}
    assert target.metrics([(GroundTruth(sample.name, sample.labels), answer)]).metrics()["iou"] == 1.0
    with pytest.raises(ConfigError, match="unknown class of camvid 'rood': did you mean road"):
        target_of(dataset, "segment", DecodeContext(("rood",)))
    with pytest.raises(ConfigError, match="unknown task of camvid 'text'"):
        target_of(dataset, "text", DecodeContext(("good", "bad")))
