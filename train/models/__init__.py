"""The architectures, one file each, and the table of models. A module is imported when its model is used.

To add a model, write a module with `PLANS` in this folder and add its row to `BUILT_IN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.devices.plugins import ModuleRegistry, Modules

if TYPE_CHECKING:
    from orilla.train.jobs.plan import Plan


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row in the table of models."""

    module: str
    """Name of a module of this package, or the full name for a plug-in. Its dictionary `PLANS` maps the name to the
    plan."""
    description: str
    options: tuple[str, ...] = ()
    """Fields of `TrainOptions` that this model accepts, but that not all models accept."""


PRETRAINED = ("weights", "head", "dropout", "views")

BUILT_IN = {
    "convnet": ModelRow("convnet", "four convolutions and a dense layer, for images", ("head", "dropout")),
    "vgg-features": ModelRow("vgg", "dense layer on the features of a pre-trained VGG19", PRETRAINED),
    "vgg": ModelRow("vgg", "VGG19, fine-tuned above its third block", PRETRAINED),
    "vgg16-features": ModelRow("vgg", "dense layer on the features of a pre-trained VGG16", PRETRAINED),
    "vgg16": ModelRow("vgg", "VGG16, fine-tuned above its third block", PRETRAINED),
    "mobilenet": ModelRow("mobilenet", "pre-trained MobileNetV2, fine-tuned", ("weights", "dropout", "views")),
    "lstm": ModelRow("lstm", "embedding and LSTM, for texts", ("dropout",)),
    "bilstm": ModelRow(
        "lstm", "bidirectional LSTM combined with a linear model of words and word pairs, for texts", ("dropout",)
    ),
    "regress": ModelRow(
        "regress",
        "five convolutions and a dense layer that find numbers in images, such as a steering angle",
        ("dropout",),
    ),
    "segment": ModelRow(
        "segment", "U-Net with fewer than 1 M parameters that segments all classes of the data", ("weights", "width")
    ),
    "road": ModelRow("segment", "the same U-Net for one class, the road", ("weights", "width")),
    "detect": ModelRow("detect", "SSD detector with fewer than 1.5 M parameters, for boxes", ("weights", "width")),
    "mlp-sigmoid": ModelRow("mlp", "fully connected 784-10-10 network with sigmoid activations, for digits"),
    "mlp-relu": ModelRow("mlp", "fully connected 784-100-10 network with ReLU activations, for digits"),
    "mlp-selu": ModelRow(
        "mlp", "fully connected 784-200-100-10 network with batch norm and SELU, for digits", ("dropout",)
    ),
    "lenet": ModelRow("lenet", "two 5x5 convolutions and a dense layer, for digits", ("dropout",)),
    "cnn-bn": ModelRow(
        "cnn_bn", "3x3 convolution and two dense layers with batch norm and SELU, for digits", ("dropout",)
    ),
}
"""Models that are part of Orilla."""

MODELS = ModuleRegistry("model", "orilla.models", BUILT_IN, Modules(("PLANS",), "orilla.train.models", heavy=True))
"""The models by name. Packages add models in the group `orilla.models`."""


def load_plan(name: str) -> Plan:
    """Return the plan of a model. This imports Keras.

    Raises:
        ConfigError: The table has no such model, or its plug-in is broken.
    """
    plans: dict[str, Plan] = MODELS.module(name).PLANS
    if name not in plans:
        msg = f"the model `{name}` of {MODELS.package(name)} is not used: {MODELS[name].module}.PLANS has no such name"
        raise ConfigError(msg)
    return plans[name]


def models_for(task: str) -> list[str]:
    """Return the names of the built-in models that are trained for a task."""
    by_task: dict[str, list[str]] = {}
    for name in MODELS.built_in:
        by_task.setdefault(load_plan(name).task, []).append(name)
    return by_task.get(task, [])
