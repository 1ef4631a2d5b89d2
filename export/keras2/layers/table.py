"""The table of all layers that can be read, and the reasons why some others cannot."""

from __future__ import annotations

from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers import convolution, local, merge, normalization, recurrent, simple, tensorflow_ops
from orilla.export.keras2.layers.translator import Translation, Translator
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Part

ROWS: dict[str, Translation] = {
    **simple.ROWS,
    **convolution.ROWS,
    **recurrent.ROWS,
    **merge.ROWS,
    **normalization.ROWS,
    **local.ROWS,
    **tensorflow_ops.ROWS,
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""

REASONS = {
    "Lambda": "its Python code is not run",
    "StringLookup": "it takes strings, but only numbers are supported",
    "TextVectorization": "it takes strings, but only numbers are supported",
    "Hashing": "it computes hashes, which no exported format supports",
    "HashedCrossing": "it computes hashes, which no exported format supports",
    "IntegerLookup": "it looks numbers up in a table of its own, which no exported format supports",
    "DenseFeatures": "it takes feature columns, but only arrays are supported",
}
"""For some classes of Keras 2, the reason why they cannot be read."""


def translate(config: LayerConfig, translator: Translator) -> Part:
    """Translate one layer.

    Raises:
        UntranslatableError: Keras 3 has no equivalent, or the class is not part of Keras.
    """
    class_name = config.class_name.rpartition(">")[2]
    if class_name in ROWS and not (config.registered and ">" in config.class_name):
        return ROWS[class_name](config, translator)
    reason = REASONS.get(class_name)
    if reason is None:
        reason = "it is a class that Keras does not know, and its Python code is not in the file"
    raise UntranslatableError(reason)
