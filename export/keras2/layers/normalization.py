"""Functions that translate normalisation and preprocessing layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers

from orilla.export.keras2.activations import activation_of, axis_of, number
from orilla.export.keras2.config import LayerConfig, layer_of
from orilla.export.keras2.layers.gone import SampleNormalization
from orilla.export.keras2.layers.simple import inactive, shared
from orilla.export.keras2.layers.translator import Translation, Translator, kept, layer_name
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Arrays, Part, plain


def batch_normalization(config: LayerConfig, translator: Translator) -> Part:
    """Translate `BatchNormalization`. Files written by TensorFlow state its axis as a list."""
    settings = config.config
    if settings.get("mode") == 1:
        layer = SampleNormalization(number(settings.get("epsilon", 1e-3)), name=layer_name(config))
        return plain(config, layer, in_file=lambda: (2, 2), arrange=lambda arrays: arrays[:2])
    if settings.get("mode") == 2:
        msg = "its mode=2 normalises each batch by itself, so each output depends on the other samples"
        raise UntranslatableError(msg)
    if settings.get("virtual_batch_size") is not None:
        msg = "it has a virtual_batch_size"
        raise UntranslatableError(msg)
    axis = axis_of(settings.get("axis", -1))
    options = kept(config, "epsilon", "momentum", "center", "scale")
    renorm = bool(settings.get("renorm"))
    moved = axis == 1 and translator.channels_first
    layer = layers.BatchNormalization(**options, axis=-1 if moved else axis)

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if arguments.pop("training", None):
            msg = "it is called with training=True, so each output depends on the other samples of the batch"
            raise UntranslatableError(msg)
        return layer(inputs, **arguments)

    def in_file() -> tuple[int, int]:
        return len(layer.trainable_weights), len(layer.weights) - len(layer.trainable_weights) + 3

    return Part(
        config,
        run,
        layer,
        channels=-1 if moved else None,
        # The last three arrays are for batch renormalisation. They have no effect during inference.
        arrange=(lambda arrays: arrays[:-3]) if renorm else list,
        in_file=in_file if renorm else None,
    )


def layer_normalization(config: LayerConfig, _: Translator) -> Part:
    """Translate `LayerNormalization`."""
    return plain(config, layers.LayerNormalization(**kept(config, "axis", "epsilon", "center", "scale")))


def normalization(config: LayerConfig, _: Translator) -> Part:
    """Translate `Normalization`. Its mean and variance are in the configuration or in the weights."""
    settings = config.config
    options = kept(config, "axis", "invert")
    options["axis"] = settings.get("axis", -1)
    if isinstance(options["axis"], list):
        options["axis"] = tuple(options["axis"])
    given = {
        key: np.asarray(settings[key], np.float32) for key in ("mean", "variance") if settings.get(key) is not None
    }
    layer = layers.Normalization(**options, **given)
    if given:
        return plain(config, layer)

    def in_file() -> tuple[int, int]:
        return 0, 3

    def arrange(arrays: Arrays) -> Arrays:
        return arrays[:2] + [np.asarray(array, np.int32) for array in arrays[2:3]]

    return plain(config, layer, in_file=in_file, arrange=arrange, finish=layer.finalize_state)


def rescaling(config: LayerConfig, _: Translator) -> Part:
    """Translate `Rescaling`."""
    scale, offset = (config.config.get(key, default) for key, default in (("scale", 1.0), ("offset", 0.0)))
    layer = layers.Rescaling(_numbers(scale), _numbers(offset), name=layer_name(config))
    return plain(config, layer)


def _numbers(value: Any) -> Any:
    return [number(one) for one in value] if isinstance(value, list) and len(value) > 1 else number(value)


def resizing(config: LayerConfig, _: Translator) -> Part:
    """Translate `Resizing`."""
    options = kept(config, "height", "width", "interpolation", "crop_to_aspect_ratio")
    return plain(config, layers.Resizing(**options, data_format="channels_last"))


def center_crop(config: LayerConfig, _: Translator) -> Part:
    """Translate `CenterCrop`, and `RandomCrop`, which crops the centre during inference."""
    return plain(config, layers.CenterCrop(**kept(config, "height", "width"), data_format="channels_last"))


def einsum_dense(config: LayerConfig, _: Translator) -> Part:
    """Translate `EinsumDense`."""
    options = kept(config, "equation", "output_shape", "bias_axes")
    if isinstance(options.get("output_shape"), list):
        options["output_shape"] = tuple(options["output_shape"])
    return plain(config, layers.EinsumDense(**options, activation=activation_of(config.config.get("activation"))))


def spectral_normalization(config: LayerConfig, translator: Translator) -> Part:
    """Translate `SpectralNormalization`, which changes the weights of its layer only during training."""
    inner = translator.part(layer_of(config.config.get("layer")))

    def in_file() -> tuple[int, int]:
        trainable, others = inner.counts()
        return trainable, others + 1

    def arrange(arrays: Arrays) -> Arrays:
        return inner.arrange(arrays[: sum(inner.counts())])

    stores = tuple(f"layer/{store}" for store in inner.stores)
    return replace(inner, config=config, in_file=in_file, arrange=arrange, stores=stores)


def unit_normalization(config: LayerConfig, _: Translator) -> Part:
    """Translate `UnitNormalization`."""
    return plain(config, layers.UnitNormalization(**kept(config, "axis")))


RANDOM = ("Flip", "Translation", "Rotation", "Zoom", "Contrast", "Brightness", "Height", "Width")

ROWS: dict[str, Translation] = {
    "BatchNormalization": batch_normalization,
    "BatchNormalizationV1": batch_normalization,
    "BatchNormalizationV2": batch_normalization,
    "SyncBatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "GroupNormalization": shared(layers.GroupNormalization, "groups", "axis", "epsilon", "center", "scale"),
    "UnitNormalization": unit_normalization,
    "SpectralNormalization": spectral_normalization,
    "Normalization": normalization,
    "Discretization": shared(layers.Discretization, "bin_boundaries", "output_mode"),
    "Rescaling": rescaling,
    "Resizing": resizing,
    "CenterCrop": center_crop,
    "RandomCrop": center_crop,
    "EinsumDense": einsum_dense,
    "CategoryEncoding": shared(layers.CategoryEncoding, "num_tokens", "output_mode"),
    **{f"Random{name}": inactive for name in RANDOM},
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""
