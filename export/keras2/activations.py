"""Translate the activations of Keras 1 and Keras 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import activations, ops

from orilla.export.keras2.origin import UntranslatableError

PACKAGE = "orilla_keras2"
"""Package name under which the functions and layers of this folder are registered with Keras."""


@keras.saving.register_keras_serializable(PACKAGE)  # type: ignore[untyped-decorator]
def hard_sigmoid_keras2(x: Any) -> Any:
    """Return clip(0.2 x + 0.5, 0, 1), which is `hard_sigmoid` in Keras 1 and 2. Keras 3 computes relu6(x + 3) / 6.

    Source: `tf.keras.backend.hard_sigmoid` and `keras.backend.hard_sigmoid` of Keras 1.0 to 2.15.
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


HARD_SIGMOID: Callable[[Any], Any] = hard_sigmoid_keras2

SAME: dict[str, Callable[[Any], Any]] = {
    "linear": activations.linear,
    "relu": activations.relu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "softmax": activations.softmax,
    "softplus": activations.softplus,
    "softsign": activations.softsign,
    "elu": activations.elu,
    "selu": activations.selu,
    "exponential": activations.exponential,
    "swish": activations.silu,
    "silu": activations.silu,
    "gelu": activations.gelu,
    "mish": activations.mish,
    "relu6": activations.relu6,
    "leaky_relu": activations.leaky_relu,
    "log_softmax": activations.log_softmax,
    "log_sigmoid": activations.log_sigmoid,
    "softmax_v2": activations.softmax,
}
"""Equivalent Keras 3 function for each activation name in a file. Names that Keras 2 itself does not define (`relu6`,
`leaky_relu`, …) are functions of `tf.nn`, which Keras 2 stores without the module name."""

LAYERS: dict[str, Callable[[dict[str, Any]], Callable[[Any], Any]]] = {
    "LeakyReLU": lambda config: _with(activations.leaky_relu, negative_slope=number(config.get("alpha", 0.3))),
    "ELU": lambda config: _with(activations.elu, alpha=number(config.get("alpha", 1.0))),
    "ReLU": lambda config: _with(activations.relu, **relu_arguments(config)),
    "Softmax": lambda config: _with(activations.softmax, axis=axis_of(config.get("axis", -1))),
}
"""For each layer class that Keras 2 accepts as an activation: a function that translates its configuration."""


def activation_of(value: Any) -> Callable[[Any], Any]:
    """Return the function that computes an activation named in a file.

    Args:
        value: Name, or a dictionary with a class name and a configuration.

    Raises:
        UntranslatableError: The activation is a lambda or a function written by the model's author.
    """
    if value is None:
        return SAME["linear"]
    if isinstance(value, dict):
        return _from_dictionary(value)
    name = str(value).rpartition(">")[2]
    if name == "hard_sigmoid":
        return HARD_SIGMOID
    function = SAME.get(name)
    if function is None:
        raise UntranslatableError(_unknown(name))
    return function


def _from_dictionary(value: dict[str, Any]) -> Callable[[Any], Any]:
    class_name, config = value.get("class_name"), value.get("config")
    if class_name == "function" or isinstance(config, str):
        return activation_of(config)
    inner = config if isinstance(config, dict) else {}
    if class_name == "Activation":
        return activation_of(inner.get("activation"))
    if class_name in LAYERS:
        return LAYERS[class_name](inner)
    raise UntranslatableError(_unknown(str(class_name)))


def _unknown(name: str) -> str:
    if name in ("<lambda>", "__lambda__"):
        return "its activation is a lambda, whose Python code is not run"
    return f"its activation {name} is a custom function, whose Python code is not in the file"


@keras.saving.register_keras_serializable(PACKAGE)
class FunctionWithArguments:
    """An activation with fixed arguments, such as a leaky ReLU with a slope."""

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self.function, self.arguments = function, arguments
        # The name differs from that of the function, so that no converter confuses the two.
        self.__name__ = f"{function.__name__}_with_arguments"

    def __call__(self, x: Any) -> Any:
        """Apply the activation."""
        return self.function(x, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which Keras can make an equal object."""
        return {"function": self.function.__name__, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FunctionWithArguments:
        """Return the object for a configuration."""
        return cls(getattr(activations, config["function"]), config["arguments"])


def _with(function: Callable[..., Any], **arguments: Any) -> Callable[[Any], Any]:
    return FunctionWithArguments(function, arguments)


def relu_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a ReLU layer in the file."""
    largest = config.get("max_value")
    return {
        "negative_slope": number(config.get("negative_slope") or 0.0),
        "max_value": None if largest is None else number(largest),
        "threshold": number(config.get("threshold") or 0.0),
    }


def number(value: Any) -> float:
    """Return a number from the configuration. Keras 2.0 to 2.2 wrote some as `{"type": "ndarray", "value": 0.3}`."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, int | float):
        msg = f"its configuration contains {value!r:.40} instead of a number"
        raise UntranslatableError(msg)
    return float(value)


def axis_of(value: Any) -> int:
    """Return an axis as an integer. Keras 2 writes the axis of some layers as a list with one element."""
    if isinstance(value, list | tuple) and len(value) == 1:
        (value,) = value
    if not isinstance(value, int):
        msg = f"it works along the axes {value}, but only one axis is supported"
        raise UntranslatableError(msg)
    return value
