"""A SavedModel with operators that write files cannot write outside the temporary folder of an export."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest

from orilla.devices import sandbox
from orilla.devices.errors import ConversionError
from orilla.export.convert import fork_server

keras = pytest.importorskip("keras", reason='needs pip install "orilla[export]"')
pytest.importorskip("tensorflow", reason='needs pip install "orilla[export]"')


def saved_model(folder: Path, target: Path) -> Path:
    """Write a SavedModel that writes a file whenever it runs."""
    import tensorflow as tf

    class Writer(keras.layers.Layer):
        def call(self, x):
            with tf.control_dependencies([tf.io.write_file(str(target), "written")]):
                return tf.identity(x)

    x = keras.Input((4,), name="x")
    keras.Model(x, Writer()(x)).export(folder, verbose=False)
    target.unlink(missing_ok=True)  # The export has run the operator.
    return folder


def predict(model: Path, work: Path) -> None:
    """Run the model as an export does."""
    work.mkdir()
    np.save(work / "x.npy", np.zeros((2, 4), np.float32))
    names = {"inputs": {"x": str(work / "x.npy")}, "outputs": {"output": str(work / "y.npy")}}
    (work / "jobs.json").write_text(json.dumps([names]))
    fork_server.call("orilla.export.check.reference:predict", model=str(model), jobs=str(work / "jobs.json"))


def test_a_model_that_writes_files(tmp_path):
    if ctypes.CDLL(None).syscall(sandbox.CREATE_RULESET, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("this kernel has no Landlock")
    outside, inside = tmp_path / "outside", tmp_path / "work" / "inside"
    with pytest.raises(ConversionError, match=r"[Pp]ermission"):
        predict(saved_model(tmp_path / "bad", outside), tmp_path / "other")
    assert not outside.exists()
    (tmp_path / "work").mkdir()
    model = saved_model(tmp_path / "good", inside)
    inside.parent.rmdir()
    predict(model, inside.parent)
    assert inside.read_text() == "written", "the operator runs, so the test above is not empty"
