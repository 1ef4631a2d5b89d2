"""Architectures, one file each; nothing heavy is loaded before one is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from orilla.devices.errors import unknown_name

if TYPE_CHECKING:
    from orilla.train.plan import Plan

MODELS = {
    "convnet": ("convnet", "four convolutions and a dense layer, for pictures of a few classes"),
    "vgg-features": ("vgg", "a dense layer on features of a pre-trained VGG"),
    "vgg": ("vgg", "VGG19, fine-tuned above its third block"),
    "mobilenet": ("mobilenet", "MobileNetV2, features first, then fine-tuned"),
    "lstm": ("lstm", "embedding and LSTM, for texts"),
    "bilstm": ("lstm", "embedding, convolution and bidirectional LSTM, pooled over time, for texts"),
    "road": ("road", "a U-Net that finds the road, below 1 M parameters"),
    "mlp-sigmoid": ("mlp", "784-10-10 with sigmoid"),
    "mlp-relu": ("mlp", "784-100-10 with ReLU"),
    "mlp-selu": ("mlp", "784-200-100-10 with batch norm and SELU"),
    "lenet": ("lenet", "two 5x5 convolutions, for digits"),
    "cnn-bn": ("cnn_bn", "a 3x3 convolution, then batch norm and SELU"),
}
"""Name to the module whose `PLANS` holds it, and what it is."""


def plan(name: str) -> Plan:
    """The plan of a classifier; `road` has its own command path."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    found: Plan = import_module(f"orilla.train.models.{MODELS[name][0]}").PLANS[name]
    return found
