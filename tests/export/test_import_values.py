"""Facts that the import determines from the values of a model's outputs, because shapes and operators do not show them.

The networks are ONNX files whose outputs are constants, or simple functions of the mean colour of the image.
"""

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import orilla.runtime
from orilla.devices.errors import ConfigError
from orilla.export.export import ExportOptions, export
from orilla.export.imports.foreign import ForeignModel
from orilla.export.imports.onnx_file import describe
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle

SIDE = 64
CENTRES = np.concatenate(
    [np.stack(np.mgrid[:SIDE:stride, :SIDE:stride][::-1], -1).reshape(-1, 2) + stride / 2 for stride in (8, 16, 32)]
).astype(np.float32)
"""Centre of each cell of a detector with the strides 8, 16 and 32."""
PIXELS = {"input_range": "0..1", "color": "rgb"}
DETECTOR = {**PIXELS, "task": "detect", "resize": "stretch"}
node = helper.make_node


def network(path, nodes, shape, constants=(), **properties):
    """Write a network that takes an image `x` and outputs `y` of this shape."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, properties)
    onnx.save(model, path)
    return path


def constant(path, rows, **properties):
    """Write a network that outputs `rows`, whatever the image is."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], keepdims=0),
        node("Mul", ["mean", "zero"], ["nothing"]),
        node("Add", ["rows", "nothing"], ["y"]),
    ]
    return network(path, nodes, rows.shape, {"rows": rows, "zero": np.float32(0)}, **properties)


def imported(path, tmp_path, **hints):
    options = ExportOptions("default", timing=False, validation_count=8, hints=ModelHints(**hints))
    export(path, tmp_path / "m.orilla", options)
    return Bundle.open(tmp_path / "m.orilla")


def labels_file(tmp_path, count):
    (tmp_path / "labels.txt").write_text("".join(f"c{index}\n" for index in range(count)))
    return tmp_path / "labels.txt"


def plain_detector(classes, extra=()):
    """Return `[1,4+C+N,A]`: a box in each cell, scores of which one is high, and further rows."""
    scores = np.full((classes, len(CENTRES)), 0.01, np.float32)
    scores[0, 20] = 0.9
    return np.concatenate([CENTRES.T, np.full((2, len(CENTRES)), 12, np.float32), scores, *extra])[None].astype("f")


PROBABILITIES = {
    "softmax from exponentials": (
        [
            node("Exp", ["z"], ["e"]),
            node("ReduceSum", ["e", "axis"], ["sum"]),
            node("Div", ["e", "sum"], ["y"]),
        ],
        "softmax",
    ),
    "softmax that is clipped": (
        [node("Softmax", ["z"], ["p"], axis=1), node("Clip", ["p", "low", "one"], ["y"])],
        "softmax",
    ),
    "mean of two softmaxes": (
        [
            node("Softmax", ["z"], ["p"], axis=1),
            node("Softmax", ["scaled"], ["q"], axis=1),
            node("Add", ["p", "q"], ["both"]),
            node("Mul", ["both", "half"], ["y"]),
        ],
        "softmax",
    ),
    "sigmoid from an exponential": (
        [
            node("Neg", ["z"], ["n"]),
            node("Exp", ["n"], ["e"]),
            node("Add", ["e", "one"], ["d"]),
            node("Reciprocal", ["d"], ["y"]),
        ],
        "sigmoid",
    ),
    "logits": ([node("Identity", ["z"], ["y"])], None),
    "distances": ([node("Abs", ["z"], ["y"])], None),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_get_no_second_softmax(name, tmp_path):
    nodes, activation = PROBABILITIES[name]
    nodes = [
        node("GlobalAveragePool", ["x"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("MatMul", ["flat", "weights"], ["z"]),
        node("Mul", ["z", "half"], ["scaled"]),
        *nodes,
    ]
    weights = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32) * 4
    constants = {"weights": weights, "axis": np.array([1]), "low": np.float32(1e-6), "one": np.float32(1)}
    path = network(tmp_path / "net.onnx", nodes, (1, 5), {**constants, "half": np.float32(0.5)})
    describe(str(path), str(tmp_path / "described.json"))
    found = msgspec.json.decode((tmp_path / "described.json").read_bytes(), type=ForeignModel)
    assert found.activation == activation


def test_a_classifier_keeps_the_axes_of_its_last_map(tmp_path):
    nodes = [node("Conv", ["x", "weights"], ["z"]), node("GlobalAveragePool", ["z"], ["p"])]
    nodes += [node("Softmax", ["p"], ["y"], axis=1)]
    weights = np.random.default_rng(1).normal(size=(5, 3, 1, 1)).astype(np.float32)
    path = network(tmp_path / "net.onnx", nodes, (1, 5, 1, 1), {"weights": weights})
    bundle = imported(path, tmp_path, task="classify", **PIXELS)
    with orilla.runtime.open(bundle.path) as model:
        scores = model(np.full((SIDE, SIDE, 3), 255, np.uint8)).result.scores
    powers = np.exp(weights.sum(axis=(1, 2, 3)))
    assert scores == pytest.approx(powers / powers.sum(), abs=1e-4)


def test_a_mask_that_is_empty_on_all_samples(tmp_path):
    path = constant(tmp_path / "net.onnx", np.full((1, 1, SIDE, SIDE), -3.5, np.float32))
    (variant,) = imported(path, tmp_path, task="segment", **PIXELS).manifest.variants
    assert (variant.check.agreement, variant.check.metrics) == (1.0, {"iou": 1.0, "objects": 0.0})


def test_two_names_for_one_probability_are_refused(tmp_path):
    path = constant(tmp_path / "net.onnx", np.full((1, 1, SIDE, SIDE), -3.5, np.float32))
    with pytest.raises(ConfigError, match=r"2 names, but the output y .* probability of one class: give only the name"):
        imported(path, tmp_path, task="segment", labels=labels_file(tmp_path, 2), **PIXELS)


def test_class_indices_as_floats_need_labels(tmp_path):
    grid = np.zeros((1, SIDE, SIDE), np.float32)
    grid[:, 10:20] = 2
    path = constant(tmp_path / "net.onnx", grid)
    with pytest.raises(ConfigError, match="set `labels`"):
        imported(path, tmp_path, task="segment", **PIXELS)


def test_missing_names_are_not_read_as_keypoints(tmp_path):
    path = constant(tmp_path / "net.onnx", plain_detector(5))
    with pytest.raises(ConfigError, match="2 names, but the outputs have 5 classes"):
        imported(path, tmp_path, labels=labels_file(tmp_path, 2), **DETECTOR)


def test_keypoints_without_visibility(tmp_path):
    points = [CENTRES.T + shift for shift in (1, 2, -3)]
    properties = {"names": "{0: 'hand'}", "task": "pose", "kpt_shape": "[3, 2]"}
    path = constant(tmp_path / "net.onnx", plain_detector(1, points), **properties)
    bundle = imported(path, tmp_path, **PIXELS, resize="stretch")
    with orilla.runtime.open(bundle.path) as model:
        (box,) = model(np.zeros((SIDE, SIDE, 3), np.uint8)).result.boxes
    x, y = CENTRES[20]
    assert box.keypoints == ((x + 1, y + 1), (x + 2, y + 2), (x - 3, y - 3))


def test_stated_options_of_a_head_are_kept(tmp_path):
    rows = plain_detector(2)
    rows[:, :4] /= SIDE  # The values look normalised.
    path = constant(tmp_path / "net.onnx", rows)
    hints = {**DETECTOR, "labels": labels_file(tmp_path, 2)}
    assert imported(path, tmp_path, **hints).manifest.head.options["coordinates"] == "normalised"
    (tmp_path / "m.orilla").unlink()
    stated = imported(path, tmp_path, **hints, head="yolo_plain:coordinates=pixels")
    assert stated.manifest.head.options["coordinates"] == "pixels"


def test_queries_with_two_classes_are_not_suppressed_boxes(tmp_path):
    rows = np.random.default_rng(0).uniform(0.1, 0.3, (1, 300, 6)).astype(np.float32)
    rows[..., 4:] /= 10
    rows[0, 7, 5] = 0.9
    bundle = imported(constant(tmp_path / "net.onnx", rows), tmp_path, labels=labels_file(tmp_path, 2), **DETECTOR)
    assert bundle.manifest.head.layout == "detr"
    with orilla.runtime.open(bundle.path) as model:
        (box,) = model(np.zeros((SIDE, SIDE, 3), np.uint8)).result.boxes
    x, y, width, height = rows[0, 7, :4] * SIDE
    assert (box.label, box.score) == ("c1", pytest.approx(0.9))
    assert box.xyxy == pytest.approx((x - width / 2, y - height / 2, x + width / 2, y + height / 2), abs=1e-3)


def test_values_that_contradict_the_only_layout_are_refused(tmp_path):
    rows = np.random.default_rng(0).uniform(0.1, 0.3, (1, 50, 6)).astype(np.float32)
    path = constant(tmp_path / "net.onnx", rows)
    with pytest.raises(ConfigError, match="fit the layout nms_in_graph, but their values do not"):
        imported(path, tmp_path, labels=labels_file(tmp_path, 2), **DETECTOR)


def test_without_a_box_the_unit_of_the_boxes_is_asked_for(tmp_path):
    path = constant(tmp_path / "net.onnx", np.zeros((1, 300, 6), np.float32))
    hints = {**DETECTOR, "labels": labels_file(tmp_path, 4)}
    with pytest.raises(ConfigError, match=r"option coordinates .* give pixels or normalised"):
        imported(path, tmp_path, **hints)
    bundle = imported(path, tmp_path, **hints, head="nms_in_graph:coordinates=normalised")
    assert bundle.manifest.head.options["coordinates"] == "normalised"
