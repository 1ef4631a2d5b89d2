"""The interpolation methods that are named after Keras give the same results as TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import factories

from orilla.runtime.preprocessing.image import Preprocess, prepare

SIZES = (
    ((426, 640), (224, 224)),  # smaller, with centres between two pixels
    ((333, 501), (20, 31)),  # much smaller
    ((23, 31), (97, 160)),  # larger
    ((300, 40), (97, 160)),  # smaller in one axis, larger in the other
    ((1, 50), (20, 31)),
    ((50, 1), (20, 31)),
    ((1, 1), (7, 5)),
    ((20, 31), (20, 31)),
)


@pytest.mark.parametrize(("from_hw", "to_hw"), SIZES)
@pytest.mark.parametrize(
    ("name", "method", "antialias"),
    [
        ("keras-nearest", "nearest", False),
        ("keras-bilinear", "bilinear", False),
        ("keras-bicubic", "bicubic", False),
        ("keras-bilinear-antialias", "bilinear", True),
        ("keras-bicubic-antialias", "bicubic", True),
        ("area", "area", False),
    ],
)
def test_a_rule_gives_what_tensorflow_computes(name, method, antialias, from_hw, to_hw):
    noise = np.random.default_rng(0).integers(0, 256, (*from_hw, 3), np.uint8)
    for image in (factories.picture(*from_hw), noise):
        exact = np.clip(tf.image.resize(image, to_hw, method=method, antialias=antialias).numpy(), 0, 255)
        difference = np.abs(prepare(image, Preprocess(to_hw, color="bgr", interpolation=name)) - exact)
        # TensorFlow does not round, so a difference of half a grey level is allowed.
        assert difference.max() <= 1
        assert np.maximum(difference - 0.5, 0).mean() <= 0.005
