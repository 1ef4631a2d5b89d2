"""Contract tests that every engine must pass, with all variants of the shipped bundle `probe`.

The checks are in `orilla.runtime.engines.contract`.
They need no TensorFlow, so that `make test-engines` and `make test-arm` can run them.
"""

import os
import sys

import pytest

from orilla.devices.errors import BundleError, ConfigError, EngineError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.doctor import probe, providers
from orilla.runtime.engines import compiled, loader, registry
from orilla.runtime.engines.contract import CHECKS, cases
from orilla.runtime.engines.registry import is_package
from orilla.runtime.verify import verify

PROBE = Bundle.open("probe")


PROVIDERS = providers()
HERE = [
    engine
    for engine in registry.ENGINES.built_in
    # The engine `compiled` crashes the process on some processors on which the engine `litert` works.
    if registry.available(engine, PROVIDERS) and (engine != "compiled" or probe("compiled").answer is not None)
]
PAIRS = [case for engine in HERE for case in cases(engine)]
FROZEN = not is_package("ai_edge_litert")
"""True if the engine `litert` uses the package `tflite_runtime` on this machine."""


@pytest.fixture(params=PAIRS, ids=lambda case: f"{case.engine}-{case.variant.name}")
def case(request):
    """Return an engine and a variant. Skip the test if the engine rejects the variant to avoid wrong results."""
    engine, name = request.param.engine, request.param.variant.name
    try:
        request.param.load().close()
    except EngineError as error:
        refused = "wrong results for dense layers" in str(error) and "\n" not in str(error)
        if not (refused and name == "litert_wi8_afp32" and (engine == "tflite" or FROZEN)):
            raise
        pytest.skip(str(error))
    return request.param


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case, check):
    check(case)


def test_the_engines_that_this_environment_is_for_are_here():
    assert set(os.environ.get("ORILLA_ENGINES", "litert").split()) <= set(HERE)


def test_a_provider_that_is_not_there_is_no_silent_cpu():
    onnxruntime = pytest.importorskip("onnxruntime")
    absent = next(engine for engine in registry.ENGINES if engine.startswith("onnx:") and engine not in HERE)
    with pytest.raises(EngineError, match=r"onnxruntime .* has no \w+, only .*: (pip install|use)") as caught:
        loader.load(PROBE, PROBE.manifest.variant("onnx_fp32"), engine=absent)
    assert onnxruntime.__version__ in str(caught.value)


def test_a_provider_that_falls_back_is_refused(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(EngineError, match=r"fell back to CPUExecutionProvider from CUDAExecutionProvider"):
        loader.load(PROBE, PROBE.manifest.variant("onnx_fp32"), engine="onnx:cuda")


def test_it_verifies(case):
    (verdict,) = verify(case.bundle, (case.variant,), engine=case.engine)
    assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]


def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)  # Hide the package if it is installed.
    with pytest.raises(EngineError, match=r'`tflite` is not installed: pip install "tflite-runtime==2.14.0" "numpy<2"'):
        loader.load_bytes("tflite", b"")


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(ConfigError, match="unknown engine 'onnx:openvin': did you mean onnx:openvino"):
        loader.load_bytes("onnx:openvin", b"")


def test_a_compiled_model_is_refused_where_it_would_end_the_process():
    with pytest.raises(EngineError, match=r"illegal instruction on Armv8\.0 .* use engine=litert"):
        compiled.check_processor("aarch64", ("asimd",))
    compiled.check_processor("aarch64", ("asimd", "atomics"))
    compiled.check_processor("x86_64", ())


def test_a_model_with_another_input_is_refused():
    onnx = pytest.importorskip("onnx")
    tensor, helper = onnx.TensorProto, onnx.helper
    x = helper.make_tensor_value_info("x", tensor.FLOAT, [1, "n"])
    y = helper.make_tensor_value_info("y", tensor.FLOAT, [1, "n"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BundleError, match=r"expected one sample, \[1,\.\.\.\]"):
        loader.load_bytes("onnx", model.SerializeToString())
