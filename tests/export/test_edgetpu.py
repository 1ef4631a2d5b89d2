"""The predictions of `orilla edgetpu` agree with the compiler's output and with its documented rules."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConversionError, DataError
from orilla.export.edgetpu import compiler, prediction
from orilla.export.edgetpu.prediction import BEHIND, MAPPED
from orilla.export.edgetpu.rules import DTYPE, LIMIT, RANK, UNKNOWN, VERSION
from orilla.export.export import ExportOptions, export
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.run_folder import Run, encode_json
from orilla.runtime.cli import main
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tflite.graph import Operator, Tensor, read_operators
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import load_plan


class Options:
    """Stand-in for the options of an operator in a TFLite file. Options that are not given are zero."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __getattr__(self, name):
        return 0


def tensor(*shape, dtype="INT8", constant=None, dynamic=False, scales=1):
    content = None if constant is None else np.asarray(constant, np.int32 if dtype == "INT32" else np.uint8)
    return Tensor(
        "t", dtype, tuple(shape), None if content is None else content.view(np.uint8), dynamic, (1.0,) * scales
    )


def operator(name, inputs, outputs, *, version=1, custom=False, **options):
    return Operator(name, custom, version, tuple(inputs), tuple(outputs), Options(**options))


X = tensor(1, 8, 8, 16)
CONV = operator("CONV_2D", [X, tensor(16, 1, 1, 16, constant=np.ones(256))], [X], dilationWFactor=1, dilationHFactor=1)


def chained(*operators):
    """Return the operators as a chain, in which each one except a concatenation reads an output of the previous one."""
    chain = [replace(operator) for operator in operators]
    for index in range(1, len(chain)):
        if chain[index].name != "CONCATENATION":
            link = tensor(1, 8)
            chain[index - 1] = replace(chain[index - 1], outputs=(*chain[index - 1].outputs, link))
            chain[index] = replace(chain[index], inputs=(*chain[index].inputs, link))
    return chain


def statuses(*operators):
    return [placement.status for placement in prediction.mapping_of(chained(*operators)).placed]


def numbers(*values):
    return tensor(len(values), dtype="INT32", constant=values)


REFUSED = {
    "another operator": (operator("LEAKY_RELU", [X], [X]), UNKNOWN),
    "a custom operator": (operator("TFLite_Detection_PostProcess", [X], [X], custom=True), UNKNOWN),
    "a float activation": (operator("ADD", [tensor(1, 8, dtype="FLOAT32")] * 2, [X]), DTYPE),
    "float out": (operator("DEQUANTIZE", [X], [tensor(1, 8, 8, 16, dtype="FLOAT32")]), DTYPE),
    "a batch": (operator("ADD", [tensor(3, 8, 8, 16)] * 2, [tensor(3, 8, 8, 16)]), RANK),
    "an open side": (operator("ADD", [tensor(1, 8, dynamic=True)] * 2, [X]), LIMIT),
    "computed weights": (operator("CONV_2D", [X, tensor(1, 1, 1, 16)], [X]), LIMIT),
    "uneven dilation": (
        operator("CONV_2D", CONV.inputs, [X], dilationWFactor=1, dilationHFactor=2),
        LIMIT,
    ),
    "a pool with activation": (operator("MAX_POOL_2D", [X], [X], fusedActivationFunction=1), LIMIT),
    "a constant to join": (operator("CONCATENATION", [X, tensor(1, 8, constant=np.ones(8))], [X]), LIMIT),
    "a dense layer per channel": (
        operator("FULLY_CONNECTED", [tensor(1, 16), tensor(4, 16, constant=np.ones(64), scales=4)], [tensor(1, 4)]),
        VERSION,
    ),
    "several vectors": (
        operator("FULLY_CONNECTED", [tensor(5, 16), tensor(4, 16, constant=np.ones(64))], [tensor(5, 4)]),
        LIMIT,
    ),
    "half-pixel centres": (
        operator("RESIZE_BILINEAR", [X, numbers(16, 16)], [tensor(1, 16, 16, 16)], halfPixelCenters=True),
        VERSION,
    ),
    "a younger resize": (operator("RESIZE_NEAREST_NEIGHBOR", [X], [X], version=3), VERSION),
    "one pixel made many": (operator("RESIZE_BILINEAR", [tensor(1, 1, 1, 4)], [tensor(1, 33, 33, 4)]), LIMIT),
    "a transposed convolution with bias": (operator("TRANSPOSE_CONV", [numbers(1), X, X], [X], version=3), VERSION),
    "a mean of odd channels": (operator("MEAN", [tensor(1, 8, 8, 6), numbers(3)], [tensor(1, 8, 8)]), LIMIT),
    "a mean of the batch": (operator("SUM", [X, numbers(0)], [tensor(8, 8, 16)]), LIMIT),
    "a padded batch": (operator("PAD", [X, tensor(4, 2, dtype="INT32", constant=[1, 0] * 4)], [X]), LIMIT),
    "a large softmax": (operator("SOFTMAX", [tensor(1, 20_000)], [tensor(1, 20_000)]), LIMIT),
    "a softmax of many": (operator("SOFTMAX", [X], [X]), LIMIT),
    "strides": (operator("STRIDED_SLICE", [X, *[numbers(0, 0)] * 2, numbers(1, 2)], [X]), LIMIT),
    "a split batch": (operator("SPLIT", [numbers(0), X], [X]), LIMIT),
    "a slope for each place": (operator("PRELU", [X, tensor(8, 8, 16, constant=np.ones(1024))], [X]), LIMIT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_all_behind_it(name):
    refused, status = REFUSED[name]
    assert statuses(CONV, refused, CONV) == [MAPPED, status, BEHIND]


@pytest.mark.parametrize(
    "accepted",
    [
        operator("PRELU", [X, tensor(1, 1, 16, constant=np.ones(16))], [X]),
        operator("MEAN", [X, numbers(1, 2)], [tensor(1, 16)]),
        operator("MEAN", [X, numbers(-1)], [tensor(1, 8, 8)]),
        operator("SOFTMAX", [tensor(1, 1000)], [tensor(1, 1000)]),
        operator("RESIZE_BILINEAR", [X, numbers(16, 16)], [tensor(1, 16, 16, 16)]),
        operator("CONCATENATION", [X, tensor(1, 8, constant=np.zeros(8))], [X]),
        operator("QUANTIZE", [X], [tensor(1, 8, 8, 16, dtype="UINT8")]),
        operator("STRIDED_SLICE", [X, *[numbers(0, 0)] * 2, numbers(1, 1)], [X]),
        operator("PAD", [X, tensor(4, 2, dtype="INT32", constant=[0, 0, 1, 1, 1, 1, 0, 0])], [X]),
    ],
    ids=lambda one: one.name,
)
def test_what_is_mapped(accepted):
    assert statuses(CONV, accepted, CONV) == [MAPPED] * 3


def test_float_inputs_and_outputs_do_not_cut_the_rest():
    quantize = operator("QUANTIZE", [tensor(1, 8, 8, 16, dtype="FLOAT32")], [X])
    dequantize = operator("DEQUANTIZE", [X], [tensor(1, 8, 8, 16, dtype="FLOAT32")])
    assert statuses(quantize, CONV, CONV, dequantize) == [LIMIT, MAPPED, MAPPED, DTYPE]


def test_what_begins_on_the_cpu_stays_there():
    assert statuses(operator("GATHER", [X], [X]), CONV) == [UNKNOWN, BEHIND]


def test_a_branch_that_needs_nothing_of_what_is_refused_is_mapped():
    box, score, joined = tensor(1, 8, 8, 16), tensor(1, 8, 8, 16), tensor(1, 8, 8, 32)
    refused = operator("LEAKY_RELU", [X], [box])
    branch = operator("LOGISTIC", [X], [score])
    mapping = prediction.mapping_of([refused, branch, operator("CONCATENATION", [box, score], [joined])])
    assert [placement.status for placement in mapping.placed] == [UNKNOWN, MAPPED, BEHIND]
    assert mapping.cpu_ops == ["LEAKY_RELU", "CONCATENATION"]
    assert mapping.cut_ops == ["LEAKY_RELU", "LOGISTIC", "CONCATENATION"]


def test_every_float_input_is_brought_into_bytes_for_itself():
    first, second = tensor(1, 8, 8, 16), tensor(1, 8, 8, 16)
    quantize = [operator("QUANTIZE", [tensor(1, 8, 8, 16, dtype="FLOAT32")], [into]) for into in (first, second)]
    mapping = prediction.mapping_of([quantize[0], quantize[1], operator("ADD", [first, second], [X])])
    assert [placed.status for placed in mapping.placed] == [LIMIT, LIMIT, MAPPED]


def test_parameters_that_do_not_fit_are_streamed():
    weights = tensor(4096, 4096, constant=np.ones(1))
    dense = operator("FULLY_CONNECTED", [tensor(1, 4096), weights], [tensor(1, 4096)])
    mapping = prediction.mapping_of([dense])
    assert mapping.parameter_bytes == 4096 * 4096
    assert mapping.cached_bytes == prediction.CACHE_BYTES
    assert mapping.streaming_ms == pytest.approx(1e3 * (4096 * 4096 - prediction.CACHE_BYTES) / 450e6)
    large = operator("ADD", [tensor(1, 512, 512, 64)] * 2, [tensor(1, 512, 512, 64)])
    assert prediction.mapping_of([large]).likely_fails
    assert not mapping.likely_fails


@pytest.mark.real_data
def test_nine_models_are_mapped_as_the_real_compiler_mapped_them(data_root):
    folder = data_root / "coral"
    truth = json.loads((folder / "mapping.json").read_text())["models"]
    assert len(truth) == 9
    for name, expected in truth.items():
        started = time.process_time()
        mapping = prediction.predict((folder / name).read_bytes(), name)
        assert mapping.cpu_ops == expected["cpu"], name
        assert len(mapping.placed) == expected["total"], name
        assert time.process_time() - started < 1, name


def test_the_shipped_road_maps_completely():
    bundle = Bundle.open("road")
    variant = bundle.manifest.variant("litert_wi8_ai8")
    assert prediction.predict(bundle.read(variant.file)).cpu_ops == []


def test_a_classifier_s_dense_layer_maps_in_the_recipe_for_it(tmp_path, animals):
    run = factories.classifier_run(tmp_path / "run", animals)
    model = keras.models.load_model(run / "model.keras")
    scores = keras.layers.Dense(2, activation="softmax", name="scores")
    keras.Model(model.input, scores(model.layers[-2].output)).save(run / "model.keras")
    options = ExportOptions(recipes="litert_wi8_ai8,litert_wi8_ai8_edgetpu")
    manifest = export(run, tmp_path / "b.orilla", options)
    bundle = Bundle.open(tmp_path / "b.orilla")
    usual, for_edgetpu = (
        prediction.predict(bundle.read(manifest.variant(name).file)) for name in options.recipes.split(",")
    )
    assert "FULLY_CONNECTED" in usual.cpu_ops
    assert for_edgetpu.cpu_ops == []


@pytest.mark.parametrize("name", ["convnet", "mobilenet"])
def test_the_course_s_classifiers_map_completely_in_the_recipe_for_it(name, tmp_path, animals):
    plan, size = load_plan(name), (96, 96)
    run = tmp_path / "run"
    run.mkdir()
    plan.build(NetworkOptions(2, size, head=plan.head)).model.save(run / "model.keras")
    (run / "card.json").write_bytes(encode_json(factories.card_of("classify", ("cat", "dog"), size)))
    (run / "run.json").write_bytes(encode_json(Run(Preprocess(size_hw=size), str(animals))))
    export(run, tmp_path / "b.orilla", ExportOptions(recipes="litert_wi8_ai8_edgetpu", timing=False))
    bundle = Bundle.open(tmp_path / "b.orilla")
    assert prediction.predict(bundle.read(bundle.manifest.variants[0].file)).cpu_ops == []


def test_a_float_model_is_not_mapped_at_all(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    data = bundle.read(bundle.manifest.variant("litert_fp32").file)
    mapping = prediction.predict(data)
    assert mapping.cpu_ops == [operator.name for operator in read_operators(data, "tiny")]


@pytest.mark.parametrize("data", [b"", b"TFL3", b"hello world, no model", b"\0\0\0\0TFL3" + bytes(100)])
def test_what_is_no_model(data):
    with pytest.raises(DataError, match=r"is not a \.tflite file|is incomplete or damaged"):
        prediction.predict(data)


@pytest.mark.parametrize(
    "odd",
    [
        operator("PAD", [X], [X]),
        Operator("CONV_2D", False, 1, CONV.inputs, (X,), None),
        operator("RESIZE_BILINEAR", [tensor(4, 4)], [tensor(4, 4)]),
        operator("SPLIT", [], [X]),
        operator("SOFTMAX", [tensor()], [tensor()]),
        operator("FULLY_CONNECTED", [X, tensor(4, 16, constant=np.ones(64))], []),
    ],
    ids=lambda one: one.name,
)
def test_an_operator_that_lacks_something_is_a_damaged_file(odd):
    with pytest.raises(DataError, match=rf"operator 0, {odd.name}, is damaged"):
        prediction.mapping_of([odd])


LOG = """Edge TPU Compiler version 16.0.384591198
Model compiled successfully in 51 ms.
On-chip memory used for caching model parameters: 1.50MiB
Off-chip memory used for streaming uncached model parameters: 23.40MiB
Number of Edge TPU subgraphs: 1
Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
CONV_2D                        1          More than one subgraph is not supported
LEAKY_RELU                     1          Operation not supported
"""


def fake_compiler(folder, text, code=0):
    path = Path(folder, compiler.COMMAND)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
    path.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_real_compiler_is_asked_where_it_is_installed(tmp_path, tiny_bundle, monkeypatch, capsys):
    monkeypatch.setenv("PATH", fake_compiler(tmp_path, LOG))
    assert main(["edgetpu", str(tiny_bundle), "--variant", "litert_wi8_ai8", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["by"] == "edgetpu_compiler 16.0.384591198"
    assert document["cpu_ops"] == ["CONV_2D", "LEAKY_RELU"]
    assert document["mapped"] == 2
    assert (document["cached_bytes"], document["streamed_bytes"]) == (1572864, 24536678)
    assert main(["edgetpu", str(tiny_bundle), "--variant", "litert_wi8_ai8", "--json", "--predict"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["by"] == "prediction"


def test_what_it_compiled_goes_into_a_bundle(tmp_path, tiny_bundle, monkeypatch, capsys):
    folder = fake_compiler(tmp_path, LOG)
    script = tmp_path / compiler.COMMAND
    script.write_text(
        script.read_text().replace("cat <<", 'printf edgetpu-custom-op > "$3/model_edgetpu.tflite"\ncat <<')
    )
    monkeypatch.setenv("PATH", folder)
    out = tmp_path / "coral.orilla"
    assert main(["edgetpu", str(tiny_bundle), "--variant", "litert_wi8_ai8", "--out", str(out)]) == 1
    assert "coral.orilla; next: orilla run" in capsys.readouterr().out
    variant = Bundle.open(out).manifest.variant("litert_wi8_ai8")
    assert Bundle.open(out).read(variant.compiled["edgetpu"]) == b"edgetpu-custom-op"
    assert main(["slim", str(out), "--keep", "litert_fp32", "--out", str(tmp_path / "slim.orilla")]) == 0
    assert variant.compiled["edgetpu"] not in Bundle.open(tmp_path / "slim.orilla").manifest.files
    assert main(["run", str(out), "--engine", "edgetpu", "--source", "scenes", "--frames", "1"]) == 2
    assert "edgetpu cannot load this variant" in capsys.readouterr().err
    assert main(["run", str(tiny_bundle), "--engine", "edgetpu", "--source", "scenes", "--frames", "1"]) == 2
    assert "has no variant for the engine `edgetpu`" in capsys.readouterr().err


def test_without_the_compiler_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["edgetpu", "road", "--out", str(tmp_path / "coral.orilla")]) == 2
    assert "needs edgetpu_compiler" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "code", "match"),
    [
        ("Edge TPU Compiler version 16\nModel not quantized", 0, "Model not quantized"),
        ("Internal compiler error. Aborting!", 1, "Internal compiler error"),
        ("", 139, "exit code 139"),
        ("Edge TPU Compiler version 16", 0, "no table"),
    ],
)
def test_what_the_compiler_refuses(tmp_path, monkeypatch, text, code, match):
    monkeypatch.setenv("PATH", fake_compiler(tmp_path, text, code))
    with pytest.raises(ConversionError, match=match):
        compiler.compile_model(b"")


def test_the_command_s_table_and_refusals(tiny_bundle, tmp_path, capsys):
    assert main(["edgetpu", "road"]) == 0
    hints = capsys.readouterr().out
    assert "Number of operations that will run on CPU: 0" in hints
    assert "CONV_2D" in hints
    assert main(["edgetpu", str(tiny_bundle), "--variant", "litert_fp32"]) == 1
    assert "instead: quantise" in capsys.readouterr().out
    for words, match in (
        ((str(tmp_path / "none.tflite"),), "cannot read"),
        ((str(tiny_bundle), "--variant", "onnx_wi8_ai8"), "is not a .tflite file"),
        (("road", "--variant", "int4"), "unknown variant"),
    ):
        assert main(["edgetpu", *words]) == 2
        assert match in capsys.readouterr().err
