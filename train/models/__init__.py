"""Table of the models. Each architecture is one file, which is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from orilla.devices.errors import unknown_name

if TYPE_CHECKING:
    from orilla.train.jobs.plan import Plan


@dataclass(frozen=True, slots=True)
class Model:
    """Properties of a model that are known without Keras."""

    module: str
    """Module of this package whose `PLANS` contain the model."""
    about: str
    takes: tuple[str, ...] = ()
    """Options that affect only some models."""


PRETRAINED = ("weights", "head", "dropout", "views")

MODELS = {
    "convnet": Model(
        "convnet", "four convolutions and a dense layer, for images of a few classes", ("head", "dropout")
    ),
    "vgg-features": Model("vgg", "a dense layer on features of a pre-trained VGG19", PRETRAINED),
    "vgg": Model("vgg", "VGG19, fine-tuned above its third block", PRETRAINED),
    "vgg16-features": Model("vgg", "the same on VGG16", PRETRAINED),
    "vgg16": Model("vgg", "VGG16, fine-tuned above its third block", PRETRAINED),
    "mobilenet": Model("mobilenet", "MobileNetV2, features first, then fine-tuned", ("weights", "dropout", "views")),
    "lstm": Model("lstm", "embedding and LSTM, for texts", ("dropout",)),
    "bilstm": Model("lstm", "bidirectional LSTM plus weights of words and word pairs, for texts", ("dropout",)),
    "road": Model("road", "a U-Net for road segmentation, below 1 M parameters", ("weights", "width")),
    "mlp-sigmoid": Model("mlp", "784-10-10 with sigmoid"),
    "mlp-relu": Model("mlp", "784-100-10 with ReLU"),
    "mlp-selu": Model("mlp", "784-200-100-10 with batch norm and SELU", ("dropout",)),
    "lenet": Model("lenet", "two 5x5 convolutions, for digits", ("dropout",)),
    "cnn-bn": Model("cnn_bn", "a 3x3 convolution, then batch norm and SELU", ("dropout",)),
}


def plan(name: str) -> Plan:
    """Return the plan of a classifier. `road` has a job of its own."""
    if name not in MODELS:
        raise unknown_name(name, MODELS, kind="model")
    found: Plan = import_module(f"orilla.train.models.{MODELS[name].module}").PLANS[name]
    return found
