"""HDF5 files that Keras 3 wrote are read as the model that was saved, or rejected with the cause."""

import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
from helpers.keras_archives import ARCHIVES, difference, known_difference, read_index, refusal, unpack
from keras import layers, ops

from orilla.export.convert.frozen import load

ARCHIVE = "3.15.1"
NOT_SAVED = ("bidirectional-rnn-of-cell", "random-contrast")
"""Models that Keras 3.15.1 cannot save as HDF5."""


def masked(x):
    return layers.LSTM(3)(layers.Masking()(x))


def nested(x):
    inner = keras.Sequential([keras.Input((4, 6)), layers.Dense(6), layers.LeakyReLU(negative_slope=0.3)])
    return layers.Add()([inner(x), inner(layers.Dense(6)(x))])


MODELS = {
    "softmax of two axes": lambda x: layers.Softmax(axis=[1, 2])(x),
    "softmax of one axis": lambda x: layers.Softmax(axis=1)(x),
    "layer normalisation of two axes": lambda x: layers.LayerNormalization(axis=[1, 2])(x),
    "unit normalisation of two axes": lambda x: layers.UnitNormalization(axis=[1, 2])(x),
    "normalisation with constants": lambda x: layers.Normalization(mean=[1.0] * 6, variance=[2.0] * 6)(x),
    "mask": masked,
    "layers of models twice": nested,
    "operation with the name of a layer": lambda x: ops.relu(layers.Dense(3)(x)) + 1.0,
    "operation with keyword arguments": lambda x: ops.mean(ops.concatenate([x, x[:, :2]], axis=1), axis=[1, 2]),
    "wrapped layer": lambda x: layers.Bidirectional(layers.GRU(3, return_sequences=True))(x),
    "list of cells": lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(x),
}


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", "-hdf5.keras"])
@pytest.mark.parametrize("name", MODELS)
def test_a_file_is_read_as_the_model_that_was_saved(tmp_path, name, suffix):
    keras.utils.set_random_seed(1)
    given = keras.Input((4, 6))
    model = keras.Model(given, MODELS[name](given))
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    model.save(tmp_path / "m.h5")
    file = (tmp_path / "m.h5").rename(tmp_path / f"model{suffix}")

    answer = np.asarray(load(str(file))(x))

    np.testing.assert_allclose(answer, np.asarray(model(x)), atol=1e-6)


def test_a_sequential_model_without_an_input_layer_is_read(tmp_path):
    model = keras.Sequential([layers.Dense(3, activation="relu"), layers.Dense(2)])
    x = np.ones((2, 4), np.float32)
    expected = np.asarray(model(x))
    model.save(tmp_path / "m.h5")

    np.testing.assert_allclose(np.asarray(load(str(tmp_path / "m.h5"))(x)), expected, atol=1e-6)


def test_a_zip_file_is_not_taken_for_hdf5(tmp_path):
    """HDF5 files may begin at offset 512, 1024 and so on. The weights in a `.keras` file may be at such an offset."""
    given = keras.Input((4,))
    model = keras.Model(given, layers.Dense(2)(given))
    model.save(tmp_path / "m.keras")
    file = tmp_path / "shifted.keras"
    with zipfile.ZipFile(tmp_path / "m.keras") as old, zipfile.ZipFile(file, "w") as new:
        weights = old.read("model.weights.h5")
        header = 30 + len("model.weights.h5")
        new.writestr("a", b"x" * (1024 - header - 31))
        new.writestr("model.weights.h5", weights)
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))
    assert h5py.is_hdf5(file)

    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(np.asarray(load(str(file))(x)), np.asarray(model(x)), atol=1e-6)


class Doubled(layers.Layer):
    """A layer that is not part of Keras."""

    def call(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("layer", "cause"),
    [
        (lambda: layers.Lambda(lambda x: 2 * x), "has a Lambda layer, whose Python code is not run"),
        (Doubled, "has the layer Doubled, which Keras does not know"),
        (lambda: layers.Dense(2, activation=lambda_free), "uses the function lambda_free, which Keras does not know"),
    ],
)
def test_what_is_not_in_keras_is_refused_by_name(tmp_path, layer, cause):
    given = keras.Input((4,))
    keras.Model(given, layer()(given)).save(tmp_path / "m.h5")

    with pytest.raises(ValueError, match=f"m.h5 {cause}"):
        load(str(tmp_path / "m.h5"))


def lambda_free(x):
    """Return the input: an activation that is not part of Keras."""
    return x


def sampled():
    """Return the names of a quarter of the models in the archive that Orilla reads."""
    names = read_index(ARCHIVES / f"{ARCHIVE}.tar.xz")["models"]
    usable = (name for name in names if refusal(ARCHIVE, name) is None and known_difference(ARCHIVE, name) is None)
    return [name for name in usable if name not in NOT_SAVED and zlib.crc32(name.encode()) % 4 == 0]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return unpack(ARCHIVES / f"{ARCHIVE}.tar.xz", tmp_path_factory.mktemp("keras-3"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled())
def test_a_model_answers_the_same_as_hdf5(archive, tmp_path, name):
    stored = archive.models[name]
    keras.models.load_model(str(stored.files[0]), compile=False).save(tmp_path / "m.h5")
    keras.backend.clear_session()

    assert difference(tmp_path / "m.h5", stored) <= stored.tolerance
