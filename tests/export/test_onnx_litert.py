"""Conversion of imported ONNX files to LiteRT: changes to the file that onnx2tf writes, and errors."""

import os
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from helpers import bundles, networks
from onnx import TensorProto, helper, numpy_helper

import orilla.runtime
from orilla.export.convert import fork_server
from orilla.export.export import ExportOptions, export
from orilla.export.imports import onnx_litert
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.verify import verify

RNG = np.random.default_rng(3)
STATED = {"task": "classify", "input_range": "0..255", "color": "rgb"}
WEIGHTS = RNG.normal(size=(2, 3)).astype(np.float32)


def several_outputs(path):
    """Write a network with two inputs and two outputs of equal shapes. One input is a channels-first image."""
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["features:0"]),
        helper.make_node("GlobalAveragePool", ["features:0"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Add", ["flat", "state"], ["next"]),
        helper.make_node("Mul", ["next", "two"], ["twice"]),
    ]
    shapes = {"features:0": [1, 2, 6, 8], "next": [1, 2], "twice": [1, 2]}
    graph = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 6, 8]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [
            numpy_helper.from_array(WEIGHTS[..., None, None], "kernel"),
            numpy_helper.from_array(np.float32([2, 2]), "two"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def as_a_converter_writes_it(path, scale=1.0):
    """Write the same network as a converter would: channels last, with different names, and in a different order."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 2), name="State"), tf.TensorSpec((1, 6, 8, 3), name="Images")])
    def call(State, Images):  # noqa: N803
        features = tf.nn.conv2d(Images, WEIGHTS.T[None, None], 1, "VALID") * scale
        following = tf.reduce_mean(features, (1, 2)) + State
        return {"a": following * 2.0, "b": features, "c": following}

    module = tf.Module()
    module.call = call
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()], module).convert())
    return path


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that puts a command `onnx2tf` on PATH, which runs lines of Python."""

    def put(*lines):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        file = folder / "onnx2tf"
        file.write_text("\n".join([f"#!{sys.executable}", "import os, pathlib, shutil, sys", *lines]) + "\n")
        file.chmod(0o755)
        monkeypatch.delenv(onnx_litert.COMMAND, raising=False)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


def writes(file):
    """Return the lines of a command that writes this file."""
    return ["os.mkdir('converted')", f"shutil.copyfile({str(file)!r}, 'converted/model_float32.tflite')"]


def test_names_order_and_shapes_are_those_of_the_onnx_file(tmp_path, command):
    model, out = several_outputs(tmp_path / "net.onnx"), tmp_path / "net.tflite"
    command(*writes(as_a_converter_writes_it(tmp_path / "converted.tflite")))
    onnx_litert.convert(str(model), str(out))
    sample = {"images": RNG.normal(size=(1, 3, 6, 8)), "state": RNG.normal(size=(1, 2))}
    sample = {name: array.astype(np.float32) for name, array in sample.items()}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(None, sample), strict=True))
    interpreter = Interpreter(str(out))
    assert [list(details["shape"]) for details in interpreter.get_output_details()] == [[1, 2, 6, 8], [1, 2], [1, 2]]
    sample["images"] = sample["images"].transpose(0, 2, 3, 1)
    found = interpreter.get_signature_runner()(**sample)
    assert set(found) == set(expected)
    assert all(np.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_a_file_that_computes_something_else_is_refused(tmp_path, command):
    command(*writes(as_a_converter_writes_it(tmp_path / "converted.tflite", scale=3.0)))
    with pytest.raises(ValueError, match=r"no output has the values of features:0 \[1, 2, 6, 8\] \(its outputs: "):
        onnx_litert.convert(str(several_outputs(tmp_path / "net.onnx")), str(tmp_path / "out.tflite"))


def test_a_file_with_other_inputs_is_refused(tmp_path, command):
    command(*writes(as_a_converter_writes_it(tmp_path / "converted.tflite")))
    model = networks.small_onnx(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"onnx2tf changed the input x \[1, 3, 24, 32\]: its file takes "):
        onnx_litert.convert(str(model), str(tmp_path / "out.tflite"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["raise SystemExit('one\\nERROR: OP Loop is not supported\\nsee the manual')"],
            "failed: ERROR: OP Loop is not",
        ),
        (["raise KeyError('axis')"], "onnx2tf failed: KeyError: 'axis'"),
        (["sys.exit(3)"], "onnx2tf failed: no reason given"),
        (["pass"], "onnx2tf wrote 0 float32 files instead of one"),
        (["import time", "time.sleep(60)"], "onnx2tf did not end within 0.5 s"),
    ],
)
def test_a_failed_conversion_costs_one_line(lines, message, tmp_path, command, monkeypatch, capfd):
    if "time.sleep(60)" in lines:
        monkeypatch.setattr(onnx_litert, "TIMEOUT_S", 0.5)
    command(*lines)
    with pytest.raises(ValueError, match=message) as raised:
        onnx_litert.convert(str(several_outputs(tmp_path / "net.onnx")), str(tmp_path / "out.tflite"))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stated", [None, "/no/such/onnx2tf"])
def test_a_missing_command_says_how_to_install_it(stated, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(onnx_litert.COMMAND, stated) if stated else monkeypatch.delenv(
        onnx_litert.COMMAND, raising=False
    )
    with pytest.raises(ValueError, match=r"pip install onnx2tf`, and set ORILLA_ONNX2TF") as raised:
        onnx_litert.convert(str(several_outputs(tmp_path / "net.onnx")), str(tmp_path / "out.tflite"))
    assert (stated or "is not installed") in str(raised.value)


def test_an_onnx_file_becomes_litert_variants(tmp_path, animals, monkeypatch):
    """The command of this test writes the LiteRT variant of the bundle that also contains the ONNX file."""
    source = Bundle.open(bundles.BUNDLES / "animals.orilla")
    for variant in ("onnx_fp32", "litert_fp32"):
        (tmp_path / variant).write_bytes(source.read(source.manifest.variant(variant).file))
    (tmp_path / "onnx_fp32").rename(tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    file = tmp_path / "onnx2tf"
    file.write_text("\n".join([f"#!{sys.executable}", "import os, shutil", *writes(tmp_path / "litert_fp32")]))
    file.chmod(0o755)
    monkeypatch.setenv(onnx_litert.COMMAND, str(file))
    fork_server.close()  # The next job runs in a new fork server, which has the environment variable.
    try:
        hints = ModelHints(**STATED, labels=tmp_path / "labels.txt")
        options = ExportOptions("litert_fp32,litert_wi8_ai8", calibration=str(animals), timing=False, hints=hints)
        export(tmp_path / "net.onnx", tmp_path / "m.orilla", options)
    finally:
        fork_server.close()
    bundle = Bundle.open(tmp_path / "m.orilla")
    assert [entry.name for entry in bundle.manifest.variants] == ["onnx_fp32", "litert_fp32", "litert_wi8_ai8"]
    assert all(entry.check.agreement == 1.0 for entry in bundle.manifest.variants)


NEEDS_ONNX2TF = pytest.mark.skipif(
    shutil.which(os.environ.get(onnx_litert.COMMAND) or "onnx2tf") is None,
    reason=f"the command onnx2tf is absent: set {onnx_litert.COMMAND} to its path",
)


@NEEDS_ONNX2TF
@pytest.mark.slow
@pytest.mark.parametrize("channels_first", [True, False])
def test_onnx2tf_converts_a_classifier(channels_first, tmp_path, animals):
    model = networks.small_onnx(tmp_path / "net.onnx", channels_first=channels_first, classes=2)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    hints = ModelHints("classify", tmp_path / "labels.txt", "torch", "rgb")
    options = ExportOptions("litert_fp32,litert_wi8_ai8", calibration=str(animals), timing=False, hints=hints)
    export(model, tmp_path / "m.orilla", options)
    bundle = Bundle.open(tmp_path / "m.orilla")
    _, float32, int8 = bundle.manifest.variants
    assert (float32.check.agreement, int8.check.agreement) == (1.0, 1.0)
    assert float32.check.max_error < 1e-5
    assert int8.check.sqnr_db > 20
    assert all(verdict.passed for verdict in verify(bundle, bundle.manifest.variants))


@NEEDS_ONNX2TF
@pytest.mark.slow
def test_onnx2tf_converts_several_outputs(tmp_path):
    model = several_outputs(tmp_path / "net.onnx")
    options = ExportOptions("litert_fp32", timing=False, hints=ModelHints("tensor"))
    export(model, tmp_path / "m.orilla", options)
    sample = {"images": RNG.normal(size=(3, 6, 8)), "state": RNG.normal(size=2)}
    sample = {name: array.astype(np.float32) for name, array in sample.items()}
    variants = ("onnx_fp32", "litert_fp32")
    answers = []
    for variant in variants:
        with orilla.runtime.open(tmp_path / "m.orilla", variant=variant) as loaded:
            answers.append(loaded(sample).result.arrays)
    for name, array in answers[0].items():
        assert np.allclose(array, answers[1][name], atol=1e-5)


@NEEDS_ONNX2TF
@pytest.mark.slow
@pytest.mark.real_data
def test_onnx2tf_converts_yolox(tmp_path, data_root):
    folder = data_root / "detection" / "yolox_nano"
    hints = ModelHints(
        task="detect",
        labels=folder / "coco_classes.txt",
        input_range="0..255",
        color="bgr",
        resize="letterbox",
        anchor="top-left",
        rounding="down",
        fill=114,
    )
    options = ExportOptions("litert_fp32", validation=str(folder / "pictures"), timing=False, hints=hints)
    export(folder / "yolox_nano.onnx", tmp_path / "m.orilla", options)
    float32 = Bundle.open(tmp_path / "m.orilla").manifest.variant("litert_fp32")
    assert float32.check.agreement == 1.0
    assert float32.check.sqnr_db > 80
