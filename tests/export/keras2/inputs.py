"""The inputs of the stored models: their shapes and values."""

import zlib
from collections import namedtuple

import numpy as np

SAMPLES = 4
"""Number of samples for which each model's answers are stored."""

Input = namedtuple("Input", "kind shape high")


def Floats(*shape):  # noqa: N802 - reads like a layer in the tables.
    """Return the description of an input with normally distributed values."""
    return Input("floats", shape, None)


def Ints(high, *shape):  # noqa: N802
    """Return the description of an input of integers in [0, `high`), whose samples have zeros at several places."""
    return Input("ints", shape, high)


def Masked(*shape):  # noqa: N802
    """Return the description of an input with normally distributed values. Some of its time steps are zeros."""
    return Input("masked", shape, None)


def values(name, number, given):
    """Return the samples of one input, [SAMPLES, *shape].

    Floats are multiples of 1/16, so that the stored files compress well.

    Args:
        name: Name of the model, which determines the values.
        number: Number of the input in the model.
        given: Description of the input.
    """
    draw = np.random.RandomState(zlib.crc32("{}/{}".format(name, number).encode()) & 0xFFFFFFFF)
    shape = (SAMPLES, *given.shape)
    if given.kind == "ints":
        x = draw.randint(1, given.high, size=shape).astype("int32")
    else:
        x = (np.round(draw.normal(scale=1.5, size=shape) * 16) / 16).astype("float32")
    if given.kind == "floats" or given.shape[0] < 4:
        return x
    order = (1, 2, 3) if number == 0 else (2, 3, 1)
    x[order[0], -2:] = 0  # at the end
    x[order[1], :2] = 0  # at the start
    x[order[2], 2] = 0  # in the middle
    return x
