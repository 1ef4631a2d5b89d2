"""Export of regression models that Orilla did not train."""

import pytest
from helpers.datasets import image_table

import orilla.runtime
from orilla.devices.errors import ConfigError
from orilla.export.export import ExportOptions, export
from orilla.export.source_model import ModelHints
from orilla.runtime.evaluation.datasets import open_dataset


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the paths of a Keras model that outputs two values, and of the file with their names."""
    import keras

    keras.utils.set_random_seed(5)
    image = keras.Input((32, 48, 3), name="image")
    x = keras.layers.Conv2D(8, 5, strides=3, activation="relu")(image)
    x = keras.layers.Flatten()(x)
    folder = tmp_path_factory.mktemp("model")
    keras.Model(image, keras.layers.Dense(2)(x)).save(folder / "drive.keras")
    (folder / "names.txt").write_text("speed\nsteering\n")
    return folder


def test_names_come_from_the_user_and_ranges_from_the_labelled_data(model, tmp_path):
    data = open_dataset(image_table(tmp_path / "data"))
    hints = ModelHints(task="regress", labels=model / "names.txt", input_range="0..1")
    options = ExportOptions(
        recipes="litert_fp32,litert_wi8_ai8",
        calibration=str(tmp_path / "data"),
        golden_count=2,
        timing=False,
        hints=hints,
    )
    manifest = export(model / "drive.keras", tmp_path / "drive.orilla", options)
    assert manifest.labels == ("speed", "steering")
    assert manifest.decoding.units == ("m/s", "deg")
    assert manifest.decoding.ranges == data.decoding.ranges[::-1]
    assert not manifest.decoding.normalised
    assert manifest.report.truth == "labels"
    assert {"mae/speed", "rmse/steering"} <= set(manifest.report.metrics)
    with orilla.runtime.open(tmp_path / "drive.orilla") as opened:
        assert opened(data.load("val", 0).image).result.units == {"speed": "m/s", "steering": "deg"}


def test_values_without_names_do_not_match_the_data(model, tmp_path):
    image_table(tmp_path / "data")
    hints = ModelHints(task="regress", input_range="0..1")
    options = ExportOptions(recipes="litert_fp32", validation=str(tmp_path / "data"), timing=False, hints=hints)
    with pytest.raises(ConfigError, match="unknown value of data 'value0': choose from speed, steering"):
        export(model / "drive.keras", tmp_path / "drive.orilla", options)
