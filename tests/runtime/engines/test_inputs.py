"""The layout of a prepared sample may differ from that of the model file."""

import numpy as np
import pytest

from orilla.devices.errors import BundleError
from orilla.runtime.engines.session import Inputs, Slot


def filled(prepared, shape):
    """Return the tensor that a float input gets."""
    inputs = Inputs([Slot("x", shape, np.dtype(np.float32), None)])
    tensors = inputs.tensors()
    inputs.fill(prepared, tensors)
    return tensors[0]


def test_an_array_with_channels_first_enters_a_file_with_channels_last():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(filled(array, (1, 3, 4, 2))[0], array.transpose(1, 2, 0))


def test_an_image_enters_a_file_with_channels_first():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(filled(image, (1, 3, 2, 4))[0], image.transpose(2, 0, 1))


def test_another_shape_is_refused():
    with pytest.raises(BundleError, match=r"has shape \[2, 3, 5\], but the variant takes \[3, 4, 2\]"):
        filled(np.zeros((2, 3, 5), np.float32), (1, 3, 4, 2))
