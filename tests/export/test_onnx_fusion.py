import platform

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from orilla.export.quantize.onnx import dynamic_int8, float16, quantise_static
from orilla.export.quantize.onnx_fusion import optimised_operators, require_fused

CHANNELS, BLOCKS = 16, 3


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """A quantised network with residual connections, in which every convolution's output is read twice."""
    folder = tmp_path_factory.mktemp("fusion")
    random = np.random.default_rng(0)
    shape, nodes, weights, last = (1, CHANNELS, 8, 8), [], [], "x"
    for number in range(BLOCKS):
        kernel = random.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], f"relu{number}"))
        nodes.append(helper.make_node("Add", [last, f"r{number}"], [f"a{number}"], f"add{number}"))
        last = f"a{number}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)]
    graph = helper.make_graph(nodes, "residual", ends[:1], ends[1:], weights)
    source, out, calibration = (folder / name for name in ("float.onnx", "quantised.onnx", "calibration.npz"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    np.savez(calibration, x=random.normal(size=(8, *shape[1:])).astype(np.float32))
    quantise_static(str(source), str(out), str(calibration), "MinMax")
    return out


def test_operators_whose_output_is_read_twice_run_in_integers(quantised):
    require_fused(str(quantised))
    counts = optimised_operators(str(quantised))
    assert counts["QLinearConv"] == BLOCKS
    assert counts["QLinearAdd"] == BLOCKS


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="ONNX Runtime fuses int8 on other processors")
def test_a_file_that_runs_in_float_is_rejected(quantised, tmp_path):
    model = onnx.load(quantised)
    values = {value.name: value for value in model.graph.initializer}
    for name in {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}:
        # Store the same numbers as int8. ONNX Runtime does not convert a tensor that is read twice to uint8.
        moved = numpy_helper.to_array(values[name]).astype(np.int16) - 128
        values[name].CopyFrom(numpy_helper.from_array(moved.astype(np.int8), name))
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "int8.onnx")
    with pytest.raises(ValueError, match=rf"only \d of the {BLOCKS} quantised operators with weights in integers"):
        require_fused(str(tmp_path / "int8.onnx"))


@pytest.mark.parametrize("kind", ["static", "dynamic", "float16"])
def test_an_output_that_passes_an_input_through_stays(kind, tmp_path):
    random = np.random.default_rng(0)
    weights = [numpy_helper.from_array(random.normal(size=(8, 4)).astype(np.float32), "w")]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size)) for name, size in (("x", 8), ("y", 4)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], "passed", [x], [x, y], weights)
    source, out, samples = (str(tmp_path / name) for name in ("float.onnx", "out.onnx", "samples.npz"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    values = random.normal(size=(20, 8)).astype(np.float32)
    np.savez(samples, x=values)
    if kind == "static":
        quantise_static(source, out, samples, "MinMax")
    else:
        {"dynamic": dynamic_int8, "float16": float16}[kind](source, out)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    passed, computed = session.run(None, {"x": values[:1]})
    assert np.array_equal(passed, values[:1])
    assert computed == pytest.approx(values[:1] @ numpy_helper.to_array(weights[0]), abs=0.2)
