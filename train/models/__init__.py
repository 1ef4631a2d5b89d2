"""Architectures, one file each; nothing heavy is loaded before one is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from orilla.devices.errors import unknown_name

if TYPE_CHECKING:
    from orilla.train.jobs.plan import Plan


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model before Keras is loaded."""

    module: str
    """Of this package; its `PLANS` hold the model."""
    about: str
    takes: tuple[str, ...] = ()
    """Those options that have an effect on some models only."""


PRETRAINED = ("weights", "head", "dropout", "views")

MODELS = {
    "convnet": Model(
        "convnet", "four convolutions and a dense layer, for pictures of a few classes", ("head", "dropout")
    ),
    "vgg-features": Model("vgg", "a dense layer on features of a pre-trained VGG19", PRETRAINED),
    "vgg": Model("vgg", "VGG19, fine-tuned above its third block", PRETRAINED),
    "vgg16-features": Model("vgg", "the same on VGG16", PRETRAINED),
    "vgg16": Model("vgg", "VGG16, fine-tuned above its third block", PRETRAINED),
    "mobilenet": Model("mobilenet", "MobileNetV2, features first, then fine-tuned", ("weights", "dropout", "views")),
    "lstm": Model("lstm", "embedding and LSTM, for texts", ("dropout",)),
    "bilstm": Model("lstm", "bidirectional LSTM beside weights of words and pairs, for texts", ("dropout",)),
    "road": Model("road", "a U-Net that finds the road, below 1 M parameters", ("weights", "width")),
    "mlp-sigmoid": Model("mlp", "784-10-10 with sigmoid"),
    "mlp-relu": Model("mlp", "784-100-10 with ReLU"),
    "mlp-selu": Model("mlp", "784-200-100-10 with batch norm and SELU", ("dropout",)),
    "lenet": Model("lenet", "two 5x5 convolutions, for digits", ("dropout",)),
    "cnn-bn": Model("cnn_bn", "a 3x3 convolution, then batch norm and SELU", ("dropout",)),
}


def plan(name: str) -> Plan:
    """The plan of a classifier; `road` has its own command path."""
    if name not in MODELS:
        msg = "model"
        raise unknown_name(msg, name, MODELS)
    found: Plan = import_module(f"orilla.train.models.{MODELS[name].module}").PLANS[name]
    return found
