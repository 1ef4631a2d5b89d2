"""Stateful recurrent layers of Keras 3 are exported as stateless ones, and a note says so."""

import keras
import numpy as np
import pytest
from keras import layers

from orilla.export.convert.frozen import load_with_notes


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "wrap", [lambda: layers.LSTM(3, stateful=True), lambda: layers.Bidirectional(layers.GRU(3, stateful=True))]
)
def test_each_sample_starts_with_a_state_of_zeros(tmp_path, suffix, wrap):
    given = keras.Input(batch_shape=(1, 5, 2))
    model = keras.Model(given, wrap()(given))
    model.save(tmp_path / f"m{suffix}")
    x = np.random.default_rng(0).normal(size=(2, 1, 5, 2)).astype(np.float32)
    first = np.asarray(model(x[0]))

    loaded, notes = load_with_notes(str(tmp_path / f"m{suffix}"))

    for _ in range(2):
        np.testing.assert_allclose(np.asarray(loaded(x[0])), first, atol=1e-6)
    assert len(notes) == 1
    assert "is stateful in the file; after the export, each sample starts with a state of zeros" in notes[0]
