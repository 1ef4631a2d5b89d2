import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.image import Preprocess, Preprocessor, prepare


def test_colour_order_is_the_networks():
    blue = np.zeros((40, 60, 3), np.uint8)
    blue[..., 0] = 200
    assert prepare(blue, Preprocess(size_hw=(20, 30)))[0, 0].tolist() == [0, 0, 200]
    assert prepare(blue, Preprocess(size_hw=(20, 30), color="bgr"))[0, 0].tolist() == [200, 0, 0]
    assert prepare(blue, Preprocess(size_hw=(20, 30)), color="rgb")[0, 0].tolist() == [200, 0, 0]


def test_halving_is_the_mean_of_two_by_two():
    image = factories.picture(64, 96)
    expected = image.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    prepared = prepare(image, Preprocess(size_hw=(32, 48), color="bgr"))
    assert np.abs(prepared - expected).max() <= 0.5


def test_fine_detail_is_averaged_not_skipped():
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[::2] = 255
    assert np.abs(prepare(stripes, Preprocess(size_hw=(180, 320))).astype(int) - 128).max() <= 1


def test_scratch_follows_a_change_of_resolution():
    preprocessor = Preprocessor(Preprocess(size_hw=(32, 48)))
    for size in ((64, 96), (33, 49), (480, 640), (64, 96), (1, 1)):
        image = factories.picture(*size)
        assert np.array_equal(preprocessor(image), prepare(image, preprocessor.spec))


def test_writes_into_the_callers_array_and_leaves_the_frame_alone():
    image = factories.picture(64, 96)
    before, out = image.copy(), np.empty((32, 48, 3), np.uint8)
    assert Preprocessor(Preprocess(size_hw=(32, 48)))(image, out) is out
    assert np.array_equal(image, before)


def test_a_view_of_a_larger_frame_is_taken():
    image = factories.picture(100, 140)[10:74, 20:116]
    spec = Preprocess(size_hw=(32, 48))
    assert np.array_equal(prepare(image, spec), prepare(np.ascontiguousarray(image), spec))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "picture.png",
        None,
    ],
)
def test_other_arrays_are_refused_by_one_line(image):
    with pytest.raises(DataError, match="expected an image") as caught:
        prepare(image, Preprocess(size_hw=(32, 48)))
    assert "\n" not in str(caught.value)


def test_agrees_with_opencv_where_nothing_is_halved():
    image = factories.picture(40, 60)
    assert np.array_equal(prepare(image, Preprocess(size_hw=(32, 48), color="bgr")), cv2.resize(image, (48, 32)))
