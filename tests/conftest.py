"""What many tests share: the real data where it is, and one tiny exported model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import factories

from orilla.runtime.bundle.run_folder import Run, encode_json
from orilla.runtime.preprocessing.image import Preprocess

# OpenCV reads this once, when a process opens its first video, which here a factory may do before our code.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

DATA = Path(os.environ.get("ORILLA_DATA", Path(__file__).parents[2] / "shared" / "data"))
INPUT_HW = (32, 64)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real-data tests are skipped, and say so, only where the data is not there."""
    if DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no real data at {DATA}: set ORILLA_DATA")
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def nothing_tuned() -> None:
    """What a developer has tuned on this machine is no matter of the tests."""
    os.environ["ORILLA_NO_TUNED"] = "1"


@pytest.fixture(scope="session")
def data_root() -> Path:
    return DATA


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factories.camvid_folder(tmp_path_factory.mktemp("data") / "camvid", {"train": 12, "val": 4})


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A run folder with a small network of random weights, whose answers depend on the picture."""
    import keras

    keras.utils.set_random_seed(3)
    run = tmp_path_factory.mktemp("run")
    image = keras.Input((*INPUT_HW, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    logit = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.RandomNormal(stddev=2.0, seed=1))(x)
    keras.Model(image, keras.layers.Activation("sigmoid")(logit)).save(run / "model.keras")
    (run / "card.json").write_bytes(encode_json(factories.card(INPUT_HW)))
    (run / "run.json").write_bytes(encode_json(Run(Preprocess(size_hw=INPUT_HW), str(tiny_data))))
    return run


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """The tiny model in all precisions."""
    from orilla.export.export import ExportOptions, export

    path = tmp_path_factory.mktemp("bundle") / "tiny.orilla"
    manifest = export(tiny_run, path, ExportOptions())
    assert not manifest.report.failed
    return path


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two classes in folders."""
    return factories.class_folders(tmp_path_factory.mktemp("classes") / "animals", {"train": 12, "validation": 8})


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of texts of two classes."""
    return factories.text_table(tmp_path_factory.mktemp("texts") / "reviews.csv")


@pytest.fixture(scope="session")
def picture_bundle(tmp_path_factory: pytest.TempPathFactory, animals: Path) -> Path:
    """A tiny classifier of pictures."""
    from orilla.export.export import ExportOptions, export

    folder = tmp_path_factory.mktemp("classifier")
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32"
    export(factories.classifier_run(folder / "run", animals), folder / "tiny.orilla", ExportOptions(recipes=recipes))
    return folder / "tiny.orilla"


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """A tiny recurrent classifier of texts."""
    from orilla.export.export import ExportOptions, export

    folder = tmp_path_factory.mktemp("reader")
    options = ExportOptions(recipes="litert_fp32,litert_wi8_afp32")
    export(factories.text_run(folder / "run", reviews), folder / "tiny.orilla", options)
    return folder / "tiny.orilla"
