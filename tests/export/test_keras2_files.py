"""Models that real old versions of Keras wrote: each gives the same answers as in its own Keras, or is rejected.

The archives in the folder `keras2` contain the models and the answers. Its README.md states how they were made.
"""

import os
import zlib

import numpy as np
import pytest
from helpers.foreign import make
from helpers.keras_archives import (
    ARCHIVES,
    archive_names,
    difference,
    known_difference,
    max_difference,
    read_index,
    refusal,
    unpack,
)

from orilla.export.convert.frozen import input_names, load
from orilla.export.model_hints import ModelHints
from orilla.runtime.model import Model

STORED = {archive: read_index(ARCHIVES / f"{archive}.tar.xz")["models"] for archive in archive_names()}


ALL = "ORILLA_ALL_KERAS" in os.environ
"""True to test every model in every archive, which takes about ten minutes. `make test-keras2` does so."""


def cases():
    """Return models of all archives.

    These are all models of Keras 1, and one version of each other model. `ORILLA_ALL_KERAS` adds the other versions.
    """
    found = []
    for archive, models in STORED.items():
        for name in models:
            having = [each for each in STORED if name in STORED[each]]
            chosen = archive == "1.2.2" or archive == having[zlib.crc32(name.encode()) % len(having)]
            if chosen or ALL:
                found.append(pytest.param(archive, name, id=f"{archive}-{name}"))
    return found


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Return a function that extracts an archive once."""
    extracted = {}

    def opened(name):
        if name not in extracted:
            extracted[name] = unpack(ARCHIVES / f"{name}.tar.xz", tmp_path_factory.mktemp(f"keras-{name}"))
        return extracted[name]

    return opened


@pytest.mark.parametrize(("archive", "name"), cases())
def test_a_model_answers_as_its_own_keras(archives, archive, name):
    stored, word = archives(archive).models[name], refusal(archive, name)
    for file in stored.files:
        if word is None:
            equal = difference(file, stored) <= stored.tolerance
            assert equal is (known_difference(archive, name) is None), file.name
        else:
            with pytest.raises(ValueError, match=word):
                difference(file, stored)


def test_every_version_of_the_table_has_an_archive():
    assert set(STORED) >= {"1.2.2", "2.0.8", "2.2.4", "2.4.0", "2.13.1", "2.15.0", "3.0.5", "3.15.1"}
    assert all(len(models) > 100 for archive, models in STORED.items() if "-theano" not in archive)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archive", "name"),
    [
        ("1.2.2", "sequential-convolutions"),
        ("2.0.8", "lstm-hard-sigmoid"),
        ("2.2.4", "functional-in-sequential"),
        ("2.4.0", "bidirectional-hard-sigmoid"),
        ("2.13.1", "two-inputs-two-outputs"),
        ("2.15.0", "gru-reset-after"),
    ],
)
def test_a_bundle_answers_as_the_keras_of_its_model(tmp_path, archives, archive, name):
    stored = archives(archive).models[name]
    names = input_names(load(str(stored.files[0])))
    data = dict(zip(names, stored.inputs, strict=True))
    np.savez(tmp_path / "data.npz", **data)
    hints = ModelHints(task="tensor")
    make(
        stored.files[0],
        tmp_path / "m.orilla",
        hints,
        recipes="litert_fp32",
        calibration=str(tmp_path / "data.npz"),
    )
    with Model.open(tmp_path / "m.orilla") as model:
        answers = [model({name: array[n] for name, array in data.items()}) for n in range(len(stored.inputs[0]))]
    outputs = [np.stack(arrays) for arrays in zip(*(a.result.arrays.values() for a in answers), strict=True)]
    assert max_difference(outputs, stored.outputs) < 1e-4
