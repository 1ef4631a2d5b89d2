"""Models that cannot be imported, or only in part. The message names the cause, the value and what to do."""

import re

import numpy as np
import onnx
import pytest
from helpers import networks
from helpers.datasets import image_table
from helpers.tflite_nets import Operator, Tensor, build, post_process
from onnx import TensorProto, helper, numpy_helper

import orilla.runtime
from orilla.devices.errors import ConfigError, OrillaError
from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.image import prepare
from orilla.runtime.verify import verify

RNG = np.random.default_rng(3)
TENSOR = {"task": "tensor"}
X, Y = Tensor("x", (1, 4)), Tensor("y", (1, 4))
RELU = Operator("RELU", [0], [1])


def imported(path, out, hints, **options):
    options = {"validation_count": 24, **options}
    export(path, out, ExportOptions("default", timing=False, hints=ModelHints(**hints), **options))
    return Bundle.open(out)


def refused(path, tmp_path, hints=TENSOR):
    """Return the message with which the import rejects a file."""
    with pytest.raises(OrillaError) as caught:
        imported(path, tmp_path / "m.orilla", hints)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 900
    assert not re.search(r"[A-Z]\w+Error|ONNXRuntimeError|\.cc:|\.h:\d", line), line
    assert not (tmp_path / "m.orilla").exists()
    return line


def tflite(tmp_path, data):
    (tmp_path / "net.tflite").write_bytes(data)
    return tmp_path / "net.tflite"


def changed(path, change):
    """Load a network, change it, and write it again."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def last(operator, *, domain="", kind=TensorProto.FLOAT, shape=None, **attributes):
    """Return a change that appends an operator whose output becomes the only output."""

    def change(model):
        graph = model.graph
        graph.node.append(helper.make_node(operator, ["scores"], ["w"], name="tail", domain=domain, **attributes))
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info("w", kind, shape))

    return change


def random(model):
    graph = model.graph
    graph.node.append(helper.make_node("RandomNormalLike", ["scores"], ["noise"], name="jitter", seed=1.0))
    graph.node.append(helper.make_node("Add", ["scores", "noise"], ["w"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3]))


def training_dropout(model):
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "mode"))
    graph.node.append(helper.make_node("Dropout", ["scores", "ratio", "mode"], ["w"], name="drop"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3]))


def inside_if(model):
    """Put a custom operator into a branch."""
    graph = model.graph
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3])
    branch = helper.make_graph(
        [helper.make_node("Warp", ["scores"], ["b"], domain="my.company")], "branch", [], [value]
    )
    graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    graph.node.append(helper.make_node("If", ["flag"], ["w"], then_branch=branch, else_branch=branch))
    model.opset_import.append(helper.make_opsetid("my.company", 1))


def sequence(model):
    model.graph.node.append(helper.make_node("SequenceConstruct", ["scores"], ["w"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_sequence_value_info("w", TensorProto.FLOAT, None))


def input_type(kind):
    def change(model):
        model.graph.input[0].type.tensor_type.elem_type = kind

    return change


def attribute(name, value):
    def change(model):
        if name == "opset":
            model.opset_import[0].version = value
        else:
            setattr(model, name, value)

    return change


def twice(model):
    model.graph.output.append(model.graph.output[0])


def short_weights(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:100]


def wrong_shape(model):
    model.graph.initializer[1].dims[:] = [2, 6]


ONNX = {
    "two outputs of one name": (twice, "2 outputs have the name scores: give each its own name"),
    "an unknown operator": (last("Warp"), "it has no operator Warp in version 17"),
    "an unknown operator of Microsoft": (last("Warp", domain="com.microsoft"), "it has no operator com.microsoft:Warp"),
    "a custom operator in a branch": (inside_if, "custom operators, which no engine supports: my.company:Warp"),
    "a newer operator set": (
        attribute("opset", 99),
        "uses version 99 of the operator set ai.onnx, but it supports versions",
    ),
    "an older operator set": (
        attribute("opset", 5),
        "version 5 of the operator set: convert it with onnx.version_converter",
    ),
    "a newer file format": (
        attribute("ir_version", 99),
        "has version 99 of the file format, but it reads versions up to",
    ),
    "random numbers": (random, "gives random outputs (RandomNormalLike jitter): export it in evaluation mode"),
    "dropout in training": (training_dropout, "gives random outputs (Dropout drop): export it in evaluation mode"),
    "a sequence": (sequence, "w has the type sequence, which no engine supports: export the model without ZipMap"),
    "bfloat16": (input_type(TensorProto.BFLOAT16), "x has the type bfloat16, which no engine supports: convert it"),
    "complex numbers": (input_type(TensorProto.COMPLEX64), "x has the type complex64, which no engine supports"),
    "texts": (input_type(TensorProto.STRING), "x has the type string, which no engine supports"),
    "types that do not fit": (
        input_type(TensorProto.DOUBLE),
        "bound to different types (tensor(double) and tensor(float)",
    ),
    "weights that are too short": (short_weights, "Initializer 'kernel': raw_data size (100 bytes) does not match"),
    "weights of another shape": (wrong_shape, "operator MatMul: Incompatible dimensions for matrix multiplication"),
    "rows that depend on values": (
        last("NonZero", kind=TensorProto.INT64),
        "has no fixed shape, because the operator NonZero tail determines it from values: export the model without",
    ),
}


@pytest.mark.parametrize("case", ONNX)
def test_an_onnx_file_that_cannot_be_used(case, tmp_path):
    change, words = ONNX[case]
    assert words in refused(changed(networks.small_onnx(tmp_path / "net.onnx"), change), tmp_path)


def test_a_fixed_batch_of_four(tmp_path):
    line = refused(networks.small_onnx(tmp_path / "net.onnx", batch=4), tmp_path)
    assert "the first axis of the input x [4,3,24,32] float32 is 4, but must be 1" in line
    assert "export it again with one sample per inference, or with a batch axis that is not fixed" in line


def test_a_huge_input(tmp_path):
    line = refused(networks.small_onnx(tmp_path / "net.onnx", size=(20000, 20000)), tmp_path)
    assert "takes 4 GiB in float32: export it again with smaller sizes" in line


def test_all_missing_files_are_named(tmp_path):
    model = onnx.load(networks.small_onnx(tmp_path / "whole.onnx"))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0)
    for name in ("kernel", "dense"):
        (tmp_path / name).unlink()
    assert "net.onnx keeps its weights in 'kernel', 'dense', but the external data is missing" in refused(
        tmp_path / "net.onnx", tmp_path
    )


def test_external_data_that_is_too_short(tmp_path):
    model = onnx.load(networks.small_onnx(tmp_path / "whole.onnx"))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_bytes(b"x" * 10)
    line = refused(tmp_path / "net.onnx", tmp_path)
    assert re.search(r"data 'net.data' of net.onnx is truncated \(10 of at least \d+ bytes\): download it again", line)


def test_functions_of_the_file_itself_are_not_custom_operators(tmp_path):
    def change(model):
        body = [helper.make_node("Relu", ["a"], ["b"])]
        function = helper.make_function("my.functions", "Act", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("my.functions", 1))
        last("Act", domain="my.functions", shape=[1, 3])(model)

    path = changed(networks.small_onnx(tmp_path / "net.onnx"), change)
    assert imported(path, tmp_path / "m.orilla", TENSOR).manifest.outputs[0].shape == (3,)


def random_numbers(seed):
    options = ("RandomOptions", {"seed": seed, "seed2": seed})
    tensors = [Tensor("x", (1, 1)), Tensor("s", (1,), np.int32, np.array([4])), Tensor("y", (4,))]
    return build(tensors, [Operator("RANDOM_UNIFORM", [1], [2], options=options)], [0], [2])


FULL = Operator("FULLY_CONNECTED", [0, 1, -1], [2], options=("FullyConnectedOptions", {}))
ADD = Operator("ADD", [0, 1], [2], options=("AddOptions", {}))
PER_CHANNEL = Tensor("x", (1, 4), np.int8, scales=(1.0, 2.0, 3.0, 4.0), axis=1)
TFLITE = {
    "operators of TensorFlow": (
        build([X, Y], [Operator("FlexErf", [0], [1], custom=True)], [0], [1]),
        "needs operators of TensorFlow, which LiteRT does not contain: Erf; convert it without SELECT_TF_OPS",
    ),
    "a custom operator": (
        build([X, Y], [Operator("Warp", [0], [1], custom=True)], [0], [1]),
        "custom operators, which no engine supports: Warp; convert the model without them",
    ),
    "a newer operator": (
        build([X, Y], [RELU._replace(version=99)], [0], [1]),
        "it has no version 99 of the operator RELU: update it, or convert the model with an older version",
    ),
    "random numbers": (random_numbers(0), "gives random outputs (RANDOM_UNIFORM): convert it in inference mode"),
    "random numbers with a seed": (random_numbers(5), "gives random outputs (RANDOM_UNIFORM)"),
    "several signatures": (
        build([X, Y], [RELU], [0], [1], ["infer", "train"]),
        "has 2 signatures (infer, train), but a bundle runs one",
    ),
    "texts": (
        build([Tensor("x", (1,), object), Tensor("y", (1,), object)], [Operator("RESHAPE", [0], [1])], [0], [1]),
        "x of net.tflite contains strings, which no engine supports: convert strings outside the model",
    ),
    "complex numbers": (
        build(
            [X, Tensor("y", (1, 4), np.complex64)],
            [Operator("CAST", [0], [1], options=("CastOptions", {"inDataType": 0, "outDataType": 8}))],
            [0],
            [1],
        ),
        "y of net.tflite contains values of type complex64, which no engine supports",
    ),
    "float64": (
        build([Tensor("x", (1, 4), np.float64), Tensor("y", (1, 4), np.float64)], [RELU], [0], [1]),
        "cannot run: operator 0, RELU: Only float32, uint8, int8 and int16 are supported currently, got FLOAT64",
    ),
    "an axis of length 0": (
        build([Tensor("x", (1, 0)), Tensor("y", (1, 0))], [RELU], [0], [1]),
        "the input x [1,?] float32 has an axis of length 0: export it again with the sizes of a sample",
    ),
    "shapes that do not fit": (
        build([X, Tensor("b", (1, 3), content=np.ones((1, 3))), Y], [ADD], [0], [2]),
        "cannot run: operator 0, ADD: Given shapes, [1,4] and [1,3], are not broadcastable",
    ),
    "a quantisation per channel": (
        build([PER_CHANNEL, Tensor("y", (1, 4), np.int8, scales=(1.0,))], [RELU], [0], [1]),
        "x of net.tflite is quantised per channel, but an input or output needs one scale",
    ),
    "two outputs of one name": (
        build([X, Y, Y], [RELU, Operator("TANH", [0], [2])], [0], [1, 2]),
        "2 outputs have the name y: give each its own name, and convert it again",
    ),
    "a batch of 4": (
        build([Tensor("x", (4, 3)), Tensor("y", (4, 3))], [RELU], [0], [1]),
        "the first axis of the input x [4,3] float32 is 4, but must be 1, for one sample",
    ),
}


@pytest.mark.parametrize("case", TFLITE)
def test_a_tflite_file_that_cannot_be_used(case, tmp_path):
    data, words = TFLITE[case]
    assert words in refused(tflite(tmp_path, data), tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_part_of_a_tflite_file(share, tmp_path):
    data = build([X, Tensor("w", (3, 4), content=np.ones((3, 4))), Tensor("y", (1, 3))], [FULL], [0], [2])
    line = refused(tflite(tmp_path, data[: int(share * len(data))]), tmp_path)
    assert "download it again, and compare its size with the original's" in line


def test_open_sizes_of_a_tflite_file_are_stated(tmp_path):
    shape = (-1, -1, -1, 3)
    path = tflite(
        tmp_path,
        build(
            [Tensor("x", (1, 1, 1, 3), open_shape=shape), Tensor("y", (1, 1, 1, 3), open_shape=shape)], [RELU], [0], [1]
        ),
    )
    assert "set `input` (the sizes marked ? in x [1,?,?,3]; probably 224x224" in refused(path, tmp_path)
    assert "`input` has 1 sizes, but 2 axes of the model are not fixed" in refused(
        path, tmp_path, {**TENSOR, "input": (24,)}
    )
    bundle = imported(path, tmp_path / "m.orilla", {**TENSOR, "input": (24, 32)})
    assert bundle.manifest.preprocess.inputs[0].shape == (24, 32, 3)
    sample = RNG.normal(size=(24, 32, 3)).astype(np.float32)
    with orilla.runtime.open(bundle.path) as model:
        assert np.array_equal(model({"x": sample}).result.arrays["y"], np.maximum(sample, 0))


def test_a_state_is_cleared_between_samples(tmp_path):
    tensors = [
        X,
        Tensor("feature", (2, 4), content=np.ones((2, 4))),
        Tensor("time", (2, 3), content=np.ones((2, 3))),
        Tensor("bias", (2,), content=np.zeros(2)),
        Tensor("state", (1, 6), variable=True),
        Tensor("y", (1, 2)),
    ]
    path = tflite(
        tmp_path,
        build(tensors, [Operator("SVDF", [0, 1, 2, 3, 4], [5], options=("SVDFOptions", {"rank": 1}))], [0], [5]),
    )
    bundle = imported(path, tmp_path / "m.orilla", TENSOR)
    assert all(verdict.passed for verdict in verify(bundle, bundle.manifest.variants))
    with orilla.runtime.open(bundle.path) as model:
        for _ in range(3):
            assert model({"x": np.ones(4, np.float32)}).result.arrays["y"].tolist() == [4, 4]


STATED = {"task": "classify", "input_range": "0..255", "color": "rgb"}


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({**STATED, "head": "ssd"}, "`head` is only for detectors, not for task=classify: leave it out"),
        ({**STATED, "encoding": "cp1252"}, "`encoding` is only for files with text, but none is given: leave it out"),
        ({**STATED, "device": "coral"}, "`device` is only for Keras models, which `orilla export` reads"),
        ({**STATED, "resize": "none", "interpolation": "linear"}, "`interpolation` has no effect if `resize` is none"),
        ({**STATED, "crop_fraction": 0.9}, "`crop_fraction` has no effect unless `resize` is crop"),
        (
            {**TENSOR, "fill": 1, "anchor": "center", "crop_fraction": 0.5, "rounding": "down", "head": "ssd"},
            "are only for image models, but this model takes x [1,3,24,32] float32; `head` is only for detectors",
        ),
        ({**TENSOR, "multi_label": True}, "`multi_label` is only for task=classify, not for task=tensor"),
    ],
)
def test_a_hint_without_effect_is_refused(hints, words, tmp_path):
    assert words in refused(networks.small_onnx(tmp_path / "net.onnx"), tmp_path, hints)


def detector(path, classes=80, *, size=(416, 416)):
    """Write a network with the outputs of a detector in the layout `yolo_objectness`."""
    rows = sum((416 // stride) ** 2 for stride in (8, 16, 32))
    values = RNG.random((1, rows, 5 + classes)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("ReduceMean", ["mean"], ["one"], keepdims=0),
        helper.make_node("Mul", ["values", "one"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, rows, 5 + classes])],
        [numpy_helper.from_array(values, "values")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_everything_about_a_detector_is_asked_in_one_message(tmp_path):
    line = refused(detector(tmp_path / "net.onnx"), tmp_path, {})
    for part in (
        "`task` (classify, segment, detect, regress, tensor; probably detect, because its outputs output",
        "`input_range` (",
        "`color` (rgb or bgr; probably rgb",
        "`resize` (",
        "`labels` (a file with the names of the 80 classes in the order of the outputs, one per line; probably COCO's",
    ):
        assert part in line


def test_answers_to_all_questions_are_enough(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(80)))
    hints = {**STATED, "task": "detect", "resize": "letterbox", "labels": labels}
    bundle = imported(detector(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints)
    assert bundle.manifest.head.layout == "yolo_objectness"


def test_invisible_characters_in_the_labels_of_a_file(tmp_path):
    def change(model):
        helper.set_model_props(model, {"names": '["stop", "g\\u0007o", "turn"]'})

    path = changed(networks.small_onnx(tmp_path / "net.onnx"), change)
    line = refused(path, tmp_path, STATED)
    assert "the metadata of the file: label 2, 'g\ufffdo', contains the character U+0007" in line


def test_a_network_that_steers(tmp_path):
    """An imported regression: the bundle returns the numbers that ONNX Runtime computes, with units and ranges."""
    import onnxruntime

    path = networks.small_onnx(tmp_path / "net.onnx", classes=2, last=None)
    labels = tmp_path / "names.txt"
    labels.write_text("speed\nsteering\n")
    image_table(tmp_path / "data")
    data = open_dataset(tmp_path / "data")
    hints = {"task": "regress", "input_range": "0..1", "color": "rgb", "labels": labels}
    bundle = imported(path, tmp_path / "m.orilla", hints, calibration=str(tmp_path / "data"))
    manifest = bundle.manifest
    assert [variant.name for variant in manifest.variants] == ["onnx_fp32", "onnx_wi8_ai8"]
    assert (manifest.labels, manifest.decoding.units) == (("speed", "steering"), ("m/s", "deg"))
    assert manifest.report.truth == "labels"
    assert all(verdict.passed for verdict in verify(bundle, manifest.variants))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with orilla.runtime.open(bundle.path, variant="onnx_fp32") as model:
        for index in range(3):
            image = data.load("val", index).image
            x = prepare(image, manifest.preprocess).astype(np.float32)[None].transpose(0, 3, 1, 2) / np.float32(255)
            (expected,) = session.run(None, {"x": x})
            result = model(image).result
            assert [result["speed"], result["steering"]] == pytest.approx(expected[0].tolist(), abs=1e-4)


def test_text_models_are_not_imported(tmp_path):
    with pytest.raises(ConfigError, match="text models cannot be imported"):
        imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", {"task": "text"})


@pytest.mark.parametrize("regular", [True, False])
def test_suppression_per_class_runs_with_one_thread(regular, tmp_path):
    """With several threads, LiteRT drops boxes and may crash: see `tests/perf/nms_threads.py`."""
    path = tflite(tmp_path, post_process(regular=regular, per_class=3))
    bundle = imported(path, tmp_path / "m.orilla", TENSOR)
    assert all(verdict.passed for verdict in verify(bundle, bundle.manifest.variants))
    boxes, scores = RNG.random((200, 4)).astype(np.float32), RNG.random((200, 8)).astype(np.float32)
    answers = []
    for threads in (1, 2, 4):
        with orilla.runtime.open(bundle.path, threads=threads) as model:
            answers.append(model({"boxes": boxes, "scores": scores}).result.arrays["detection_scores"])
            assert model.session.engine.endswith(" (1 thread)") == (regular and threads > 1)
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
