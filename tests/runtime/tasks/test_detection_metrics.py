"""The metrics of detectors equal those of pycocotools."""

import contextlib
import io

import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.tasks.heads.head import Detections
from orilla.runtime.tasks.metrics.detection import BoxTruth, DetectionMetrics, iou_matrix


def truth(boxes, classes, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.array(crowd, bool)
    return BoxTruth(boxes, np.array(classes, np.int64), crowd)


def found(boxes, scores, classes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(classes, np.int64))


def xywh(box):
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top]


def by_pycocotools(truths, detections, classes):
    """Return the metrics of pycocotools. Objects are numbered from 1, because pycocotools never matches object 0."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (one, other) in enumerate(zip(truths, detections, strict=True)):
        for box, cls, crowd in zip(one.boxes_xyxy, one.classes, one.crowd, strict=True):
            extent = xywh(box)
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": int(cls), "bbox": extent}
            annotations.append(row | {"area": extent[2] * extent[3], "iscrowd": int(crowd)})
        for box, score, cls in zip(other.boxes_xyxy, other.scores, other.classes, strict=True):
            results.append({"image_id": image, "category_id": int(cls), "bbox": xywh(box), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
        }
        coco.createIndex()
        answers = coco.loadRes(results) if results else COCO()
        if not results:
            answers.dataset = coco.dataset | {"annotations": []}
            answers.createIndex()
        evaluation = COCOeval(coco, answers, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = dict(zip(("map", "map50", "map75"), evaluation.stats, strict=False)) | {"mar100": evaluation.stats[8]}
    for index, name in enumerate(classes):
        precision = evaluation.eval["precision"][:, :, index, 0, 2]
        if (precision > -1).any():
            metrics[f"ap/{name}"] = precision.mean()
    return metrics


def random_images(count, seed, classes=5):
    """Return true objects and their detections. Detections may be shifted, doubled or missing."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(count):
        objects = rng.integers(0, 9) if rng.random() > 0.1 else 0
        corner = rng.uniform(0, 300, (objects, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 150, (objects, 2))], axis=1)
        labels = rng.integers(0, classes, objects)
        truths.append(truth(boxes, labels, rng.random(objects) < 0.15))
        repeats = rng.integers(0, 3, objects)
        near = np.repeat(boxes, repeats, axis=0) + rng.normal(0, 8, (repeats.sum(), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        extra = rng.integers(0, 140 if rng.random() < 0.03 else 4)
        beside = rng.uniform(0, 300, (extra, 2))
        beside = np.concatenate([beside, beside + rng.uniform(5, 100, (extra, 2))], axis=1)
        guesses = np.concatenate([np.repeat(labels, repeats), rng.integers(0, classes, extra)])
        wrong = rng.random(len(guesses)) < 0.1
        guesses[wrong] = rng.integers(0, classes, wrong.sum())
        scores = rng.random(len(guesses)).round(2)  # Some scores are equal.
        detections.append(found(np.concatenate([near, beside]), scores, guesses))
    return truths, detections


def assert_equal_to_pycocotools(truths, detections, classes):
    ours, theirs = DetectionMetrics(truths, detections, classes).metrics(), by_pycocotools(truths, detections, classes)
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, abs=1e-6)
    return ours


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_random_images_equal_those_of_pycocotools(seed):
    truths, detections = random_images(250, seed)
    ours = assert_equal_to_pycocotools(truths, detections, tuple("abcde"))
    assert 0.05 < ours["map"] < ours["map50"] < 0.9


@pytest.mark.parametrize("seed", range(20))
def test_metrics_of_few_images_equal_those_of_pycocotools(seed):
    truths, detections = random_images(4, 100 + seed)
    assert_equal_to_pycocotools(truths, detections, tuple("abcdefg"))  # The last classes have no objects.


BOX = [10, 10, 50, 60]
EDGE_CASES = {
    "no detections": ([truth(BOX, [0])], [found([], [], [])]),
    "no detections of a class": ([truth([BOX, BOX], [0, 1])], [found(BOX, [0.5], [0])]),
    "an image without objects": ([truth(BOX, [0]), truth([], [])], [found(BOX, [0.5], [0]), found(BOX, [0.9], [0])]),
    "a class without objects": ([truth(BOX, [0])], [found([BOX, BOX], [0.5, 0.9], [0, 1])]),
    "equal scores": (
        [truth([BOX, [100, 100, 120, 130]], [0, 0])],
        [found([BOX, [0, 0, 9, 9], [100, 100, 120, 131]], [0.5, 0.5, 0.5], [0, 0, 0])],
    ),
    "the same object twice": ([truth([BOX, BOX], [0, 0])], [found([BOX, BOX, BOX], [0.9, 0.8, 0.7], [0, 0, 0])]),
    "a crowd": (
        [truth([BOX, [0, 0, 200, 200]], [0, 0], [False, True])],
        [found([BOX, BOX, [100, 100, 120, 130], [190, 190, 300, 300]], [0.6, 0.9, 0.8, 0.7], [0, 0, 0, 0])],
    ),
    "a crowd alone": ([truth([BOX, BOX], [0, 1], [True, False])], [found([BOX, BOX], [0.6, 0.9], [0, 1])]),
    "more boxes than count": (
        [truth([[i, 0, i + 1, 9] for i in range(150)], [0] * 150)],
        [found([[i, 0, i + 1, 9] for i in range(150)], np.linspace(0, 1, 150), [0] * 150)],
    ),
    "an IoU of exactly 0.5": ([truth([0, 0, 10, 10], [0])], [found([0, 0, 10, 5], [0.5], [0])]),
}


@pytest.mark.parametrize("name", EDGE_CASES)
def test_edge_cases_equal_pycocotools(name):
    assert_equal_to_pycocotools(*EDGE_CASES[name], ("a", "b"))


def test_images_without_any_object_cannot_be_measured():
    for one in (truth([], []), truth(BOX, [0], [True])):
        with pytest.raises(DataError, match="no image has a box"):
            DetectionMetrics([one], [found(BOX, [0.5], [0])], ("a",))


def test_weights_count_images_several_times():
    truths, detections = random_images(40, 3)
    weights = np.array([2.0, 0, 1, 3] * 10)
    repeated = [index for index, weight in enumerate(weights) for _ in range(int(weight))]
    weighted = DetectionMetrics(truths, detections, tuple("abcde")).metrics(weights)
    expected = by_pycocotools([truths[i] for i in repeated], [detections[i] for i in repeated], tuple("abcde"))
    # If scores are equal, copies of an image are adjacent here, but not in pycocotools.
    assert weighted == pytest.approx(expected, abs=0.01)


def test_a_resample_without_objects_has_no_metrics():
    metrics = DetectionMetrics([truth(BOX, [0]), truth([], [])], [found(BOX, [0.5], [0])] * 2, ("a",))
    assert metrics.metrics(np.array([0.0, 2])) == {}
    assert metrics.metrics()["map"] == pytest.approx(1)


def test_intervals_contain_the_metric():
    truths, detections = random_images(60, 5)
    metrics = DetectionMetrics(truths, detections, tuple("abcde"))
    value, (low, high) = metrics.metrics()["map"], metrics.intervals()["map"]
    assert low < value < high
    assert metrics.intervals() == metrics.intervals()


def test_iou_of_boxes():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    assert iou_matrix(boxes, np.array([[0, 0, 10, 5], [5, 0, 15, 10]])).tolist() == [[0.5, 1 / 3], [0, 0]]
    assert iou_matrix(boxes, np.array([[0, 0, 100, 100]]), np.array([True])).tolist() == [[1], [1]]
