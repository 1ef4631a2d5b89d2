"""Recognition of layouts from shapes, for published models and for ambiguous shapes."""

import numpy as np
import pytest

from orilla.runtime.tasks.heads import registry
from orilla.runtime.tasks.heads.head import HeadSpec, with_options


@pytest.mark.parametrize(
    ("shapes", "input_hw", "layouts"),
    [
        ({"output": (3549, 85)}, (416, 416), ["yolo_objectness"]),  # YOLOX-nano
        ({"output": (1, 8400, 85)}, (640, 640), ["yolo_objectness"]),  # YOLOX-s with an extra axis
        ({"output": (25200, 85)}, (640, 640), ["yolo_objectness"]),  # YOLOv5 style
        ({"output0": (84, 8400)}, (640, 640), ["yolo_plain"]),  # YOLOv8 style
        ({"output0": (300, 6)}, (640, 640), ["nms_in_graph"]),  # end-to-end detectors
        ({"logits": (100, 92), "pred_boxes": (100, 4)}, (800, 800), ["detr"]),
        ({"raw_boxes": (1917, 4), "raw_scores": (1917, 91)}, (300, 300), ["ssd_anchors"]),
        ({"reg": (896, 16), "cls": (896, 1)}, (128, 128), ["blazeface"]),
        ({"hm": (80, 128, 128), "wh": (2, 128, 128), "reg": (2, 128, 128)}, (512, 512), ["centernet"]),
        ({f"o{s}": (144, 640 // s, 640 // s) for s in (8, 16, 32)}, (640, 640), ["yolo_anchors", "yolo_dfl"]),
        ({f"o{s}": (65, 640 // s, 640 // s) for s in (8, 16, 32)}, (640, 640), ["yolo_dfl"]),
        ({"b": (10, 4), "c": (10,), "s": (10,), "n": ()}, (300, 300), ["ssd"]),
        ({"b": (10, 4), "c": (10,), "s": (10,), "n": (1,)}, (300, 300), ["ssd"]),
        ({"a": (1001,)}, (224, 224), []),
    ],
)
def test_published_shapes(shapes, input_hw, layouts):
    assert [spec.layout for spec in registry.recognise(shapes, input_hw)] == layouts


def test_the_number_of_names_decides():
    grids = {f"o{s}": (144, 640 // s, 640 // s) for s in (8, 16, 32)}
    names = [str(index) for index in range(80)]
    assert [spec.layout for spec in registry.recognise(grids, (640, 640), names)] == ["yolo_dfl"]
    assert [spec.layout for spec in registry.recognise(grids, (640, 640), names[:43])] == ["yolo_anchors"]
    rows = {"output": (3549, 85)}
    assert [spec.layout for spec in registry.recognise(rows, (416, 416), names)] == ["yolo_objectness"]
    assert [spec.layout for spec in registry.recognise(rows, (416, 416), [*names, "x"])] == ["yolo_plain"]
    pair = {"boxes": (100, 4), "scores": (100, 81)}
    detr = next(spec for spec in registry.recognise(pair, (416, 416), names) if spec.layout == "detr")
    assert detr.options == {"activation": "softmax"}


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (("op", "op:1", "op:2", "op:3"), ("boxes", "classes", "scores", "count")),  # This is the operator's own order.
        (("scores", "boxes", "count", "classes"), ("scores", "boxes", "count", "classes")),
        (("call:1", "call:3", "call:0", "call:2"), ("scores", "boxes", "count", "classes")),  # TensorFlow 2
    ],
)
def test_the_outputs_of_ssd_have_several_orders(names, roles):
    shapes = {"boxes": (10, 4), "classes": (10,), "scores": (10,), "count": (1,)}
    (spec,) = registry.recognise({name: shapes[role] for name, role in zip(names, roles, strict=True)}, (300, 300))
    assert spec.outputs == dict(zip(roles, names, strict=True))


def test_values_correct_the_order_of_classes_and_scores():
    outputs = {
        "a": np.zeros((3, 4), np.float32),
        "b": np.array([0.9, 0.5, 0.1], np.float32),
        "c": np.array([2, 1, 7], np.float32),
        "d": np.array([3], np.float32),
    }
    (spec,) = registry.recognise({name: array.shape for name, array in outputs.items()}, (300, 300))
    (refined,) = registry.refine([spec], outputs, (300, 300))
    assert (refined.outputs["scores"], refined.outputs["classes"]) == ("b", "c")
    outputs["b"] = outputs["c"] = np.array([0.5, 7, 0.25], np.float32)
    assert registry.refine([spec], outputs, (300, 300)) == []


def test_logits_are_distinguished_from_probabilities():
    rows = np.full((3549, 85), -5, np.float32)
    (spec,) = registry.recognise({"output": rows.shape}, (416, 416))
    (refined,) = registry.refine([spec], {"output": rows}, (416, 416))
    assert refined.options["activated"] is False


def test_options_that_the_shapes_do_not_determine_are_asked_for():
    shapes = {"raw_boxes": (1917, 4), "raw_scores": (1917, 91)}
    (spec,) = registry.recognise(shapes, (300, 300))
    head = registry.head_of("ssd_anchors")
    assert head.check(spec, shapes) == "option grids of ssd_anchors could not be determined"
    grids = with_options(spec, grids=[[19.0, 19.0]], sizes=[[60.0]], aspect_ratios=[[1.0]])
    assert "give sigmoid or softmax or none" in head.check(grids, shapes)
    complete = with_options(grids, activation="sigmoid")
    assert head.check(complete, shapes) == "the options define 361 anchors, but boxes has shape [1917, 4]"
    assert "ratio per size" in head.check(with_options(complete, sizes=[[60.0, 70.0]]), shapes)


@pytest.mark.parametrize("stride", [8, 16])
def test_anchors_of_other_lengths_are_refused(stride):
    shapes = {f"g{s}": (416 // s, 416 // s, 255) for s in (8, 16, 32)}
    spec = HeadSpec("yolo_anchors", {f"grid_{i}": name for i, name in enumerate(shapes)}, {"formula": "squared"})
    head = registry.head_of("yolo_anchors")
    assert "2 lists, but there are 3 outputs" in head.check(with_options(spec, anchors=[[1.0] * 6] * 2), shapes)
    assert "all of the same length" in head.check(with_options(spec, anchors=[[1.0] * 6, [1.0] * 4, [1.0] * 6]), shapes)
    assert "there are 2 anchors per cell" in head.check(with_options(spec, anchors=[[1.0] * 4] * 3), shapes)
    assert head.check(with_options(spec, anchors=[[1.0] * 6] * 3), shapes) is None
