"""Build the small bundles in `tests/bundles`, which many tests open: `python tests/helpers/bundles.py`.

The networks have random weights from a fixed seed. Their answers depend on the input, but have no meaning.
`tests/export/test_bundles.py` builds the bundles again and compares them with the committed ones.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from helpers import factories  # noqa: E402 - A script finds the package only with the line above.

BUNDLES = TESTS / "bundles"
INPUT_HW = (32, 64)


def road_run(folder: Path, data: Path) -> Path:
    """Write the run folder of a small segmentation model with random weights."""
    import keras
    from keras import layers

    from orilla.runtime.bundle.run_folder import Run, encode_json
    from orilla.runtime.preprocessing.image import Preprocess

    folder.mkdir(parents=True)
    keras.utils.set_random_seed(3)
    # Each layer has a fixed name. Otherwise, Keras would choose names that depend on previously built layers.
    initial = keras.initializers.RandomNormal(stddev=2.0, seed=1)
    image = keras.Input((*INPUT_HW, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(1, 1, kernel_initializer=initial, name="logit")(x)
    x = layers.Activation("sigmoid", name="probability")(x)
    keras.Model(image, x, name="road").save(folder / "model.keras")
    (folder / "card.json").write_bytes(encode_json(factories.card(INPUT_HW)))
    (folder / "run.json").write_bytes(encode_json(Run(Preprocess(size_hw=INPUT_HW), str(data))))
    return folder


def road_data(folder: Path) -> Path:
    """Write the data set of the segmentation model."""
    return factories.camvid_folder(folder / "camvid", {"train": 12, "val": 4})


def animals(folder: Path) -> Path:
    """Write images of two classes in folders."""
    return factories.class_folders(folder / "animals", {"train": 12, "validation": 8})


def reviews(folder: Path) -> Path:
    """Write a table of texts of two classes."""
    return factories.text_table(folder / "reviews.csv")


ROAD_RECIPES = (
    "litert_fp32,litert_fp32_fused,litert_fp16,litert_wi8_afp32,litert_wi8_afp32_fused,litert_wi8_afp32_wo,"
    "litert_wi4_afp32_wo,litert_wi8_ai8,litert_wi8_ai8_fused,litert_wi8_ai8_u8,litert_wi8_ai8_edgetpu,litert_wi8_ai16,"
    "onnx_fp32,onnx_fp16,onnx_wi8_afp32,onnx_wi8_ai8,onnx_wi8_ai8_entropy,onnx_wi8_ai8_percentile"
)
"""Recipes of the bundle `road`. They are listed here, so that a new recipe does not change the committed bundle."""

PLANS: dict[str, tuple[Callable[[Path], Path], Callable[[Path, Path], Path], str]] = {
    "road": (road_data, road_run, ROAD_RECIPES),
    "animals": (animals, factories.classifier_run, "litert_fp32,litert_wi8_ai8,onnx_fp32"),
    "reviews": (reviews, factories.text_run, "litert_fp32,litert_wi8_afp32"),
}
"""For each bundle: the function that writes its data set, the function that writes its run folder, and its recipes."""


def build(name: str, out: Path) -> Path:
    """Export one of the bundles to `out`."""
    from orilla.export.export import ExportOptions, export

    data, run, recipes = PLANS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export(run(folder / "run", data(folder)), out, ExportOptions(recipes=recipes, overwrite=True))
    return out


if __name__ == "__main__":
    BUNDLES.mkdir(exist_ok=True)
    for bundle in PLANS:
        print(build(bundle, BUNDLES / f"{bundle}.orilla"))
