"""Models that were not trained with Orilla, and functions that export them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.manifest import Manifest

RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (40, 24, 32, 3), np.uint8)


def picture_model(
    *front: keras.Layer, classes: int = 3, activation: str | None = "softmax", channels: int = 3
) -> keras.Model:
    """Return a classifier for `PICTURES`, with the layers `front` before its convolution."""
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((24, 32, channels)),
            *front,
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=3)),
        ]
    )


def make(model: Path, out: Path, hints: ModelHints, recipes: str = "litert_fp32,onnx_fp32", **options: Any) -> Manifest:
    """Export `model` with the given hints."""
    return export(model, out, ExportOptions(recipes=recipes, hints=hints, **options))


def float_error(manifest: Manifest) -> float:
    """Return the largest difference between the outputs of a float32 variant and the original model."""
    return max(
        variant.check.max_error
        for variant in manifest.variants
        if variant.name in ("litert_fp32", "litert_fp32_fused", "onnx_fp32")
    )


def refused(
    tmp_path: Path,
    model: keras.Model,
    error: type[Exception],
    match: str,
    hints: ModelHints | None = None,
    **options: Any,
) -> None:
    """Save the model, and check that its export fails with a one-line message and leaves no file behind."""
    model.save(tmp_path / "m.keras")
    with pytest.raises(error, match=match) as caught:
        make(tmp_path / "m.keras", tmp_path / "m.orilla", hints or ModelHints(task="tensor"), **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.orilla").exists()
