"""Functions that translate layers with several inputs: merging and attention."""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers import merged_masks
from orilla.export.keras2.layers.translator import Translation, Translator, kept
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Part, as_sequence, plain


def merging(kind: Any) -> Translation:
    """Return the function that translates a layer that combines its inputs element by element."""

    def translate(config: LayerConfig, _: Translator) -> Part:
        return plain(config, kind(**kept(config)), elementwise=True)

    return translate


def concatenate(config: LayerConfig, translator: Translator) -> Part:
    """Translate `Concatenate`."""
    axis = config.config.get("axis", -1)
    if axis == 1 and translator.channels_first:
        return plain(config, merged_masks.Concatenate(**kept(config), axis=-1), channels=SPATIAL_OF_ANY)
    return plain(config, merged_masks.Concatenate(**kept(config), axis=axis))


SPATIAL_OF_ANY = -1


def dot(config: LayerConfig, _: Translator) -> Part:
    """Translate `Dot`."""
    axes = config.config.get("axes")
    axes = tuple(axes) if isinstance(axes, list) else axes
    return plain(config, layers.Dot(axes=axes, **kept(config, "normalize")))


def cosine(config: LayerConfig, _: Translator) -> Part:
    """Translate the merge mode `cos` of Keras 1 for vectors. The output has shape `[B,1,1]`."""
    layer = layers.Dot(axes=-1, normalize=True, **kept(config))

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if any(len(tensor.shape) != 2 for tensor in inputs):
            msg = "it merges sequences by their cosine, which is supported only for vectors"
            raise UntranslatableError(msg)
        return ops.expand_dims(layer(inputs, **arguments), 1)

    return Part(config, run, layer)


LOSES_CAUSAL = (2, 10, 0)
"""First Keras version that does not save the argument `causal` of attention layers."""


def attention(kind: Any, *keys: str) -> Translation:
    """Return the function that translates an attention layer. `causal` was its argument until Keras 2.10."""

    def translate(config: LayerConfig, translator: Translator) -> Part:
        layer = kind(**kept(config, *keys))
        causal = bool(config.config.get("causal"))
        if "causal" not in config.config and translator.origin.version >= LOSES_CAUSAL:
            translator.note("is read without causal=True, which this version of Keras did not save to files", config)

        def run(inputs: Any, arguments: dict[str, Any]) -> Any:
            if causal:
                arguments["use_causal_mask"] = True
            return layer(list(as_sequence(inputs)), **arguments)

        return Part(config, run, layer)

    return translate


USES_MASKS = (2, 10, 0)
"""First Keras version whose `MultiHeadAttention` uses the masks of its inputs."""


def _unmasked(tensor: Any) -> Any:
    """Return a tensor without its mask."""
    return tensor if getattr(tensor, "_keras_mask", None) is None else merged_masks.Unmasked()(tensor)


def multi_head_attention(config: LayerConfig, translator: Translator) -> Part:
    """Translate `MultiHeadAttention`. Before Keras 2.10, it ignored the masks of its inputs."""
    keys = ("num_heads", "key_dim", "value_dim", "use_bias", "output_shape", "attention_axes")
    layer = layers.MultiHeadAttention(**kept(config, *keys))

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        query, *others = as_sequence(inputs)
        if others:
            msg = "it is called with a list of inputs"
            raise UntranslatableError(msg)
        if translator.origin.version < USES_MASKS:
            unmasked = {key: _unmasked(arguments[key]) for key in ("value", "key") if key in arguments}
            return layer(_unmasked(query), **arguments | unmasked)
        return layer(query, **arguments)

    stores = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")
    return Part(config, run, layer, stores=stores)


ROWS: dict[str, Translation] = {
    "Add": merging(merged_masks.Add),
    "Subtract": merging(merged_masks.Subtract),
    "Multiply": merging(merged_masks.Multiply),
    "Average": merging(merged_masks.Average),
    "Maximum": merging(merged_masks.Maximum),
    "Minimum": merging(merged_masks.Minimum),
    "Concatenate": concatenate,
    "Dot": dot,
    "Cosine": cosine,
    "Attention": attention(layers.Attention, "use_scale", "score_mode"),
    "AdditiveAttention": attention(layers.AdditiveAttention, "use_scale"),
    "MultiHeadAttention": multi_head_attention,
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""
