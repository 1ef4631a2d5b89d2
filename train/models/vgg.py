"""Pre-trained VGG16 and VGG19: a dense layer on frozen features, or fine-tuning above the third block.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.data.augment import RandomAffine
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import download_errors, fixed_pointwise, image_input, load_by_name, output_layer

FROZEN_UNTIL = "block3_pool"
"""Name of the last frozen layer, the pooling layer of the third block."""

MEAN_BGR = np.array([103.939, 116.779, 123.68])
"""Mean blue, green and red values of the ImageNet images. Source: the authors' Caffe models, as in
`keras.applications.vgg19`."""

RGB_TO_BGR = np.eye(3)[::-1]

Application = Callable[..., keras.Model]
"""`keras.applications.VGG16` or `VGG19`."""


@dataclass(frozen=True, slots=True)
class _Base:
    """The convolutional layers, and the origin of their weights."""

    image: Any
    model: keras.Model
    start_weights: str
    last_loaded: str | None
    """Name of the last layer with pre-trained weights. None if there is no such layer."""


def fine_tuned(application: Application, options: NetworkOptions) -> Network:
    """Build the convolutional layers, pooling or flattening, a dense layer of 100 units, and a softmax output."""
    base = _base(options, application)
    x = _vector(base.model.output, options)
    x = layers.Dense(100, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    if options.dropout:
        x = layers.Dropout(options.dropout, name="dropout")(x)
    return Network(keras.Model(base.image, output_layer(x, options.classes), name="vgg"), base.start_weights)


def features(application: Application, options: NetworkOptions) -> Network:
    """Build frozen convolutional layers, a dense layer of 256 units with dropout, and a softmax output.

    With a partial weights file, the features are the outputs of the last block whose weights the file contains.

    Raises:
        ConfigError: No weights are given, or they cannot be used.
    """
    base = _base(options, application)
    if base.last_loaded is None:
        msg = "vgg-features needs pre-trained weights: use weights=imagenet or weights=FILE"
        raise ConfigError(msg)
    end = f"{base.last_loaded.partition('_')[0]}_pool"
    x = _vector(base.model.get_layer(end).output, options)
    x = layers.Dense(256, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    x = layers.Dropout(0.5 if options.dropout is None else options.dropout, name="dropout")(x)
    model = keras.Model(base.image, output_layer(x, options.classes), name="vgg_features")
    return Network(model, f"{base.start_weights}; features at {end}")


def _vector(x: Any, options: NetworkOptions) -> Any:
    pool = layers.GlobalAveragePooling2D if options.head == "gap" else layers.Flatten
    return pool(name="vector")(x)


def _base(options: NetworkOptions, application: Application) -> _Base:
    image = image_input(options)
    x = fixed_pointwise(image, RGB_TO_BGR, -MEAN_BGR)
    imagenet = options.weights == "imagenet"
    with download_errors():
        model = application(input_tensor=x, include_top=False, weights="imagenet" if imagenet else None)
    if imagenet:
        return _Base(image, model, "imagenet", "block5_pool")
    if options.weights is None:
        return _Base(image, model, "random", None)
    loaded = load_by_name(model, options.weights)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D) and layer.name != "normalise"]
    new = [layer for layer in convolutions if layer.name not in loaded]
    for (
        layer
    ) in new:  # Eight layers without batch norm can only be trained if their initial weights preserve the variance.
        layer.kernel.assign(keras.initializers.HeNormal()(layer.kernel.shape))
    if loaded and new:
        _normalise_scale(image, model.get_layer(loaded[-1]))
    coverage = f"{loaded[0]} to {loaded[-1]}, {len(loaded)} of {len(convolutions)} layers"
    return _Base(image, model, f"{Path(options.weights).name} ({coverage})", loaded[-1])


def _normalise_scale(image: Any, layer: Any) -> None:
    """Scale the weights of the last pre-trained layer so that the root mean square of its output is one.

    With the original weights the output exceeds a thousand, and the new layers after it would not converge. ReLU and
    pooling do not change the scale.
    """
    part = keras.Model(image, layer.output)
    noise = np.random.default_rng(0).uniform(0, 255, (2, *part.input.shape[1:])).astype(np.float32)
    rms = float(np.sqrt(np.mean(np.square(part.predict_on_batch(noise)))))
    layer.set_weights([array / rms for array in layer.get_weights()])


def _plans(suffix: str, application: Application) -> dict[str, Plan]:
    return {
        f"vgg{suffix}-features": Plan(
            "classify",
            partial(features, application),
            (150, 150),
            (Phase(40, 1e-3, "vector", views=4),),
            augment=RandomAffine,
            minimum=(32, 32),
        ),
        f"vgg{suffix}": Plan(
            "classify",
            partial(fine_tuned, application),
            (150, 150),
            (Phase(15, 1e-4, FROZEN_UNTIL, views=2),),
            augment=RandomAffine,
            minimum=(32, 32),
        ),
    }


PLANS = _plans("", keras.applications.VGG19) | _plans("16", keras.applications.VGG16)
