"""`orilla layers --engines` finds the first layer at which two engines differ."""

import json
from contextlib import closing

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orilla.export.layers import litert_trace, onnx_trace
from orilla.export.layers.engine_map import map_layers
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.cli import main
from orilla.runtime.engines import loader
from orilla.runtime.engines.loader import binding_of


@pytest.fixture(scope="module")
def samples(tiny_bundle):
    return [frame.prepared for frame in read_frames(Bundle.open(tiny_bundle))]


def litert(bundle, name="litert_fp32", opened=litert_trace.open_delegated):
    variant = bundle.manifest.variant(name)
    return opened(bundle.read(variant.file), binding_of(bundle.manifest, variant))


def changed_onnx(bundle, operator):
    """Return the float ONNX variant with different weights in the n-th convolution."""
    variant = bundle.manifest.variant("onnx_fp32")
    model = onnx.load_from_string(bundle.read(variant.file))
    node = [node for node in model.graph.node if node.op_type == "Conv"][operator]
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    changed = numpy_helper.to_array(weights) * np.float32(1.05)
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    return onnx_trace.open_trace(model.SerializeToString(), binding_of(bundle.manifest, variant))


def test_equal_networks_in_two_formats_do_not_differ(tiny_bundle, samples):
    bundle = Bundle.open(tiny_bundle)
    variant = bundle.manifest.variant("onnx_fp32")
    other = onnx_trace.open_trace(bundle.read(variant.file), binding_of(bundle.manifest, variant))
    found = map_layers("onnx", variant.name, (litert(bundle), other), samples)
    assert found.first is None
    assert [layer.operator for layer in found.layers if "CONV" in layer.operator] == [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
    ]
    assert max(layer.difference for layer in found.layers) < 1e-5


@pytest.mark.parametrize(("place", "operator"), [(0, "CONV_2D"), (1, "DEPTHWISE_CONV_2D")])
def test_the_first_changed_layer_is_named(place, operator, tiny_bundle, samples):
    bundle = Bundle.open(tiny_bundle)
    found = map_layers("onnx", "onnx_fp32", (litert(bundle), changed_onnx(bundle, place)), samples)
    assert found.first is not None
    assert found.first.operator == operator
    assert found.first.difference == pytest.approx(0.05, abs=0.04)
    before = found.layers[: found.layers.index(found.first)]
    assert len(before) == 3 + place
    assert not any(layer.differs for layer in before)


def test_the_layers_of_the_delegate_end_in_its_answer(tiny_bundle, samples):
    bundle = Bundle.open(tiny_bundle)
    variant = bundle.manifest.variant("litert_wi8_ai8")
    trace = litert(bundle, variant.name)
    values = trace.run(samples[0])
    with closing(loader.load(bundle, variant, threads=1)) as session:
        (answer,) = session.run(samples[0]).values()
    assert np.array_equal(values[trace.tensors[-1].name][0], answer)


def test_the_command_prints_the_first_layer_and_json(tiny_bundle, capsys):
    words = ["layers", str(tiny_bundle), "--variant", "litert_wi8_ai8", "--engines", "litert,reference,onnx"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "litert_wi8_ai8 on reference compared with litert_wi8_ai8 on litert, 4 samples" in text
    assert "onnx_wi8_ai8 on onnx compared with" in text
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [found["engine"] for found in document["maps"]] == ["reference", "onnx"]
    assert len(document["first"]) == 2
    assert {"tensor", "other_tensor", "difference", "largest", "steps", "differs"} <= set(
        document["maps"][0]["layers"][0]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny", "--engines", "litert"], "--engines litert: give at least two engines"),
        (["tiny", "--engines", "litert,tflite"], "--engines tflite: choose from litert, reference"),
        (["tiny", "--engines", "litert,no"], "unknown engine 'no'"),
        (["tiny", "--engines", "onnx,onnx:acl", "--variant", "onnx_fp32"], "has no ACLExecutionProvider"),
        (["convnet", "--engines", "litert,onnx"], "no variant for the engine onnx that corresponds to litert_wi8_ai8"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tiny_bundle, capsys):
    assert main(["layers", *(str(tiny_bundle) if word == "tiny" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
