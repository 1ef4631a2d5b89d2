"""The layout of a prepared sample may differ from that of the model file."""

import numpy as np
import pytest

from orilla.devices.errors import BundleError
from orilla.runtime.engines.session import Binding, Inputs, Slot
from orilla.runtime.preprocessing.quantization import Quantization


def filled(prepared, shape):
    """Return the tensor that a float input receives."""
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


@pytest.mark.parametrize("shape", [(1, 6, 8, 3), (1, 3, 6, 8)])
@pytest.mark.parametrize("pixel_values", [None, np.arange(256, dtype=np.float32)])
def test_pixels_of_an_int8_input_with_scale_1_are_shifted_by_128(shape, pixel_values):
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    slot = Slot("x", shape, np.dtype(np.int8), Quantization(1.0, -128))
    inputs = Inputs([slot], Binding(pixel_values=pixel_values))
    (tensor,) = inputs.tensors()
    inputs.fill(image, [tensor])
    expected = image.astype(np.int16) - 128
    assert tensor.dtype == np.int8
    assert np.array_equal(tensor[0], expected if shape[-1] == 3 else np.moveaxis(expected, -1, 0))
    before = image.copy()
    inputs.fill(image, [tensor])
    assert np.array_equal(image, before)


def test_pixels_of_an_int8_input_with_another_scale_use_the_table():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    slot = Slot("x", (1, 16, 16, 1), np.dtype(np.int8), Quantization(2.0, -128))
    inputs = Inputs([slot])
    (tensor,) = inputs.tensors()
    inputs.fill(image, [tensor])
    assert np.array_equal(tensor[0], slot.quantisation.quantise(image.astype(np.float32), slot.dtype))
