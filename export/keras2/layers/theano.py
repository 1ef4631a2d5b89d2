"""Theano's padding `same`. Theano pads both sides equally, while TensorFlow may pad the end more than the beginning.

Source: `conv2d`, `_postprocess_conv2d_output` and `pool2d` in `keras/backend/theano_backend.py` of Keras 2.2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Run


def padded_as_theano(config: LayerConfig) -> Callable[[Any], Run] | None:
    """Return the function that calls a convolution with Theano's padding, or None if the padding is not `same`.

    Raises:
        UntranslatableError: Theano's padding is not implemented for this kind of layer.
    """
    if config.config.get("padding") != "same":
        return None
    if config.class_name not in ("Conv1D", "Conv2D", "Conv3D"):
        msg = "it has the padding same, which Theano computes differently"
        raise UntranslatableError(msg)

    def caller(layer: Any) -> Run:
        sizes = [(size - 1) * step + 1 for size, step in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        pads = [(size // 2, size // 2) for size in sizes]

        def run(inputs: Any, _: dict[str, Any]) -> Any:
            y = layer(ops.pad(inputs, [(0, 0), *pads, (0, 0)]))
            return _cropped(y, inputs, layer.strides)

        return run

    return caller


def pooled_as_theano(layer: Any) -> Run:
    """Return the function that calls a pooling layer with Theano's padding. Average pooling excludes the padding."""
    pads = [size - 2 if size > 2 and size % 2 == 1 else size - 1 for size in layer.pool_size]
    widths = [(0, 0), *((pad, pad) for pad in pads), (0, 0)]

    def run(inputs: Any, _: dict[str, Any]) -> Any:
        if isinstance(layer, layers.MaxPooling1D | layers.MaxPooling2D | layers.MaxPooling3D):
            y = layer(ops.pad(inputs, widths, constant_values=float(np.finfo(np.float32).min)))
        else:
            inside = ops.pad(ops.ones_like(inputs), widths)
            y = layer(ops.pad(inputs, widths)) / ops.maximum(
                type(layer)(layer.pool_size, layer.strides, "valid", data_format="channels_last")(inside), 1e-6
            )
        return _cropped(y, inputs, layer.strides)

    return run


def _cropped(y: Any, inputs: Any, strides: Any) -> Any:
    """Crop the output to one position per stride of the input."""
    counts = [
        None if length is None else -(-length // stride)
        for length, stride in zip(inputs.shape[1:-1], strides, strict=True)
    ]
    place = (slice(None), *(slice(count) for count in counts), slice(None))
    return y[place]
