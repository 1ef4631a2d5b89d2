"""Building blocks that several architectures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.jobs.plan import NetworkOptions


def image_input(options: NetworkOptions) -> Any:
    """Return the input of an image model: RGB `[N,H,W,3]`, values 0-255."""
    return keras.Input((*options.input, 3), name="image")


def grey(x: Any) -> Any:
    """Return the mean of the three channels, `[N,H,W,1]` from 0 to 1, computed by a fixed 1x1 convolution."""
    return fixed_pointwise(x, np.full((3, 1), 1 / (3 * 255)), np.zeros(1))


def fixed_pointwise(x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    """Return the channels multiplied by a constant matrix, plus a constant.

    With this layer, normalisation is part of the network.
    """
    return layers.Conv2D(
        kernel.shape[1],
        1,
        kernel_initializer=keras.initializers.Constant(kernel.astype(np.float32).tolist()),
        bias_initializer=keras.initializers.Constant(bias.astype(np.float32).tolist()),
        trainable=False,
        name="normalise",
    )(x)


def output_layer(x: Any, classes: int, *, binary: bool = False) -> Any:
    """Return class probabilities in float32, even if the other layers use half precision.

    Args:
        x: The vectors to classify, `[N,C]`.
        classes: The number of classes.
        binary: True for one sigmoid output for two classes, False for a softmax over the classes.
    """
    if binary and classes == 2:
        return layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)


@contextmanager
def download_errors() -> Iterator[None]:
    """Convert the exceptions of a failed download of weights into a `ConfigError` with a one-line message.

    Raises:
        ConfigError: The weights cannot be downloaded.
    """
    try:
        yield
    except Exception as error:
        # `keras.utils.get_file` raises a bare Exception, or ValueError for a file with the wrong hash.
        if not str(error).startswith(("URL fetch failure", "Incomplete or corrupted")):
            raise
        msg = f"cannot download ImageNet weights ({first_line(error)}): use weights=FILE"
        raise ConfigError(msg) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message. Keras error messages often span many lines."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def load_by_name(network: keras.Model, file: str) -> list[str]:
    """Load a Keras 2 `.h5` weights file, complete or partial, into the layers of the same names.

    Returns:
        The names of the layers that received weights from the file, in the network's order.

    Raises:
        ConfigError: The file cannot be read, has none of the network's layers, or has a layer of a different shape.
    """
    import h5py

    if not Path(file).is_file():
        msg = f"no such weights file: {file}"
        raise ConfigError(msg)
    loaded = []
    try:
        with h5py.File(file) as content:
            groups = content.get("model_weights", content)
            names = {_text(name) for name in groups.attrs.get("layer_names", [])}
            for layer in network.layers:
                if layer.weights and layer.name in names:
                    group = groups[layer.name]
                    layer.set_weights([np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]])
                    loaded.append(layer.name)
    except (OSError, KeyError, ValueError) as error:
        msg = f"cannot use weights={Path(file).name}: {first_line(error)}"
        raise ConfigError(msg) from error
    if not loaded:
        msg = f"weights={Path(file).name}: the file contains no layer of {network.name}; use another file"
        raise ConfigError(msg)
    return loaded


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
