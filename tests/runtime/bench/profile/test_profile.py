"""The profile measures each layer of a variant, and says what to change."""

import json
import re
import sys

import numpy as np
import onnx
import pytest

from orilla.devices.errors import EngineError
from orilla.devices.progress import NoProgress
from orilla.runtime.bench.profile import litert, peak
from orilla.runtime.bench.profile.advice import advise
from orilla.runtime.bench.profile.layer import Layer, kind_of, middle_mean
from orilla.runtime.bench.profile.onnx_graph import read_graph
from orilla.runtime.bench.profile.profile import profile
from orilla.runtime.bench.profile.xnnpack import numbers_of, origins
from orilla.runtime.bench.work import work_of
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.cli import main
from orilla.runtime.engines.session import UNBOUND
from orilla.runtime.tflite.graph import read_operators

VARIANTS = ("litert_fp32", "litert_wi8_ai8", "onnx_fp32", "onnx_wi8_ai8")


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """Profiles of the small road network by the name of the variant."""
    from helpers.bundles import BUNDLES

    bundle = Bundle.open(BUNDLES / "road.orilla")
    return {name: profile(bundle, bundle.manifest.variant(name), None, NoProgress()) for name in VARIANTS}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_layer_has_a_time_and_the_work_is_counted(name, profiles, tiny_bundle):
    measured = profiles[name]
    assert sum(layer.share for layer in measured.layers) == pytest.approx(1.0, abs=1e-3)
    bundle = Bundle.open(tiny_bundle)
    work = work_of(bundle.read(bundle.manifest.variant("litert_fp32").file), "litert_fp32")
    # The same network has the same number of operations in all files and on all engines.
    assert measured.macs == pytest.approx(1e6 * (work.dense + work.depthwise + work.connected), rel=1e-6)
    numbers = {layer.numbers for layer in measured.layers if layer.macs}
    assert numbers == {"int8" if "wi8" in name else "float32"}
    assert measured.peaks.keys() == numbers
    assert all(0 < layer.of_peak < 3 for layer in measured.layers if layer.macs and layer.ms > 0)


def test_each_kernel_belongs_to_an_operator_of_the_file(profiles, tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    operators = read_operators(bundle.read(bundle.manifest.variant("litert_wi8_ai8").file), "litert_wi8_ai8")
    expected = [operator.name for operator in operators if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    layers = [layer for layer in profiles["litert_wi8_ai8"].layers if layer.macs]
    assert [layer.operator for layer in layers] == expected
    assert len({layer.name for layer in layers}) == len(layers)


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
@pytest.mark.parametrize("numbers", ["int8", "float32"])
def test_the_peak_comes_from_the_same_profiler(format_, numbers):
    data = peak.peak_model(format_, numbers)
    if format_ == "onnx":
        onnx.checker.check_model(onnx.load_from_string(data))
        graph = read_graph(data)
        assert graph.constants["w"] == (256, 256, 1, 1)
        assert [node.operator for node in graph.nodes if node.name == "peak"] == [
            "QLinearConv" if numbers == "int8" else "Conv"
        ]
    else:
        (operator,) = read_operators(data, "peak")
        assert operator.name == "CONV_2D"
        assert work_of(data, "peak").dense == pytest.approx(67.1, abs=0.1)


def test_kernels_are_paired_in_order():
    kernels = [
        "Invalid Unary Op",
        "Convolution (NHWC, QC8) DWConv",
        "Fully Connected (NC, QS8, QC8W) GEMM",
        "Copy (NC, X8)",
        "Copy (NC, X8)",
        "Transpose (ND, X32) Transpose",
        "Fully Connected (NC, F32) GEMM",
    ]
    operators = ["MUL", "ADD", "DEPTHWISE_CONV_2D", "CONV_2D", "CONCATENATION", "RELU", "FULLY_CONNECTED"]
    assert origins(kernels, operators) == [0, 2, 3, 4, 4, None, 6]
    assert origins([], operators) == []
    assert origins(["Convolution (NHWC, F32) IGEMM"], []) == [None]
    assert [numbers_of(kernel) for kernel in kernels] == ["", "int8", "int8", "", "", "", "float32"]


def test_short_times_keep_their_fractions():
    assert middle_mean([1, 1, 2, 2, 2, 2, 90, 0]) == pytest.approx(1.75)


def layer(name, operator, ms, **options):
    given = {"kernel": operator, "place": "XNNPACK", "numbers": "int8", "macs": 0, **options}
    kind = kind_of(operator, has_weights=given["macs"] > 0)
    return Layer(
        name, operator, given.pop("kernel"), given.pop("place"), kind, given.pop("numbers"), ms, share=ms, **given
    )


def problems(*layers, quantised=True):
    return [advice.problem for advice in advise(layers, quantised=quantised)]


def test_the_advice_names_what_takes_time():
    conv = layer("c", "CONV_2D", 0.5, macs=100, channels=(32, 32), of_peak=0.5)
    assert problems(conv) == []
    found = problems(conv, layer("d", "DEPTHWISE_CONV_2D", 0.4, macs=10, channels=(32, 32), depthwise=True))
    assert found == ["depthwise layers take 40 % of the time for 9 % of the multiply-accumulates"]
    assert problems(conv, layer("t", "TRANSPOSE", 0.2, kernel="Transpose (ND, X32)")) == [
        "1 steps only move data: 1 Transpose"
    ]
    assert problems(conv, layer("odd", "CONV_2D", 0.2, macs=9, channels=(32, 24))) == [
        "1 layers have 24 channels, no multiple of 16: odd"
    ]
    assert problems(conv, layer("answer", "CONV_2D", 0.04, macs=9, channels=(32, 1))) == []
    assert problems(conv, layer("s", "LOGISTIC", 0.2), layer("m", "MUL", 0.1)) == [
        "2 steps of activation functions that are not fused: 1 LOGISTIC, 1 MUL"
    ]
    first = layer("first", "CONV_2D", 0.4, macs=9, channels=(3, 32), of_peak=0.02)
    assert problems(first, conv) == ["the first layer first has only 3 input channels, and reaches 2 % of the peak"]


def test_a_dense_layer_gets_another_advice_than_a_convolution():
    dense = layer("d", "FULLY_CONNECTED", 0.9, macs=10, channels=(640, 128), of_peak=0.05)
    (advice,) = advise([dense], quantised=True)
    assert advice.problem == "the dense layer d (640 to 128) reaches 5 % of the peak"
    assert "fewer units" in advice.change


def test_the_advice_names_float_layers_of_a_quantised_variant():
    conv = layer("c", "CONV_2D", 0.5, macs=100, channels=(32, 32), of_peak=0.5)
    island = layer("Mul_0", "Mul", 0.2, numbers="float32")
    conversion = layer("Mul_0_q", "QuantizeLinear", 0.2, numbers="float32")
    found = problems(conv, island, conversion)
    assert "1 layers of the int8 variant compute in float: Mul_0" in found
    assert "1 conversions between types of numbers: Mul_0_q" in found
    assert not any("in float" in line for line in problems(conv, island, quantised=False))


def test_operators_outside_of_the_delegate_are_named():
    conv = layer("c", "CONV_2D", 0.9, macs=100, channels=(32, 32), of_peak=0.5)
    outside = layer("p", "AVERAGE_POOL_2D", 0.01, place="LiteRT")
    assert problems(conv, outside) == ["1 operators run outside of XNNPACK: 1 AVERAGE_POOL_2D"]


def test_the_command_fits_a_terminal_and_writes_json_and_a_page(tiny_bundle, tmp_path, capsys, monkeypatch):
    from orilla.runtime.terminal import tables

    monkeypatch.setattr(tables, "PIPE_WIDTH", 80)
    page = tmp_path / "p.html"
    assert main(["profile", str(tiny_bundle), "--variant", "onnx_wi8_ai8", "--page", str(page)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line and "tiny.orilla" not in line) <= 80
    assert "ONNX Runtime's own profiler" in text
    assert re.search(r"^peak: [\d.]+ GMAC/s in int8", text, re.MULTILINE)
    html = page.read_text()
    assert "QLinearConv" in html
    assert "http" not in html
    assert {int(size) for size in re.findall(r'font-size="(\d+)"', html)} == {13}
    assert main(["profile", str(tiny_bundle), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["profile"]
    assert document["variant"] == Bundle.open(tiny_bundle).manifest.default
    assert {"name", "operator", "kernel", "place", "kind", "ms", "macs", "share", "of_peak"} <= set(
        document["layers"][0]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny", "--engine", "tflite"], "engine tflite has no profiler: choose litert, or"),
        (["tiny", "--page", "p.pdf"], "--page p.pdf: give a file NAME.html"),
        (["tiny", "--variant", "no"], "unknown variant 'no'"),
        (["sentiment"], "LiteRT's profiler cannot run this variant: Variable tensors not yet supported."),
        (["nothing.orilla"], "nothing.orilla"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tiny_bundle, capsys):
    assert main(["profile", *(str(tiny_bundle) if word == "tiny" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_crash_of_the_library_is_an_error(tiny_bundle, monkeypatch):
    bundle = Bundle.open(tiny_bundle)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    data = bundle.read(bundle.manifest.variant("litert_fp32").file)
    with pytest.raises(EngineError, match="cannot run this variant: exit code 1"):
        litert.time_layers(data, UNBOUND, read_frames(bundle)[0].prepared.astype(np.uint8))
