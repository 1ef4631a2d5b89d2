"""VGG16 and VGG19, pre-trained: a dense layer on frozen features, or fine-tuning above the third block.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.data.augment import RandomAffine
from orilla.train.jobs.plan import Build, Network, Plan, Stage
from orilla.train.models.blocks import answer, downloads, fixed_pointwise, image_input, load_by_name

FROZEN = "block3_pool"
"""Last frozen layer: the first twelve layers of VGG19 end here, and the first ten of VGG16."""

MEAN_BGR = np.array([103.939, 116.779, 123.68])
"""Mean of ImageNet's images. Source: the Caffe models of the authors, `keras.applications.vgg19`."""

SWAP = np.eye(3)[::-1]

Application = Callable[..., keras.Model]
"""`keras.applications.VGG16` or `VGG19`."""


def fine_tuned(application: Application, options: Build) -> Network:
    """Build the base, one vector of its last grid, dense 100, softmax."""
    image, base, started = _base(options, application)
    x = _vector(base.output, options)
    x = layers.Dense(100, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    if options.dropout:
        x = layers.Dropout(options.dropout, name="dropout")(x)
    return Network(keras.Model(image, answer(x, options.classes), name="vgg"), started)


def features(application: Application, options: Build) -> Network:
    """Build frozen features, dense 256 with dropout, softmax.

    With a partial weights file, the features end at its last whole block.
    """
    image, base, started = _base(options, application)
    end = _covered_end(base, started)
    x = _vector(base.get_layer(end).output, options)
    x = layers.Dense(256, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    x = layers.Dropout(0.5 if options.dropout is None else options.dropout, name="dropout")(x)
    return Network(keras.Model(image, answer(x, options.classes), name="vgg_features"), f"{started}; features at {end}")


def _vector(x: Any, options: Build) -> Any:
    return (
        layers.GlobalAveragePooling2D(name="vector")(x) if options.head == "gap" else layers.Flatten(name="vector")(x)
    )


def _base(options: Build, application: Application) -> tuple[Any, keras.Model, str]:
    image = image_input(options)
    # RGB to BGR minus the mean, as the weights require.
    x = fixed_pointwise(image, SWAP, -MEAN_BGR)
    imagenet = options.weights == "imagenet"
    with downloads():
        base = application(input_tensor=x, include_top=False, weights="imagenet" if imagenet else None)
    if options.weights is None or imagenet:
        return image, base, "imagenet" if imagenet else "random"
    covered = load_by_name(base, options.weights)
    convolutions = [layer for layer in base.layers if isinstance(layer, layers.Conv2D) and layer.name != "normalise"]
    new = [layer for layer in convolutions if layer.name not in covered]
    for layer in new:  # eight layers without batch norm need an initial scale that keeps the variance
        layer.kernel.assign(keras.initializers.HeNormal()(layer.kernel.shape))
    if covered and new:
        _quieten(image, base.get_layer(covered[-1]))
    summary = f"{covered[0]} to {covered[-1]}, {len(covered)} of {len(convolutions)} layers"
    return image, base, f"{Path(options.weights).name} ({summary})"


def _quieten(image: Any, layer: Any) -> None:
    """Scale the last pre-trained layer, so that its outputs have a root mean square of one.

    The outputs of these weights for an image exceed a thousand, which would destabilise new layers. ReLU and pooling
    keep the scale.
    """
    part = keras.Model(image, layer.output)
    noise = np.random.default_rng(0).uniform(0, 255, (2, *part.input.shape[1:])).astype(np.float32)
    level = float(np.sqrt(np.mean(np.square(part.predict_on_batch(noise)))))
    layer.set_weights([one / level for one in layer.get_weights()])


def _covered_end(base: keras.Model, started: str) -> str:
    """Return the pooling layer of the last block that the weights cover."""
    if started == "random":
        msg = "vgg-features needs pre-trained weights: --weights imagenet, or a file"
        raise ConfigError(msg)
    if started == "imagenet":
        return "block5_pool"
    last = started.partition(" to ")[2].partition(",")[0]
    end = f"{last.partition('_')[0]}_pool"
    return end if end in {layer.name for layer in base.layers} else "block5_pool"


def _plans(suffix: str, application: Application) -> dict[str, Plan]:
    return {
        f"vgg{suffix}-features": Plan(
            "classify",
            partial(features, application),
            (150, 150),
            (Stage(40, 1e-3, "vector", views=4),),
            augment=RandomAffine,
            minimum=(32, 32),
        ),
        f"vgg{suffix}": Plan(
            "classify",
            partial(fine_tuned, application),
            (150, 150),
            (Stage(15, 1e-4, FROZEN, views=2),),
            augment=RandomAffine,
            minimum=(32, 32),
        ),
    }


PLANS = _plans("", keras.applications.VGG19) | _plans("16", keras.applications.VGG16)
