import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orilla.runtime.tasks.heads.head import Detections
from orilla.runtime.tasks.heads.nms import suppress


def detections(boxes, scores, classes):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int64)
    )


def iou(one, other):
    inter = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return inter / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - inter)


def greedy(found, threshold):
    """Suppress boxes one by one, as textbooks describe it."""
    kept = []
    for index in np.argsort(-found.scores, kind="stable"):
        same = [other for other in kept if found.classes[other] == found.classes[index]]
        if all(iou(found.boxes_xyxy[index], found.boxes_xyxy[other]) <= threshold for other in same):
            kept.append(int(index))
    return kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 80))
def test_suppression_equals_a_simple_loop(seed, count):
    rng = np.random.default_rng(seed)
    corner = rng.integers(-200, 200, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 150, (count, 2))], axis=1)
    # The scores are rounded, so that some are equal.
    found = detections(boxes, rng.random(count).round(1), rng.integers(0, 3, count))
    kept = suppress(found, 0.45, 1000)
    assert np.array_equal(kept.boxes_xyxy, found.boxes_xyxy[greedy(found, 0.45)])
    assert (np.diff(kept.scores) <= 0).all()


def test_boxes_of_other_classes_and_outside_the_image_do_not_suppress_each_other():
    found = detections([[-50, -50, 40, 40], [-50, -50, 40, 40], [-50, -50, 41, 40]], [0.9, 0.8, 0.7], [0, 1, 0])
    assert suppress(found, 0.45, 10).classes.tolist() == [0, 1]


def test_empty_and_infinite_boxes_are_removed():
    found = detections([[0, 0, 0, 5], [5, 5, 3, 3], [0, 0, np.inf, 4], [1, 1, 2, 2]], [0.9, 0.9, 0.9, 0.5], [0] * 4)
    assert suppress(found, 0.45, 10).boxes_xyxy.tolist() == [[1, 1, 2, 2]]


def test_the_number_of_boxes_is_limited_to_the_best():
    found = detections([[10 * i, 0, 10 * i + 5, 5] for i in range(20)], np.linspace(0.1, 0.9, 20), [0] * 20)
    assert suppress(found, 0.45, 3).scores == pytest.approx(np.sort(found.scores)[::-1][:3])
    assert len(suppress(found, 1.0, 100)) == 20
