"""The task `detect`: positions in the frame, agreement, metrics, drawing."""

import json

import cv2
import msgspec
import numpy as np
import pytest
from helpers.datasets import coco_document
from helpers.detectors import HEAD, color_detector, detector_bundle

import orilla.runtime
from orilla.devices.errors import BundleError, ConfigError, DataError
from orilla.runtime.bundle import bundle as bundle_files
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.evaluation.accuracy import accuracy, open_labelled
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.detect import TASK, Box, Detection, head_labels, pair_count
from orilla.runtime.tasks.heads.head import Detections, HeadSpec
from orilla.runtime.tasks.metrics.detection import BoxTruth
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Located, Target

LABELS = ("cat", "dog")
IN_GRAPH = HeadSpec("nms_in_graph", {"detections": "out"})


def context(size_hw=(100, 100), frame_hw=None, **changes):
    return DecodeContext(LABELS, Preprocess(size_hw, **changes), frame_hw, IN_GRAPH)


def outputs(*rows):
    """Return outputs with boxes in pixels of the input: left, top, right, bottom, score, class."""
    return {"out": np.array(rows, np.float32).reshape(-1, 6)}


BOX = (10, 20, 50, 60, 0.9, 0)


@pytest.mark.parametrize(
    ("changes", "frame_hw", "expected"),
    [
        ({}, (200, 400), (40, 40, 200, 120)),
        ({"resize": "letterbox"}, (200, 400), (40, 0, 200, 140)),  # The border above has 25 pixels of the input.
        ({"resize": "letterbox", "anchor": "top-left"}, (200, 400), (40, 80, 200, 200)),
        ({"resize": "crop"}, (200, 400), (120, 40, 200, 120)),
        ({"resize": "none"}, (100, 100), (10, 20, 50, 60)),
    ],
)
def test_boxes_are_positions_in_the_frame(changes, frame_hw, expected):
    result = TASK.decode(outputs(BOX), context(frame_hw=frame_hw, **changes))
    assert result.boxes[0].xyxy == pytest.approx(expected)
    assert (result.boxes[0].label, result.frame_hw) == ("cat", frame_hw)
    assert result.boxes[0].score == pytest.approx(0.9)


def test_without_a_frame_positions_are_those_in_the_input():
    assert TASK.decode(outputs(BOX), context()).boxes[0].xyxy == BOX[:4]


def test_boxes_are_clipped_to_the_frame_and_left_out_in_the_border():
    rows = outputs((-5, 30, 120, 60, 0.9, 0), (10, 2, 50, 20, 0.8, 1))
    result = TASK.decode(rows, context(frame_hw=(200, 400), resize="letterbox"))
    assert [box.xyxy for box in result.boxes] == [(0, 20, 400, 140)]


def test_an_answer_is_a_json_document():
    boxes = (Box("cat", 0.51239, (1.23456, 2, 3, 4)), Box("dog", 0.5, (0, 0, 9.5, 9), ((1.5, 2.0),), 7))
    result = Detection(boxes, (10, 10))
    assert result.to_dict() == {
        "task": "detect",
        "boxes": [
            {"label": "cat", "score": 0.5124, "xyxy": [1.23, 2, 3, 4]},
            {"label": "dog", "score": 0.5, "xyxy": [0, 0, 9.5, 9], "keypoints": [[1.5, 2.0]], "track": 7},
        ],
    }
    assert isinstance(result, Located)
    assert result.boxes_xyxy() == [(1, 2, 3, 4), (0, 0, 10, 9)]


def test_keypoints_are_positions_in_the_frame():
    spec = HeadSpec("yolo_plain", {"predictions": "out"}, {"transposed": False, "keypoints": 1}, score_threshold=0.5)
    face = DecodeContext(("face",), Preprocess((100, 100)), (200, 400), spec)
    result = TASK.decode({"out": np.array([[50, 50, 20, 20, 0.9, 55, 45, 1]], np.float32)}, face)
    assert result.boxes[0].keypoints == ((220.0, 90.0),)
    empty = TASK.decode({"out": np.zeros((1, 8), np.float32)}, face)
    assert empty.boxes == ()


@pytest.mark.parametrize(
    ("found", "expected", "agreeing"),
    [
        ([], [], [True]),
        ([BOX], [BOX], [True]),
        ([BOX], [], [False]),
        ([], [BOX], [False]),
        ([BOX], [(10, 20, 50, 59, 0.3, 0)], [True]),
        ([BOX], [(10, 20, 50, 60, 0.9, 1)], [False, False]),  # another class
        ([BOX], [(60, 60, 80, 80, 0.9, 0)], [False, False]),
        ([BOX, (60, 60, 80, 80, 0.9, 0)], [BOX], [True, False]),
        ([BOX, (10, 20, 50, 58, 0.8, 0)], [BOX], [True, False]),  # A box is matched with only one other box.
        ([(10, 20, 50, 60, 0.2, 0)], [BOX], [False]),  # below the score threshold
    ],
)
def test_agreement_compares_boxes(found, expected, agreeing):
    assert TASK.agreeing(outputs(*found), outputs(*expected), context()).tolist() == agreeing


def test_pairs_begin_with_the_largest_iou():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 14]], np.float32)
    one = Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    assert pair_count(one, one) == 2
    assert pair_count(one, one.take(np.array([1]))) == 1


def target(labels=LABELS, classes=LABELS):
    own = DecodeContext(labels, Preprocess((100, 100)), None, IN_GRAPH)
    return Target(TASK, own, TASK.class_indices(classes, labels, "data"), 255)


def truth(*rows, frame_hw=(200, 400)):
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    classes = np.array([row[4] for row in rows], np.int64)
    return GroundTruth("a", BoxTruth(boxes, classes, np.zeros(len(rows), bool), frame_hw))


def test_metrics_use_positions_in_the_frame_and_low_scores():
    right = (truth((40, 40, 200, 120, 0)), outputs((10, 20, 50, 60, 0.05, 0)))
    assert TASK.metrics(target(), [right]).metrics()["map"] == pytest.approx(1)


def test_a_model_may_have_more_classes_than_the_data():
    few = target(classes=("dog",))
    assert few.class_indices == (1,)
    answers = [(truth((40, 40, 200, 120, 0)), outputs((10, 20, 50, 60, 0.9, 1), (0, 0, 9, 9, 0.99, 0)))]
    assert TASK.metrics(few, answers).metrics() == pytest.approx(
        {"map": 1, "map50": 1, "map75": 1, "mar100": 1, "ap/dog": 1}
    )
    with pytest.raises(ConfigError, match="unknown class of the model 'cow'"):
        TASK.class_indices(("cow",), LABELS, "data")


def test_class_numbers_out_of_range_are_refused():
    with pytest.raises(DataError, match="sample a has class 2"):
        TASK.metrics(target(), [(truth((0, 0, 9, 9, 2)), outputs(BOX))])
    with pytest.raises(BundleError, match="found class 5, but there are 2 labels"):
        TASK.decode(outputs((*BOX[:5], 5)), context())
    with pytest.raises(BundleError, match="names no head"):
        TASK.decode(outputs(BOX), DecodeContext(LABELS, Preprocess((100, 100))))


def test_golden_images_have_certain_boxes():
    rows = np.zeros((6, 2, 6), np.float32)
    for index, score in enumerate((0.0, 0.9, 0.26, 0.8, 0.24, 0.0)):
        rows[index, 0] = (10, 20, 50, 60, score, 0)
    rows[1, 1] = (60, 60, 80, 80, 0.255, 1)  # One box is near the threshold.
    assert TASK.choose_golden({"out": rows}, context(), 1) == [3]
    assert TASK.choose_golden({"out": rows}, context(), 3) == [1, 2, 3]
    assert TASK.choose_golden({"out": rows}, context(), 4) == [0, 1, 2, 3]


def test_labels_are_checked_against_the_outputs():
    shapes = {"out": (6, 24)}
    spec = HeadSpec("yolo_plain", {"predictions": "out"})
    assert head_labels(spec, shapes, LABELS) == LABELS
    with pytest.raises(ConfigError, match="`labels` has 3 names, but the outputs have 2 classes"):
        head_labels(spec, shapes, (*LABELS, "cow"))
    with pytest.raises(ConfigError, match="give the names of the 2 classes"):
        head_labels(spec, shapes, ())
    with pytest.raises(ConfigError, match="`labels` is missing"):
        TASK.labels_for([(6, 24)], ())
    faces = HeadSpec("blazeface", {"boxes": "b", "scores": "s"}, {"strides": [4.0], "anchors_per_cell": [1.0]})
    assert head_labels(faces, {"b": (2304, 16), "s": (2304, 1)}, ()) == ("face",)


def test_manifests_with_another_head_are_refused(tmp_path):
    bundle = Bundle.open(detector_bundle(tmp_path / "a.orilla"))
    wrong = {
        "needs a head": {"head": None},
        "unknown layout of a detector 'yolo'": {"head": msgspec.structs.replace(HEAD, layout="yolo")},
        "3 names, but the outputs have 2": {"labels": ("a", "b", "c")},
        "a head is only for detectors": {"task": "segment", "labels": ("a",)},
    }
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    for message, changes in wrong.items():
        manifest = msgspec.structs.replace(bundle.manifest, **changes)
        with pytest.raises(BundleError, match=message):
            bundle_files.write(tmp_path / "b.orilla", manifest, files)


def test_a_detector_runs_in_the_loop_and_selects_crops(tmp_path):
    path = detector_bundle(tmp_path / "colors.orilla")
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[16:32, 16:48] = (0, 0, 255)
    frame[32:48, 64:80] = (255, 0, 0)
    with orilla.runtime.open(path) as model:
        (tick,) = list(model.stream([frame], policy="every"))
        assert {box.label for box in tick.result.boxes} == {"red", "blue"}
        blue = next(box for box in tick.result.boxes if box.label == "blue")
        assert blue.xyxy == (56, 24, 88, 56)
        with orilla.runtime.open(path) as second:
            parts = orilla.runtime.cascade(model, second)(frame).result.parts
        assert len(parts) == len(tick.result.boxes)
        assert all(part.answer.frame_hw[0] <= 32 for part in parts)
    assert len(color_detector()) < 2000


@pytest.mark.parametrize("size_hw", [(1, 1), (12, 16), (48, 64), (480, 640), (2160, 3840), (40, 2000)])
def test_drawing_fits_images_of_every_size(size_hw):
    height, width = size_hw
    boxes = tuple(
        Box(
            "traffic light", 0.87, (left * width, top * height, right * width, bottom * height), ((0.5, 0.5), (-4, 1e9))
        )
        for left, top, right, bottom in ((0, 0, 1, 1), (0.9, 0.9, 1, 1), (0, 0.4, 0.1, 0.5), (0.7, 0, 1, 0.02))
    )
    image = np.zeros((height, width, 3), np.uint8)
    assert Detection(boxes, size_hw).draw(image) == ["4 traffic light"]
    assert image.any()
    assert Detection((), size_hw).draw(image) == ["no objects"]


def test_labels_are_legible_beside_the_box():
    """The background of the label has the colour of the box, and the text contrasts with it."""
    image = np.full((480, 640, 3), 90, np.uint8)
    Detection((Box("person", 0.9, (100, 200, 300, 400)),), (480, 640)).draw(image)
    above = cv2.cvtColor(image[180:200, 100:180], cv2.COLOR_BGR2GRAY)
    assert int(above.max()) - int(above.min()) > 100
    assert (image[250, 200] == 90).all()


def test_a_long_caption_is_shortened():
    names = "abcdef"
    boxes = tuple(Box(name, 0.9, (0, 0, 5, 5)) for name in names for _ in range(1 + (name == "c")))
    assert Detection(boxes, (9, 9)).draw(np.zeros((9, 9, 3), np.uint8)) == ["2 c, 1 a, 1 b, 1 d, ..."]


def color_data(path):
    """Write images with a red and a blue area, and with boxes of the size that the detector returns."""
    rng, boxes = np.random.default_rng(0), {}
    path.mkdir()
    for index in range(6):
        image = np.zeros((64, 96, 3), np.uint8)
        rows = []
        for cls, (blue, red) in enumerate(((0, 255), (255, 0))):
            x, y = 16 * int(rng.integers(1 + 2 * cls, 3 + 2 * cls)), 16 * int(rng.integers(1, 3))
            image[y : y + 16, x : x + 16] = (blue, 0, red)
            rows.append((cls, x - 8.0, y - 8.0, x + 24.0, y + 24.0))
        name = f"{index}.png"
        cv2.imwrite(str(path / name), image)
        boxes[name] = rows
    document = coco_document(boxes) | {"categories": [{"id": 3, "name": "red"}, {"id": 7, "name": "blue"}]}
    for image in document["images"]:
        image.update(height=64, width=96)
    (path / "annotations.json").write_text(json.dumps(document))
    return path


def test_the_accuracy_of_a_bundle_is_measured_on_data_with_boxes(tmp_path):
    bundle = Bundle.open(detector_bundle(tmp_path / "colors.orilla"))
    data = open_labelled(str(color_data(tmp_path / "data")), bundle.manifest)
    with orilla.runtime.open(tmp_path / "colors.orilla") as model:
        result = accuracy(bundle, model.session, data)
    assert result.metric == "map"
    assert result.value == pytest.approx(1)
    assert set(result.metrics) == {"map", "map50", "map75", "mar100", "ap/red", "ap/blue"}
    animals = msgspec.structs.replace(bundle.manifest, labels=("red", "green"))
    with pytest.raises(ConfigError, match="unknown class of the model 'blue'"):
        open_labelled(str(tmp_path / "data"), animals)
