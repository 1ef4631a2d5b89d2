"""Keras to a float LiteRT file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


def convert(model: str, out: str) -> None:
    """Writes `out` (`.tflite`, float32, one signature) from the Keras file `model`; recurrent layers become loops."""
    from orilla.export.frozen import load

    _write(load(model), out)


def convert_fused(model: str, out: str) -> None:
    """The same with each LSTM as one operator, which keeps its state until the interpreter's variables are reset."""
    from orilla.export.frozen import load
    from orilla.export.lower_recurrent import fused

    _write(fused(load(model)), out)


def _write(network: Any, out: str) -> None:
    import tensorflow as tf

    from orilla.export.frozen import freeze

    module = freeze(network)
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.call})
        data = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    Path(out).write_bytes(data)
