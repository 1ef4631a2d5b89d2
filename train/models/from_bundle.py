"""Continue the training of a network that is only available as a bundle, such as a shipped bundle.

A bundle contains no Keras model. Its LiteRT variants contain the kernels, which the converter multiplied by the factors
of the batch norm, and the biases. Int8 kernels are rounded, but the training corrects this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from orilla.runtime.bundle.bundle import Bundle, shipped
from orilla.runtime.bundle.weights import Convolution, read_convolutions


def is_bundle(weights: str | None) -> bool:
    """Return True if initial weights are those of a bundle: a `.orilla` file, or the name of a shipped bundle."""
    return weights is not None and (weights.endswith(".orilla") or weights in shipped())


def copy_bundle(where: str | Path, model: keras.Model) -> None:
    """Copy the weights of a bundle's LiteRT variant into the convolutions of a network.

    Convolutions that the variant does not have, such as auxiliary outputs, keep their weights. Each batch norm after a
    copied convolution adds the bias and changes nothing else. Before training, call `calibrate`.

    Args:
        where: Path of the bundle, or name of a shipped bundle.
        model: The network.

    Raises:
        BundleError: The bundle has no LiteRT variant with suitable weights.
        ValueError: The bundle contains a different network.
    """
    bundle = Bundle.open(where)
    targets = {layer.name: layer for layer in _flat(model)}
    copied = 0
    for convolution in read_convolutions(bundle):
        name, kernel = _layer_of(convolution, targets), convolution.kernel
        if name is None:
            continue
        layer = targets[name]
        if tuple(layer.kernel.shape) != kernel.shape:
            msg = (
                f"the kernel of {name} has the shape {kernel.shape} in {bundle.path.name}, but "
                f"{tuple(layer.kernel.shape)} in the network"
            )
            raise ValueError(msg)
        _set_weights(layer, _norm_after(name, targets), kernel, convolution.bias)
        copied += 1
    if copied == 0:
        msg = f"{bundle.path.name} is another network: it has no convolution with the name of one of {model.name}"
        raise ValueError(msg)


def calibrate(model: keras.Model, images: NDArray[np.float32], batch: int = 8) -> None:
    """Set the statistics of each trainable batch norm to its input's statistics, without changing its output.

    During training, a batch norm uses the statistics of the batch. With the statistics of real images, the network
    begins with the same answers as the bundle.

    Args:
        model: A network with the weights of `copy_bundle`.
        images: Prepared training samples, `[N,H,W,C]`.
        batch: Number of images that are computed at once.
    """
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization) and layer.trainable]
    inputs = keras.Model(model.input, [norm.input for norm in norms])
    sums = [np.zeros((2, norm.input.shape[-1])) for norm in norms]
    for start in range(0, len(images), batch):
        values = inputs(images[start : start + batch], training=False)
        for total, value in zip(sums, values if len(norms) > 1 else [values], strict=True):
            array = np.asarray(keras.ops.convert_to_numpy(value), np.float64)
            total += [array.sum((0, 1, 2)) / array[0, ..., 0].size, (array**2).sum((0, 1, 2)) / array[0, ..., 0].size]
    for norm, total in zip(norms, sums, strict=True):
        mean, square = total / len(images)
        variance = np.maximum(square - mean**2, 0.0)
        scale, offset, old_mean, old_variance = norm.get_weights()
        factor = scale / np.sqrt(old_variance + norm.epsilon)
        norm.set_weights(
            [factor * np.sqrt(variance + norm.epsilon), offset + factor * (mean - old_mean), mean, variance]
        )


def _flat(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer


def _layer_of(convolution: Convolution, targets: Mapping[str, keras.layers.Layer]) -> str | None:
    """Return the layer whose name is part of a convolution's name. Keras appends numbers to the names of layers."""
    for part in re.split("[/;]", convolution.name):
        for candidate in (part, re.sub(r"_\d+$", "", part)):
            if isinstance(targets.get(candidate), (layers.Conv2D, layers.DepthwiseConv2D)):
                return candidate
    return None


def _norm_after(name: str, targets: Mapping[str, keras.layers.Layer]) -> layers.BatchNormalization | None:
    """Return the batch norm after a convolution. MobileNetV2's blocks and the other layers have different names."""
    for candidate in (f"{name}_bn", f"{name}_BN", f"bn_{name}"):
        if isinstance(targets.get(candidate), layers.BatchNormalization):
            return targets[candidate]
    return None


def _set_weights(layer: Any, norm: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Set the weights of a convolution, and let the batch norm after it add the bias."""
    if layer.use_bias:
        layer.set_weights([kernel, bias])
        return
    if norm is None:
        msg = f"the layer {layer.name} has no bias, and no batch norm after it"
        raise ValueError(msg)
    layer.set_weights([kernel])
    one, zero = np.ones_like(bias), np.zeros_like(bias)
    norm.set_weights([one * np.sqrt(1.0 + norm.epsilon), bias, zero, one])
