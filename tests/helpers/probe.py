"""Build `runtime/zoo/probe.orilla`, which `orilla doctor` runs on each engine: `python tests/helpers/probe.py`.

The network has random weights. Every engine has fast kernels for the network's operators in all precisions. The answers
have no meaning, but must be equal on every machine.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import cv2
import keras
from keras import layers

from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.runtime import scenes

ZOO = Path(__file__).parents[2] / "runtime" / "zoo" / "probe.orilla"
RECIPES = "litert_fp32,litert_fp16,litert_wi8_afp32,litert_wi8_ai8,onnx_fp32,onnx_wi8_ai8"
INPUT_HW, CLASSES = (48, 80), 10


def network() -> keras.Model:
    """Return a network that takes an image and outputs the probabilities of ten classes."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    image = keras.Input((*INPUT_HW, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = skip = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.Add()([layers.Conv2D(16, 1)(x), skip])
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(image, layers.Dense(CLASSES, kernel_initializer=spread, activation="softmax")(x))


def draw(folder: Path, count: int) -> None:
    """Write images for the calibration, the check and the golden data."""
    folder.mkdir()
    for seed in range(count):
        cv2.imwrite(str(folder / f"{seed:03d}.png"), scenes.render(seed, 0.5, (90, 160))[0])


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        model, labels = Path(temporary, "probe.keras"), Path(temporary, "labels.txt")
        network().save(model)
        labels.write_text("".join(f"class {index}\n" for index in range(CLASSES)))
        pictures = Path(temporary, "scenes")
        draw(pictures, 60)
        options = ExportOptions(
            recipes=RECIPES,
            calibration=str(pictures),
            calibration_count=30,
            golden_count=3,
            timing=False,
            hints=ModelHints(task="classify", labels=labels, input_range="0..255"),
        )
        manifest = export(model, Path(temporary, "probe.orilla"), options)
        assert not manifest.report.failed, manifest.report.failed
        ZOO.write_bytes(Path(temporary, "probe.orilla").read_bytes())
    print(f"{ZOO.name}: {ZOO.stat().st_size:,} bytes, {len(manifest.variants)} variants, default {manifest.default}")


if __name__ == "__main__":
    main()
