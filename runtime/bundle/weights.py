"""Read the weights of a bundle's network from its LiteRT variant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.tflite.graph import read_operators

READ = ("float32", "int8")
"""Types of weights that are read, starting with the most precise."""


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution of a network, including the batch norm that the converter merged into it."""

    name: str
    """Names of all operations that the converter merged, separated by `;`. Each is a path, such as
    `road/up2_b_1/convolution`."""
    kernel: NDArray[np.float32]
    """Kernel in Keras' layout: `[h,w,in,out]`, or `[h,w,channels,1]` of a depthwise convolution."""
    bias: NDArray[np.float32]
    """Bias, `[out]`."""


def read_convolutions(bundle: Bundle) -> Iterator[Convolution]:
    """Yield the convolutions of the LiteRT variant with the most precise weights. Int8 weights are dequantised.

    Raises:
        BundleError: The bundle has no LiteRT variant with suitable weights.
    """
    variant = _most_precise(bundle)
    for operator in read_operators(bundle.read(variant.file), variant.file):
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(operator.inputs) < 3:
            continue
        kernel, bias = operator.inputs[1], operator.inputs[2]
        weights, offsets = (None if tensor is None else tensor.weights() for tensor in (kernel, bias))
        if kernel is not None and bias is not None and weights is not None and offsets is not None:
            yield Convolution(f"{kernel.name};{bias.name}", np.transpose(weights, (1, 2, 3, 0)), offsets)


def _most_precise(bundle: Bundle) -> Variant:
    fitting = [one for one in bundle.manifest.variants if one.format == "tflite" and _type(one) in READ]
    if not fitting:
        msg = f"{bundle.path.name} has no LiteRT variant with {' or '.join(READ)} weights"
        raise BundleError(msg)
    return min(fitting, key=lambda variant: READ.index(_type(variant)))


def _type(variant: Variant) -> str:
    """Return the type of the weights without the words that follow it: `int8` for `int8, per channel`."""
    return variant.weights.partition(",")[0]
