"""Functions that translate layers that Keras 3 lacks, such as locally connected layers and `Highway` of Keras 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.export.keras2.activations import activation_of
from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers.gone import (
    Highway,
    LayerScale,
    LocallyConnected,
    MaxoutDense,
    ParametricSoftplus,
    SReLU,
)
from orilla.export.keras2.layers.simple import first
from orilla.export.keras2.layers.translator import Translation, Translator, kept, layer_name
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Arrays, Part, plain


def locally_connected(rank: int) -> Translation:
    """Return the function that translates `LocallyConnected1D` or `LocallyConnected2D`.

    Args:
        rank: Number of spatial axes.
    """

    def translate(config: LayerConfig, _: Translator) -> Part:
        settings = config.config
        implementation = settings.get("implementation") or 1
        if first(config) or implementation == 3:
            how = "with the channels first" if first(config) else "with implementation=3"
            msg = f"a locally connected layer {how} stores its weights in an unsupported order"
            raise UntranslatableError(msg)
        options = {
            "filters": settings.get("filters"),
            "kernel_size": _sizes(settings.get("kernel_size"), rank),
            "strides": _sizes(settings.get("strides", 1), rank),
            "padding": settings.get("padding", "valid"),
            "use_bias": settings.get("use_bias", True),
        }
        activation = activation_of(settings.get("activation"))
        layer = LocallyConnected(options, activation, name=layer_name(config))

        def arrange(arrays: Arrays) -> Arrays:
            if implementation == 2:
                arrays[0] = _from_dense(arrays[0], options)
            return arrays

        return plain(config, layer, arrange=arrange)

    return translate


def _sizes(value: Any, rank: int) -> list[int]:
    sizes = list(value) if isinstance(value, list | tuple) else [value] * rank
    if len(sizes) != rank or not all(isinstance(size, int) and size > 0 for size in sizes):
        msg = f"it states the sizes {value}, but needs {rank} positive integers"
        raise UntranslatableError(msg)
    return sizes


def _from_dense(kernel: NDArray[Any], options: dict[str, Any]) -> NDArray[Any]:
    """Convert a kernel `[*in,C,*out,F]`, with weights for each pair of input and output positions, to `[P,K,F]`.

    Source: `LocallyConnected2D` of Keras 2.15 with `implementation=2`.
    """
    rank = len(options["kernel_size"])
    places, results = kernel.shape[:rank], kernel.shape[rank + 1 : 2 * rank + 1]
    rows = []
    for result in np.ndindex(*results):
        offsets = [
            position * stride - _padding(size, stride, length, count, options["padding"])
            for position, stride, size, length, count in zip(
                result, options["strides"], options["kernel_size"], places, results, strict=True
            )
        ]
        values = np.zeros((*options["kernel_size"], kernel.shape[rank], kernel.shape[-1]), kernel.dtype)
        for inside in np.ndindex(*options["kernel_size"]):
            place = tuple(offset + step for offset, step in zip(offsets, inside, strict=True))
            if all(0 <= step < length for step, length in zip(place, places, strict=True)):
                weight = (*place, slice(None), *result)
                values[inside] = kernel[weight]
        rows.append(values.reshape(-1, kernel.shape[-1]))
    return np.stack(rows)


def _padding(size: int, stride: int, length: int, count: int, padding: str) -> int:
    """Return the number of zeros added before an axis, as in TensorFlow's padding `same`."""
    return max((count - 1) * stride + size - length, 0) // 2 if padding == "same" else 0


def highway(config: LayerConfig, _: Translator) -> Part:
    """Translate `Highway`."""
    use_bias = bool(config.config.get("use_bias", True))
    activation = activation_of(config.config.get("activation"))
    return plain(config, Highway(activation, use_bias=use_bias, name=layer_name(config)))


def maxout_dense(config: LayerConfig, _: Translator) -> Part:
    """Translate `MaxoutDense`."""
    return plain(config, MaxoutDense(**kept(config, "units", "use_bias", features="nb_feature")))


def layer_scale(config: LayerConfig, _: Translator) -> Part:
    """Translate `LayerScale` of ConvNeXt."""
    return plain(config, LayerScale(name=layer_name(config)))


def per_value(kind: Any) -> Translation:
    """Return the function that translates a Keras 1 activation that has weights for each value."""

    def translate(config: LayerConfig, _: Translator) -> Part:
        layer = kind(name=layer_name(config))

        def arrange(arrays: Arrays) -> Arrays:
            needed = tuple(layer.values[0].shape)
            return [np.broadcast_to(array, needed) if array.ndim == len(needed) else array for array in arrays]

        return plain(config, layer, arrange=arrange)

    return translate


ROWS: dict[str, Translation] = {
    "LocallyConnected1D": locally_connected(1),
    "LocallyConnected2D": locally_connected(2),
    "Highway": highway,
    "MaxoutDense": maxout_dense,
    "ParametricSoftplus": per_value(ParametricSoftplus),
    "LayerScale": layer_scale,
    "SReLU": per_value(SReLU),
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""
