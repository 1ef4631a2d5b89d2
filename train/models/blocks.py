"""Layers that several architectures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.jobs.plan import Build


def image_input(build: Build) -> Any:
    """Return an input for RGB `[N,H,W,3]`, values 0–255."""
    return keras.Input((*build.input, 3), name="image")


def grey(x: Any) -> Any:
    """Return the mean of three channels, 0–1, `[N,H,W,1]`, by a fixed 1x1 convolution that every engine supports."""
    return fixed_pointwise(x, np.full((3, 1), 1 / (3 * 255)), np.zeros(1))


def fixed_pointwise(x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    """Multiply channels by a constant matrix and add a constant: normalisation inside the graph."""
    return layers.Conv2D(
        kernel.shape[1],
        1,
        kernel_initializer=keras.initializers.Constant(kernel.astype(np.float32).tolist()),
        bias_initializer=keras.initializers.Constant(bias.astype(np.float32).tolist()),
        trainable=False,
        name="normalise",
    )(x)


def answer(x: Any, classes: int, *, binary: bool = False) -> Any:
    """Return the last layer: softmax over classes, or one sigmoid for two classes with `binary`.

    It computes in float32 even if the rest is trained in half precision.
    """
    if binary and classes == 2:
        return layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)


@contextmanager
def downloads() -> Iterator[None]:
    """Wrap a download of weights by Keras, so that a failure gives one line.

    Raises:
        ConfigError: The weights cannot be downloaded.
    """
    try:
        yield
    except Exception as error:
        # `keras.utils.get_file` raises a bare Exception, or ValueError for a file with a wrong hash.
        if not str(error).startswith(("URL fetch failure", "Incomplete or corrupted")):
            raise
        reason = str(error).strip().splitlines()[0]
        msg = f"cannot download ImageNet weights: give --weights FILE ({reason})"
        raise ConfigError(msg) from error


def load_by_name(network: keras.Model, file: str) -> list[str]:
    """Load a Keras 2 `.h5` weights file, complete or partial, into the layers of the same names.

    Returns:
        The layers with weights that it covered, in order.

    Raises:
        ConfigError: The file cannot be read, covers no layer, or a layer has another shape.
    """
    import h5py

    if not Path(file).is_file():
        msg = f"no such weights file: {file}"
        raise ConfigError(msg)
    covered = []
    try:
        with h5py.File(file) as content:
            top = content.get("model_weights", content)
            known = {_text(name) for name in top.attrs.get("layer_names", [])}
            for layer in network.layers:
                if layer.weights and layer.name in known:
                    group = top[layer.name]
                    layer.set_weights([np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]])
                    covered.append(layer.name)
    except (OSError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        msg = f"cannot use --weights {Path(file).name}: {reason}"
        raise ConfigError(msg) from error
    if not covered:
        msg = f"--weights {Path(file).name} contains none of the layers of {network.name}"
        raise ConfigError(msg)
    return covered


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
