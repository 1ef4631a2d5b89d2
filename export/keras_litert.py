"""Keras to a float LiteRT file."""

from __future__ import annotations

import tempfile
from pathlib import Path


def convert(model: str, out: str) -> None:
    """Writes `out` (`.tflite`, float32, one signature) from the Keras file `model`."""
    import tensorflow as tf

    from orilla.export.frozen import freeze, load

    module = freeze(load(model))
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.call})
        data = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    Path(out).write_bytes(data)
