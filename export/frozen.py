"""A Keras model as one TensorFlow function without variables, which is what the converters read."""

from __future__ import annotations

from typing import Any

import keras


def load(path: str) -> keras.Model:
    """Loads `model.keras`; raises `ValueError` with Keras' reason."""
    return keras.models.load_model(path, compile=False)


def freeze(model: keras.Model) -> Any:
    """A `tf.Module` whose function `call` takes the model's inputs for one sample, with the weights as constants, and
    returns its outputs by name.

    Constants from the start, because a loop over live variables fails in `READ_VARIABLE` when it is converted.
    """
    import tensorflow as tf

    signature = []
    for given, name in zip(model.inputs, input_names(model), strict=True):
        shape = (1, *given.shape[1:])
        if None in shape:
            raise ValueError(
                f"the model's input {name} is {list(shape)}: fix every axis, e.g. keras.Input((224, 224, 3))"
            )
        signature.append(tf.TensorSpec(shape, given.dtype, name=name))
    named = output_names(model)
    nested = len(model.inputs) > 1
    values = [(one, keras.ops.convert_to_numpy(one)) for one in model.variables]

    def call(*given: Any) -> dict[str, Any]:
        weights = [(one, tf.constant(value)) for one, value in values]
        with keras.StatelessScope(state_mapping=weights):
            made = model(list(given) if nested else given[0], training=False)
        return dict(zip(named, keras.tree.flatten(made), strict=True))

    module = tf.Module()
    module.call = tf.function(call, input_signature=signature, autograph=False)
    return module


def input_names(model: keras.Model) -> list[str]:
    """`image` or `tokens` of a model with one input, Keras' names of several."""
    if len(model.inputs) == 1:
        return ["tokens" if model.inputs[0].dtype == "int32" else "image"]
    return [tensor.name for tensor in model.inputs]


def output_names(model: keras.Model) -> list[str]:
    """`output` of a model with one, Keras' names of several."""
    return ["output"] if len(model.outputs) == 1 else list(model.output_names)
