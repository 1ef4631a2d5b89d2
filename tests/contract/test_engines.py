"""Contract tests that every engine must pass, with all variants of the shipped bundle `probe`.

They need no TensorFlow, so that `make test-engines` and `make test-arm` can run them.
"""

import os
import sys

import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import BundleError, ConfigError, EngineError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.doctor import probe, providers
from orilla.runtime.engines import compiled, loader, registry
from orilla.runtime.engines.registry import is_package
from orilla.runtime.preprocessing.image import prepare
from orilla.runtime.verify import verify

PROBE = Bundle.open("probe")


PROVIDERS = providers()
HERE = [
    engine
    for engine in registry.ENGINES
    # The engine `compiled` crashes the process on some processors on which the engine `litert` works.
    if registry.available(engine, PROVIDERS) and (engine != "compiled" or probe("compiled").answer is not None)
]
PAIRS = [
    (engine, variant.name) for engine in HERE for variant in PROBE.manifest.variants if loader.fits(variant, engine)
]
FROZEN = not is_package("ai_edge_litert")
"""True if the engine `litert` uses the package `tflite_runtime` on this machine."""


def load(engine, name, **options):
    try:
        return loader.load(PROBE, PROBE.manifest.variant(name), engine=engine, **options)
    except EngineError as error:
        refused = "computes dense layers" in str(error) and "\n" not in str(error)
        if not (refused and name == "litert_wi8_afp32" and (engine == "tflite" or FROZEN)):
            raise
        pytest.skip(str(error))


def scores(session, picture):
    """Return the only output of the model, by the name that the bundle declares."""
    return session.run(picture)["output"]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    return request.param


@pytest.fixture
def session(pair):
    session = load(*pair)
    yield session
    session.close()


@pytest.fixture(scope="module")
def pictures():
    return [prepare(factories.picture(seed=seed), PROBE.manifest.preprocess) for seed in range(6)]


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


def test_answers_are_probabilities_of_the_right_shape(session, pictures):
    for picture in pictures:
        output = scores(session, picture)
        assert output.shape == (10,)
        assert output.dtype == np.float32
        assert abs(output.sum() - 1) < 0.05


def test_the_order_of_the_pictures_does_not_matter(session, pictures):
    forward = [scores(session, picture).copy() for picture in pictures]
    backward = [scores(session, picture).copy() for picture in reversed(pictures)]
    assert not np.array_equal(forward[0], forward[1])
    for output, repeated in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(output, repeated)


def test_an_answer_is_the_callers_own(session, pictures):
    first = scores(session, pictures[0])
    before = first.copy()
    session.run(pictures[1])
    assert np.array_equal(first, before)


def test_the_picture_is_left_as_it_was(session, pictures):
    before = pictures[0].copy()
    session.run(pictures[0])
    assert np.array_equal(pictures[0], before)


def test_the_number_of_threads_does_not_change_the_answer(pair, pictures):
    answers = []
    for threads in (1, 2):
        session = load(*pair, threads=threads)
        answers.append(scores(session, pictures[0]))
        session.close()
    assert np.abs(answers[0] - answers[1]).max() <= 1e-5


def test_a_picture_of_another_size_is_refused_and_the_next_one_answered(session, pictures):
    with pytest.raises(BundleError, match=r"prepared input has shape \[5, 5, 3\]"):
        session.run(np.zeros((5, 5, 3), np.uint8))
    assert scores(session, pictures[0]).shape == (10,)


def test_it_says_who_computes(session):
    name, version, *_ = session.engine.split()
    assert name in ("ai_edge_litert", "tflite_runtime", "tensorflow", "onnxruntime")
    assert version[0].isdigit()


def test_it_computes_what_was_exported(pair):
    engine, name = pair
    load(engine, name).close()
    (verdict,) = verify(PROBE, (PROBE.manifest.variant(name),), engine=engine)
    assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("data", [b"", b"not a model", b"\0" * 4096])
def test_what_is_no_model_is_an_error_of_one_line(engine, data, capfd):
    with pytest.raises(EngineError, match="cannot load this variant") as caught:
        loader.load_bytes(engine, data)
    assert "\n" not in str(caught.value)


def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)  # hides the package if it is installed
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
