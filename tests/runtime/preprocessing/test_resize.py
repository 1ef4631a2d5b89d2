"""The interpolation methods. `tests/export/test_resize_rules.py` tests the methods that are named after Keras."""

from typing import get_args

import cv2
import msgspec
import numpy as np
import pytest
from helpers import factories
from hypothesis import given
from hypothesis import strategies as st

from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.preprocessing.placement import stretched
from orilla.runtime.preprocessing.resample import RULES
from orilla.runtime.preprocessing.resize import WHOLE_RULES, Interpolation, plan_resize

NOISE = np.random.default_rng(0)
SIZES = (
    ((426, 640), (224, 224)),  # smaller, with centres between two pixels
    ((333, 501), (20, 31)),  # much smaller
    ((23, 31), (97, 160)),  # larger
    ((300, 40), (97, 160)),  # smaller in one axis, larger in the other
    ((40, 300), (41, 31)),
    ((1, 50), (20, 31)),
    ((50, 1), (20, 31)),
    ((1, 1), (7, 5)),
    ((20, 31), (20, 31)),
)


def images(size_hw):
    """Return a smooth image, and an image of noise, which has edges at every pixel."""
    return factories.picture(*size_hw), NOISE.integers(0, 256, (*size_hw, 3), np.uint8)


def resized(image, size_hw, interpolation):
    return prepare(image, Preprocess(size_hw, color="bgr", interpolation=interpolation))


def test_every_name_has_a_rule():
    assert sorted(get_args(Interpolation)) == sorted([*WHOLE_RULES, *RULES])


@pytest.mark.parametrize(("from_hw", "to_hw"), SIZES)
@pytest.mark.parametrize("name", ["nearest", "pil-bilinear", "pil-bicubic", "pil-lanczos"])
def test_the_rules_of_pil_are_those_of_pillow(name, from_hw, to_hw):
    pil = pytest.importorskip("PIL.Image")
    flag = pil.Resampling[name.removeprefix("pil-").upper()]
    for image in images(from_hw):
        # With two calls, every version of Pillow resizes the width first. In one call, Pillow 13 resizes the height of
        # some images first.
        wide = pil.fromarray(image).resize((to_hw[1], from_hw[0]), flag)
        expected = np.asarray(wide.resize(to_hw[::-1], flag))
        assert np.array_equal(resized(image, to_hw, name), expected)


@pytest.mark.parametrize(("from_hw", "to_hw"), [size for size in SIZES if size[0][0] <= size[0][1]])
@pytest.mark.parametrize("name", ["nearest", "pil-bilinear", "pil-bicubic", "pil-lanczos"])
def test_one_call_of_pillow_gives_the_same_for_a_wide_image(name, from_hw, to_hw):
    pil = pytest.importorskip("PIL.Image")
    for image in images(from_hw):
        expected = pil.fromarray(image).resize(to_hw[::-1], pil.Resampling[name.removeprefix("pil-").upper()])
        assert np.array_equal(resized(image, to_hw, name), np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "flag"),
    [("linear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)],
)
@pytest.mark.parametrize(("from_hw", "to_hw"), SIZES)
def test_the_other_rules_are_those_of_opencv(name, flag, from_hw, to_hw):
    for image in images(from_hw):
        assert np.array_equal(resized(image, to_hw, name), cv2.resize(image, to_hw[::-1], interpolation=flag))


def test_antialiasing_averages_fine_detail():
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[::2] = 255
    for name in ("area", "keras-bilinear-antialias", "keras-bicubic-antialias", "pil-bilinear", "pil-bicubic"):
        assert np.abs(resized(stripes, (60, 80), name).astype(int) - 128)[1:-1].max() <= 2, name


@pytest.mark.parametrize("name", get_args(Interpolation))
def test_a_crop_shows_what_the_whole_resized_frame_shows(name):
    spec = Preprocess((28, 28), resize="crop", crop_fraction=0.875, interpolation=name, color="bgr")
    for size in ((90, 140), (140, 90), (33, 32), (20, 25), (600, 40)):
        image = factories.picture(*size)
        placement = spec.placement(size)
        (x, y), whole = placement.offset_xy, resized(image, placement.resized_hw, name)
        assert np.abs(prepare(image, spec).astype(int) - whole[-y : 28 - y, -x : 28 - x]).max() <= 1, size


@pytest.mark.parametrize("name", get_args(Interpolation))
def test_grey_is_resized_like_a_channel(name):
    image = np.repeat(factories.picture(61, 90)[..., :1], 3, axis=2)
    grey = prepare(image, Preprocess((32, 48), color="grey", interpolation=name))
    assert np.abs(grey.astype(int) - resized(image, (32, 48), name)).max() <= 1


@pytest.mark.parametrize("name", get_args(Interpolation))
def test_a_view_of_a_larger_frame_gives_the_same(name):
    view = factories.picture(100, 140)[10:74, 20:116]
    assert np.array_equal(resized(view, (32, 48), name), resized(np.ascontiguousarray(view), (32, 48), name))


@given(
    st.sampled_from(sorted(RULES)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 255),
)
def test_every_size_keeps_a_constant(name, from_hw, to_hw, level):
    out = np.empty((*to_hw, 3), np.uint8)
    plan_resize(name, stretched(from_hw, to_hw), (3,))(np.full((*from_hw, 3), level, np.uint8), out)
    assert (out == level).all()


def test_an_unknown_rule_is_rejected_with_the_known_ones():
    data = b'{"kind":"image","size_hw":[2,2],"interpolation":"bilinear"}'
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'bilinear'"):
        msgspec.json.decode(data, type=Preprocess)
