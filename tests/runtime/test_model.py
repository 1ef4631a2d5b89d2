import cv2
import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def model(tiny_bundle):
    with orilla.runtime.open(tiny_bundle) as opened:
        yield opened


def test_one_picture(model):
    tick = model(factories.picture(97, 131))
    assert tick.result.mask().shape == (97, 131)
    assert tick.result.mask().dtype == bool
    assert tick.result.probability.shape == (16, 32)
    assert tick.result.probability.dtype == np.float32
    assert 0 <= tick.result.probability.min() <= tick.result.probability.max() <= 1
    assert set(tick.stages_ms) == {"prepare", "infer", "decode"}
    assert tick.age_ms >= tick.stages_ms["infer"]


def test_colour_order(model):
    bgr = factories.picture(97, 131)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    assert np.array_equal(model(bgr).result.probability, model(rgb, color="rgb").result.probability)
    assert not np.array_equal(model(bgr).result.probability, model(rgb).result.probability)


def test_an_earlier_answer_is_not_changed_by_a_later_picture(model):
    first = model(factories.picture(seed=1)).result.probability
    copied = first.copy()
    model(factories.picture(seed=2))
    assert np.array_equal(first, copied)


def test_a_stream_gives_the_same_answers_as_single_pictures(model, tmp_path):
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), factories.picture(seed=index))
    answers = [tick.result.probability for tick in model.stream(tmp_path)]
    singles = [model(factories.picture(seed=index)).result.probability for index in range(5)]
    assert len(answers) == 5
    for answer, single in zip(answers, singles, strict=True):
        assert np.array_equal(answer, single)


def test_a_source_of_ones_own_is_closed_with_the_stream(model):
    source = factories.ListSource([factories.picture()] * 3)
    ticks = model.stream(source)
    next(ticks)
    ticks.close()
    assert source.closed


@pytest.mark.parametrize("image", [np.zeros((3, 3), np.uint8), np.zeros((3, 3, 3)), [[1]]])
def test_other_things_than_pictures_are_refused(model, image):
    with pytest.raises(DataError, match="expected an image"):
        model(image)


def test_choosing(tiny_bundle):
    for variant in ("litert_fp32", "onnx_wi8_ai8"):
        with orilla.runtime.open(tiny_bundle, variant=variant) as opened:
            assert opened.variant.name == variant
    with orilla.runtime.open(tiny_bundle, engine="onnx") as opened:
        assert opened.variant.name.startswith("onnx")
    with pytest.raises(ConfigError, match="unknown variant"):
        orilla.runtime.open(tiny_bundle, variant="int4")


def test_every_documented_name_is_there():
    assert {orilla.runtime.open, orilla.runtime.Model, orilla.runtime.open_source}
    with pytest.raises(AttributeError, match="no attribute 'close'"):
        _ = orilla.runtime.close
