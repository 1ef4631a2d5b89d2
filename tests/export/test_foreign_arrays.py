"""Inputs, outputs and ground truth of models that take arrays and were not trained with Orilla."""

import keras
import numpy as np
import pytest
from helpers.foreign import PICTURES, RNG, float_error, make, picture_model, refused
from keras import layers

from orilla.devices.errors import ConversionError, DataError
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.model import Model
from orilla.runtime.verify import verify


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory):
    """Return a model with two inputs and two outputs of different shapes and types."""
    folder = tmp_path_factory.mktemp("tensor")
    keras.utils.set_random_seed(6)
    lidar, kind = keras.Input((16,), name="lidar"), keras.Input((3,), dtype="int32", name="kind")
    x = layers.Concatenate()(
        [layers.Dense(128, activation="relu")(lidar), layers.Flatten()(layers.Embedding(5, 2)(kind))]
    )
    steer, speed = layers.Dense(2, name="steer")(x), layers.Dense(1, name="speed")(x)
    model = keras.Model([lidar, kind], [steer, speed])
    model.save(folder / "m.keras")
    arrays = {"lidar": RNG.normal(size=(60, 16)).astype(np.float32), "kind": RNG.integers(0, 5, (60, 3), np.int32)}
    np.savez(folder / "x.npz", **arrays)
    return folder, model, arrays


def test_arrays_in_arrays_out(two_by_two, tmp_path):
    folder, model, arrays = two_by_two
    recipes = "litert_fp32,litert_wi8_afp32,onnx_fp32"
    manifest = make(
        folder / "m.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), recipes, calibration=str(folder / "x.npz")
    )
    assert [part.name for part in manifest.outputs] == ["speed", "steer"]
    assert float_error(manifest) < 1e-5
    assert manifest.variant("litert_wi8_afp32").check.metrics["cosine"] > 0.99
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), manifest.variants))
    steer, speed = model.predict_on_batch([arrays["lidar"][:1], arrays["kind"][:1]])
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as opened:
            answer = opened({"lidar": arrays["lidar"][0], "kind": arrays["kind"][0]}).result.arrays
            with pytest.raises(DataError, match="expected the arrays kind, lidar, got lidar"):
                opened({"lidar": arrays["lidar"][0]})
            with pytest.raises(DataError, match=r"array lidar has shape \[3\], but the network takes \[16\]"):
                opened({"lidar": arrays["lidar"][0][:3], "kind": arrays["kind"][0]})
        assert np.abs(answer["steer"] - steer[0]).max() < 1e-5
        assert np.abs(answer["speed"] - speed[0]).max() < 1e-5


def test_several_inputs_that_end_in_logits(tmp_path):
    first, second = keras.Input((4,), name="one"), keras.Input((5,), name="other")
    model = keras.Model([first, second], layers.Dense(3)(layers.Concatenate()([first, second])))
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", one=RNG.normal(size=(40, 4)), other=RNG.normal(size=(40, 5)))
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="classify"), calibration=str(tmp_path / "x.npz")
    )
    assert float_error(manifest) < 1e-5
    with Model.open(tmp_path / "m.orilla") as opened:
        scores = opened({"one": np.ones(4), "other": np.ones(5)}).result.scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_inputs_that_come_by_name(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"b": b, "a": a}, layers.Dense(2)(layers.Concatenate()([a, b])))
    model.save(tmp_path / "m.keras")
    arrays = {"a": RNG.normal(size=(40, 3)).astype(np.float32), "b": RNG.normal(size=(40, 2)).astype(np.float32)}
    np.savez(tmp_path / "x.npz", **arrays)
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz")
    )
    assert float_error(manifest) < 1e-5
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = opened({name: array[0] for name, array in arrays.items()}).result.arrays["output"]
    assert answers == pytest.approx(model.predict_on_batch({n: x[:1] for n, x in arrays.items()})[0], abs=1e-5)


@pytest.mark.parametrize("saved", [False, True])
def test_outputs_have_the_names_of_their_dictionary(tmp_path, saved):
    x = keras.Input((6,))
    hidden = layers.Dense(4)(x)
    model = keras.Model(x, {"zeta": layers.Dense(2)(hidden), "alpha": hidden, "again": hidden})
    path = tmp_path / ("saved" if saved else "m.keras")
    model.export(path, verbose=False) if saved else model.save(path)
    x = RNG.normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    manifest = make(path, tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz"))
    assert float_error(manifest) < 1e-5
    expected = model.predict_on_batch(x[:1])
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as opened:
            answers = opened(x[0]).result.arrays
        assert {name: pytest.approx(array[0], abs=1e-5) for name, array in expected.items()} == answers


@pytest.mark.parametrize("shape", [(), (2, 3, 2, 2, 2)])
def test_arrays_of_any_number_of_axes(tmp_path, shape):
    size = int(np.prod(shape))
    model = keras.Sequential([keras.Input((10,)), layers.Dense(size), layers.Reshape(shape)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 10)).astype(np.float32))
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz")
    )
    assert float_error(manifest) < 1e-5
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), manifest.variants))


def test_one_array_and_its_truth(tmp_path):
    model = keras.Sequential([keras.Input((10,)), layers.Dense(4)])
    model.save(tmp_path / "m.keras")
    x = RNG.normal(size=(50, 10)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", x=x, y=model.predict_on_batch(x) + 0.01)
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor"),
        "litert_wi8_ai8",
        calibration=str(tmp_path / "xy.npz"),
    )
    assert manifest.report.truth == "labels"
    assert 0.99 < manifest.report.metrics["cosine"] < 1
    np.savez(tmp_path / "bad.npz", x=x, y=np.zeros((50, 3), np.float32))
    with pytest.raises(DataError, match="y of bad has 3 numbers per sample, but the model outputs 4"):
        make(
            tmp_path / "m.keras",
            tmp_path / "n.orilla",
            ModelHints(task="tensor"),
            calibration=str(tmp_path / "bad.npz"),
        )


def test_a_classifier_of_arrays(tmp_path):
    model = keras.Sequential([keras.Input((8, 24)), layers.LSTM(64), layers.Dense(3, activation="softmax")])
    model.save(tmp_path / "m.keras")
    x = RNG.normal(size=(30, 8, 24)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", x=x, y=model.predict_on_batch(x).argmax(axis=1))
    recipes = "litert_fp32,litert_fp32_fused,litert_wi8_ai8_fused,litert_wi8_afp32_fused,onnx_wi8_afp32"
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="classify"),
        recipes,
        calibration=str(tmp_path / "xy.npz"),
    )
    assert [variant.name for variant in manifest.variants] == recipes.split(",")
    assert manifest.report.metrics["accuracy"] == 1.0
    with Model.open(tmp_path / "m.orilla") as opened:
        assert opened(x[0]).result.top.score > 0.2


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.arange(40), r"sample 3 has class 3: the classes are 0 to 2"),
        (np.full(40, -1), "has class -1"),
        (np.float32(1), r"y has shape \[\] and type float32"),
        (np.zeros((40, 3), np.int64), r"for images give class indices \[N\] or masks"),
        (np.array(["cat"] * 40), "give numbers, one row per sample"),
    ],
)
def test_truths_that_are_none(tmp_path, y, match):
    picture_model().save(tmp_path / "m.keras")
    np.savez(tmp_path / "xy.npz", x=PICTURES, y=y)
    with pytest.raises(DataError, match=match):
        make(
            tmp_path / "m.keras",
            tmp_path / "m.orilla",
            ModelHints(task="classify", input_range="0..1"),
            "litert_fp32",
            calibration=str(tmp_path / "xy.npz"),
        )


def test_data_without_labels_measures_no_accuracy(tmp_path, arrays, capsys):
    picture_model().save(tmp_path / "m.keras")
    out = tmp_path / "m.orilla"
    manifest = make(
        tmp_path / "m.keras",
        out,
        ModelHints(task="classify", input_range="0..1"),
        "litert_fp32",
        calibration=str(arrays / "x.npz"),
    )
    assert manifest.report.truth == "original"
    assert main(["verify", str(out), "--data", str(arrays / "x.npz")]) == 2
    assert "has no labels" in capsys.readouterr().err
    assert main(["verify", str(out), "--data", str(arrays / "xy.npz")]) == 0


def test_one_file_under_two_names_is_divided(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 16)).astype(np.float32))
    (tmp_path / "other.npz").symlink_to(tmp_path / "x.npz")
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor"),
        "litert_wi8_ai8",
        calibration=str(tmp_path / "x.npz"),
        validation=str(tmp_path / "other.npz"),
    )
    assert (manifest.report.count, manifest.report.calibration_count) == (8, 32)


def test_calibration_of_another_kind_than_what_is_checked_on(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8)])
    x = RNG.normal(size=(40, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "raw.npz", x=255 * x)
    refused(
        tmp_path,
        model,
        DataError,
        r"x typically reaches \d+ in the calibration data raw, but [\d.]+ in the validation data x: calibrate on",
        recipes="litert_wi8_ai8",
        calibration=str(tmp_path / "raw.npz"),
        validation=str(tmp_path / "x.npz"),
    )


def test_types_that_not_every_precision_takes(tmp_path):
    x = keras.Input((3,), dtype="bool", name="flags")
    model = keras.Model(x, layers.Dense(2)(keras.ops.cast(x, "float32")))
    refused(tmp_path, model, ConversionError, "the input x has type bool: use float32, int32, int64, and convert")
