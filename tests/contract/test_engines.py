"""What every engine must do, over every variant that export makes."""

import factories
import numpy as np
import pytest

from orilla.devices.errors import BundleError, EngineError
from orilla.export.recipe import recipes
from orilla.runtime.bundle import Bundle
from orilla.runtime.engines import registry
from orilla.runtime.preprocess import prepare


@pytest.fixture(
    params=[name for name, recipe in recipes().items() if not {"lstm", "no convolutions"} & set(recipe.needs)]
)
def variant(request, tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    return bundle, bundle.manifest.variant(request.param)


@pytest.fixture
def session(variant):
    session = registry.load(*variant)
    yield session
    session.close()


@pytest.fixture
def pictures(variant):
    spec = variant[0].manifest.preprocess
    return [prepare(factories.picture(seed=seed), spec) for seed in range(6)]


def test_answers_are_probabilities_of_the_right_shape(session, pictures):
    for picture in pictures:
        output = session.run(picture)
        assert output.shape == (1, 16, 32, 1)
        assert output.dtype == np.float32
        assert 0 <= output.min() <= output.max() <= 1


def test_the_order_of_the_pictures_does_not_matter(session, pictures):
    forward = [session.run(picture).copy() for picture in pictures]
    backward = [session.run(picture).copy() for picture in reversed(pictures)]
    for one, other in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(one, other)


def test_the_picture_is_left_as_it_was(session, pictures):
    before = pictures[0].copy()
    session.run(pictures[0])
    assert np.array_equal(pictures[0], before)


def test_the_number_of_threads_does_not_change_the_answer(variant, pictures):
    answers = []
    for threads in (1, 2):
        session = registry.load(*variant, threads=threads)
        answers.append(session.run(pictures[0]).copy())
        session.close()
    assert np.abs(answers[0] - answers[1]).max() <= 1e-5


def test_a_picture_of_another_size_is_refused(session):
    with pytest.raises(BundleError, match=r"prepared input is \[5, 5, 3\]"):
        session.run(np.zeros((5, 5, 3), np.uint8))


def test_it_says_who_computes(session):
    assert session.engine


@pytest.mark.parametrize("engine", list(registry.ENGINES))
@pytest.mark.parametrize("data", [b"", b"not a model", b"\0" * 4096])
def test_what_is_no_model_is_an_error_of_one_line(engine, data, capfd):
    with pytest.raises(EngineError, match="cannot load this variant") as caught:
        registry.load_bytes(engine, data)
    assert "\n" not in str(caught.value)


def test_a_model_with_another_input_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "n"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BundleError, match=r"expected one sample, \[1,\.\.\.\]"):
        registry.load_bytes("onnx", model.SerializeToString())
    assert onnx.__version__
