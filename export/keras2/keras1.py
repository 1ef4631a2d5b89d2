"""Convert layers of Keras 1 to the form in which Keras 2 would have written them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Arrays

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}
"""Class name in Keras 2 for each class name in Keras 1."""

KEYS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "dim_ordering": "data_format",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "p": "rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "length": "size",
    "sigma": "stddev",
}
"""Argument name in Keras 2 for each argument name in Keras 1."""

SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
"""Arguments of Keras 1 that together state the size of a kernel."""

MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"}
"""Class in Keras 2 for each mode of Keras 1's `Merge`."""

GATES = {"LSTM": 12, "GRU": 9, "ConvLSTM2D": 12}
"""Number of arrays in each recurrent layer if each gate's arrays are stored separately."""


def modern(config: LayerConfig) -> LayerConfig:
    """Return a Keras 1 layer with its class and arguments renamed as in Keras 2.

    Raises:
        UntranslatableError: The layer is a `Merge` with a mode that has no equivalent.
    """
    if config.class_name == "Merge":
        return _merge(config)
    class_name = CLASSES.get(config.class_name, config.class_name)
    settings = {KEYS.get(key, key): value for key, value in config.config.items()}
    for keys in SIZES:
        if all(key in settings for key in keys):
            settings["kernel_size"] = [settings[key] for key in keys]
    if "output_dim" in settings and class_name != "Embedding":
        settings["units"] = settings["output_dim"]
    if settings.get("data_format") in ("tf", "th"):
        settings["data_format"] = "channels_last" if settings["data_format"] == "tf" else "channels_first"
    elif settings.get("data_format") == "default":
        del settings["data_format"]
    if class_name == "ZeroPadding2D":
        settings["padding"] = _sides(settings.get("padding"))
    if class_name in GATES and settings.get("consume_less") != "gpu":
        settings["arrays_of_keras_1"] = GATES[class_name]
    return replace(config, class_name=class_name, config=settings)


def _sides(padding: Any) -> Any:
    """Return the padding of an image as pairs. Keras 1 also accepts four numbers or a dictionary."""
    if isinstance(padding, dict):
        padding = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    return [padding[:2], padding[2:]] if isinstance(padding, list) and len(padding) == 4 else padding


def _merge(config: LayerConfig) -> LayerConfig:
    settings = config.config
    mode = settings.get("mode")
    if mode == "cos":
        return replace(config, class_name="Cosine", config={"name": config.name, "axes": settings.get("dot_axes", -1)})
    if settings.get("mode_type", "raw") != "raw" or mode not in MERGES:
        what = f"the mode {mode}" if settings.get("mode_type", "raw") == "raw" else "a Python function"
        msg = f"it merges with {what}, which is not supported"
        raise UntranslatableError(msg)
    options = {"axis": settings.get("concat_axis", -1)} if mode == "concat" else {}
    if mode == "dot":
        options = {"axes": settings.get("dot_axes", -1)}
    return replace(config, class_name=MERGES[mode], config={"name": config.name, **options})


def arrays_of(config: LayerConfig) -> Callable[[Arrays], Arrays]:
    """Return the function that converts the arrays of a Keras 1 layer to the order and shapes of Keras 2.

    Args:
        config: The layer with its names in Keras 2, as returned by `modern`.

    Source: `preprocess_weights_for_loading` in `keras/engine/saving.py` of Keras 2.2.4.
    """
    first = config.config.get("data_format") == "channels_first"
    rules: dict[str, Callable[[Arrays], Arrays]] = {
        "Conv1D": _conv_1d,
        "Conv2D": lambda arrays: _moved(arrays, (2, 3, 1, 0)) if first else arrays,
        "Conv3D": lambda arrays: _moved(arrays, (2, 3, 4, 1, 0)) if first else arrays,
        "Conv2DTranspose": lambda arrays: _moved(arrays, (2, 3, 0, 1) if first else (0, 1, 3, 2)),
        "SeparableConv2D": lambda arrays: _moved(arrays, (2, 3, 1, 0), count=2) if first else arrays,
        "ConvLSTM2D": lambda arrays: _conv_lstm(arrays) if first else arrays,
    }
    return rules.get(config.class_name, list)


def _moved(arrays: Arrays, order: tuple[int, ...], count: int = 1) -> Arrays:
    return [np.transpose(array, order) for array in arrays[:count]] + arrays[count:]


def _conv_1d(arrays: Arrays) -> Arrays:
    """Remove the second axis, which has length 1. Keras 1.0 and 1.1 wrote `[filters,inputs,length,1]`."""
    kernel = arrays[0]
    if kernel.ndim != 4:
        return arrays
    if kernel.shape[3] == 1 and kernel.shape[1] != 1:
        kernel = np.transpose(kernel, (2, 3, 1, 0))
    return [kernel[:, 0], *arrays[1:]]


def _conv_lstm(arrays: Arrays) -> Arrays:
    return [np.transpose(array, (2, 3, 1, 0)) if array.ndim == 4 else array for array in arrays]
