"""A Keras model as one TensorFlow function without variables, which is what the converters read."""

from __future__ import annotations

from typing import Any

import keras


def load(path: str) -> keras.Model:
    """Loads `model.keras`; raises `ValueError` with Keras' reason."""
    return keras.models.load_model(path, compile=False)


def freeze(model: keras.Model) -> Any:
    """A `tf.Module` whose function `call` takes `[1,H,W,C]` float32 or `[1,T]` int32, with the weights as constants.

    Frozen first, because a function with live variables fails in `READ_VARIABLE` when it is converted.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.input.shape[1:])
    if None in shape:
        raise ValueError(f"the model's input is {list(shape)}: fix every axis, e.g. keras.Input((224, 224, 3))")
    name, dtype = ("tokens", tf.int32) if model.input.dtype == "int32" else ("image", tf.float32)
    signature = [tf.TensorSpec(shape, dtype, name=name)]
    traced = tf.function(lambda given: model(given, training=False), input_signature=signature)
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    module = tf.Module()
    module.call = tf.function(lambda given: {"output": constant(given)[0]}, input_signature=signature)
    return module
