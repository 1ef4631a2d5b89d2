"""The layer report names the layers in which a quantised variant loses accuracy."""

import json
from contextlib import closing

import numpy as np
import pytest
from helpers.wide_channel import WIDE, pictures, wide_channel_onnx, wide_channel_tflite

from orilla.export.export import ExportOptions, export
from orilla.export.layers.report import layer_report
from orilla.export.layers.trace import open_trace
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.cli import main
from orilla.runtime.engines import loader
from orilla.runtime.tflite.names import short_name

INT8 = {"onnx": "onnx_wi8_ai8", "tflite": "litert_wi8_ai8"}
FLOAT = {"onnx": "onnx_fp32", "tflite": "litert_fp32"}


@pytest.fixture(scope="module")
def wide_bundles(tmp_path_factory):
    """Bundles of the network with one large channel, in both formats."""
    folder = tmp_path_factory.mktemp("wide")
    np.savez(folder / "pictures.npz", x=pictures(60, 1))
    hints = ModelHints(task="classify", input_range="0..1", color="rgb")
    options = ExportOptions("default", calibration=str(folder / "pictures.npz"), timing=False, hints=hints)
    for format_, write in (("onnx", wide_channel_onnx), ("tflite", wide_channel_tflite)):
        export(write(folder / f"wide.{format_}"), folder / f"{format_}.orilla", options)
    return folder


def report_of(path, format_, variant):
    bundle = Bundle.open(path)
    files = [bundle.manifest.variant(name) for name in (FLOAT[format_], variant)]
    traces = [open_trace(format_, bundle.read(v.file), loader.binding_of(bundle.manifest, v)) for v in files]
    return layer_report(*traces, [frame.prepared for frame in read_frames(bundle)])


def test_the_layer_with_one_large_channel_is_the_only_cause(wide_bundles):
    for format_, variant in INT8.items():
        report = report_of(wide_bundles / f"{format_}.orilla", format_, variant)
        assert report.causes == (WIDE,)
        layer = report.layer(WIDE)
        assert layer.added > 0.8 > 0.2 > report.layer("first").lost
        # The ratio of the whole tensor hides the loss, because the large channel contains nearly the whole signal.
        assert layer.sqnr_db > 40
        assert "one channel is" in layer.remark
        assert layer.span[0] <= layer.low < layer.high <= layer.span[1]


@pytest.mark.parametrize("format_", INT8)
def test_the_last_layer_has_the_error_of_the_variant(format_, tiny_bundle):
    report = report_of(tiny_bundle, format_, INT8[format_])
    bundle = Bundle.open(tiny_bundle)
    outputs = {}
    for name in (FLOAT[format_], INT8[format_]):
        with closing(loader.load(bundle, bundle.manifest.variant(name))) as session:
            outputs[name] = np.stack([next(iter(session.run(f.prepared).values())) for f in read_frames(bundle)])
    expected, found = outputs.values()
    sqnr_db = 10 * np.log10(np.mean(np.square(expected)) / np.mean(np.square(found - expected)))
    # Delegates and fused kernels round some values to the neighbouring integer.
    assert report.layers[-1].sqnr_db == pytest.approx(sqnr_db, abs=1.0)
    assert all(layer.rounding_lost <= layer.lost + 0.01 for layer in report.layers)


def test_the_command_prints_the_causes_and_json(wide_bundles, capsys):
    bundle = str(wide_bundles / "onnx.orilla")
    assert main(["layers", bundle, "--variant", "onnx_wi8_ai8"]) == 0
    text = capsys.readouterr().out
    assert "cause: wide (Conv) adds" in text
    assert "layers that add less are not shown" in text
    words = ["--variant", "onnx_wi8_ai8", "--data", str(wide_bundles / "pictures.npz"), "--samples", "5", "--json"]
    assert main(["layers", bundle, *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["samples"] == 5
    assert document["causes"] == [WIDE]
    assert {"tensor", "operator", "sqnr_db", "rounding_db", "lost", "added", "span"} <= set(document["layers"][0])


def test_weights_in_integers_leave_the_activations_in_float(tiny_bundle):
    report = report_of(tiny_bundle, "tflite", "litert_wi8_afp32")
    assert all(layer.span is None and layer.rounding_db is None for layer in report.layers)
    assert report.layers[0].sqnr_db is None  # Both files get the same input.


def test_a_short_name_has_the_layer_and_its_operation():
    assert short_name("functional_1/conv_1/Relu;functional_1/conv_1/BiasAdd") == "conv_1/Relu"
    assert short_name("Conv_5_out0") == "Conv_5_out0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["road"], "no float32 variant with which litert_wi8_ai8 can be compared: export it with --recipes"),
        (["tiny", "--variant", "litert_fp32"], "--variant litert_fp32: this variant is not quantised"),
        (["tiny", "--samples", "0"], "--samples 0: must be 1 or more"),
        (["tiny", "--data", "nowhere.npz"], "nowhere.npz"),
        (["text"], "the bundle has only float32 variants"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tiny_bundle, text_bundle, capsys):
    paths = {"tiny": str(tiny_bundle), "text": str(text_bundle)}
    assert main(["layers", *(paths.get(word, word) for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
