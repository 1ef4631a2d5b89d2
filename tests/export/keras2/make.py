"""Store small models as the installed version of Keras writes them, with its answers: `python make.py OUT.tar.xz`.

The script runs with Python 3.6 or later and with every Keras from 1.2 on. README.md lists the versions with which the
stored archives were made. Further arguments:

- the package to use instead of `keras`, such as `tf_keras`; `keras1` builds the models of `keras1.py` with Keras 1,
- a regular expression that the names of the models must contain.

An archive contains:

- `NAME.h5`: the model, as `model.save` writes it; also `NAME.keras` and `NAME.savedmodel/` where that Keras has them,
- `answers.npz`: for each model its inputs, `NAME/x0`, and the outputs that this Keras predicts, `NAME/y0`,
- `index.json`: the versions of the packages, the models, and why a model is missing.
"""

import importlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from inputs import SAMPLES, values
from registry import GRAPHS

KERAS_1, KERAS_2 = ("keras1",), ("rows", "operations", "forms", "series")
"""Modules with the models."""

SAVED_MODELS = ("dense-relu", "lstm", "bidirectional-gru-sum", "conv2d-no-bias", "functional-in-sequential")
"""Models that TensorFlow 2.x also stores as a SavedModel. There are only a few, because each takes 100 KB or more."""


def main(out, module="keras", pattern=""):
    """Write an archive with all models that the installed Keras can build."""
    k = namespace("keras" if module == "keras1" else module)
    index = OrderedDict(versions=versions(k), models=OrderedDict(), missing=OrderedDict())
    answers = OrderedDict()
    with tempfile.TemporaryDirectory() as folder:
        for name, (inputs, text, build) in models(k, module == "keras1").items():
            if not re.search(pattern, name):
                continue
            getattr(k.K, "clear_session", k.K.reset_uids if hasattr(k.K, "reset_uids") else None)()
            try:
                store(k, name, inputs, build, Path(folder), answers)
            except Exception as error:  # noqa: BLE001 - each version refuses in its own way; the reason is stored.
                index["missing"][name] = str(error).strip().split("\n")[0][:100] or type(error).__name__
                for path in Path(folder).glob(name + ".*"):
                    shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
                continue
            files = sorted(path.name for path in Path(folder).glob(name + ".*"))
            index["models"][name] = OrderedDict(text=text, files=files)
            print(name, *files)
        np.savez(str(Path(folder, "answers.npz")), **answers)
        Path(folder, "index.json").write_text(json.dumps(index, indent=1))
        pack(Path(folder), out)
    print(len(index["models"]), "models stored,", len(index["missing"]), "not in this version:")
    for name, reason in index["missing"].items():
        print(" ", name + ":", reason)


def pack(folder, out):
    """Write the files of a folder into a compressed archive: the index, then files of one kind after another."""

    def plain(entry):
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        return entry

    with tarfile.open(out, "w:xz", preset=9) as archive:
        for path in sorted(folder.iterdir(), key=lambda path: (path.suffix != ".json", path.suffix, path.name)):
            archive.add(str(path), path.name, filter=plain)


def namespace(module):
    """Return a namespace with the parts of the installed Keras that the tables use."""
    try:
        keras = importlib.import_module(module)
    except ImportError:
        keras = importlib.import_module("tensorflow.keras")
    k = SimpleNamespace(
        np=np, keras=keras, Model=keras.models.Model, Sequential=keras.models.Sequential, Input=keras.layers.Input
    )
    k.layers, k.K = keras.layers, keras.backend
    for name in ("regularizers", "initializers"):
        setattr(k, name, getattr(keras, name, None))
    try:
        import tensorflow

        k.tf = tensorflow
    except ImportError:
        pass
    k.half = half_precision(k)
    k.cudnn = lambda *arguments, **options: cudnn(k, *arguments, **options)
    return k


def half_precision(k):
    """Return the dtype for layers that compute in half precision and keep float32 weights."""
    try:
        return k.tf.keras.mixed_precision.experimental.Policy("mixed_float16")
    except AttributeError:
        return "mixed_float16"


def versions(k):
    """Return the versions of Keras and of the packages below it."""
    import h5py

    found = OrderedDict(keras=k.keras.__version__, module=k.keras.__name__, backend=k.K.backend())
    for name in ("tensorflow", "theano"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__
    found.update(python=sys.version.split()[0], numpy=np.__version__, h5py=h5py.__version__)
    return found


def models(k, keras1):
    """Return for each name the descriptions of its inputs, its text in the table and a function that builds it."""
    tables = [importlib.import_module(name) for name in (KERAS_1 if keras1 else KERAS_2)]
    rows = [group for table in tables for group in getattr(table, "ROWS", [])]
    expressions = [group for table in tables for group in getattr(table, "EXPRESSIONS", [])]
    found = OrderedDict()
    for inputs, group in rows:
        for name, code in group.items():
            found[name] = (inputs, code, lambda inputs=inputs, code=code: stacked(k, inputs, code))
    for inputs, group in expressions:
        for name, code in group.items():
            found[name] = (inputs, code, lambda inputs=inputs, code=code: applied(k, inputs, code))
    for name, (inputs, build) in GRAPHS.items():
        found[name] = (inputs, build.__doc__.strip().split("\n")[0], lambda build=build: build(k))
    return found


def names(k):
    """Return the names that the code of a row may use."""
    known = {}
    for place in ("layers.experimental.preprocessing", "layers.experimental", "layers"):
        found = k
        for part in place.split("."):
            found = getattr(found, part, None)
        if found is not None:
            known.update((name, getattr(found, name)) for name in dir(found) if not name.startswith("_"))
    known.update(vars(k))
    known["adapted"] = adapted
    return known


def adapted(layer, width):
    """Return a normalisation layer that is adapted to data of this width."""
    layer.adapt(np.random.RandomState(0).normal(2, 3, size=(50, width)).astype("float32"))
    return layer


def stacked(k, inputs, code):
    """Return a functional model of one layer or of several in a row."""
    layers = eval(code, names(k))
    xs = [k.Input(given.shape, dtype="int32" if given.kind == "ints" else "float32") for given in inputs]
    y = xs if len(xs) > 1 else xs[0]
    for layer in layers if isinstance(layers, list) else [layers]:
        y = layer(y)
    return k.Model(xs if len(xs) > 1 else xs[0], y)


def applied(k, inputs, code):
    """Return a functional model whose output is an expression of its input `x`."""
    (given,) = inputs
    x = k.Input(given.shape)
    return k.Model(x, eval(code, names(k), {"x": x}))


def store(k, name, inputs, build, folder, answers):
    """Build a model, save it in every format of the installed Keras, and store its answers."""
    model = build()
    draw_weights(model, np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF))
    xs = [values(name, number, given) for number, given in enumerate(inputs)]
    ys = predicted(getattr(model, "stand_in", lambda: model)(), xs)
    if not all(np.isfinite(y).all() for y in ys):
        msg = "the answers are not finite"
        raise ValueError(msg)
    save(k, model, name, folder)
    if not hasattr(model, "stand_in") and not name.startswith("refused"):
        check_loaded(k, sorted(folder.glob(name + ".*"))[0], xs, ys)
    for letter, arrays in (("x", xs), ("y", ys)):
        answers.update(("{}/{}{}".format(name, letter, number), value) for number, value in enumerate(arrays))


def predicted(model, xs):
    """Return the outputs of a model as a list, sorted by name if they are a dictionary."""
    ys = model.predict(xs if len(xs) > 1 else xs[0], batch_size=SAMPLES)
    if isinstance(ys, dict):
        ys = [ys[key] for key in sorted(ys)]
    return [np.asarray(y, "float32") for y in (ys if isinstance(ys, (list, tuple)) else [ys])]


def check_loaded(k, path, xs, ys):
    """Raise `ValueError` if the same Keras reads the file but gives other answers: the file then lacks a setting."""
    try:
        loaded = predicted(k.keras.models.load_model(str(path)), xs)
    except Exception as error:  # noqa: BLE001 - some versions cannot read all files that they write.
        print(path.name, "is not read by its own Keras:", str(error)[:100])
        return
    if not all(np.allclose(y, each, atol=1e-4) for y, each in zip(ys, loaded)):
        msg = "the file lacks a setting of the model: its own Keras reads it, but gives different answers"
        raise ValueError(msg)


def save(k, model, name, folder):
    """Save a model in every format of the installed Keras."""
    major, minor = (int(part) for part in k.keras.__version__.split(".")[:2])
    if (major, minor) >= (2, 12) and not name.startswith("cudnn"):
        model.save(str(folder / (name + ".keras")))
    if major < 3:  # Keras 3 itself cannot read many of the .h5 files that it writes: masks, operations, Attention.
        model.save(str(folder / (name + ".h5")))
    if major == 2 and name in SAVED_MODELS and ("tensorflow" in k.keras.__name__ or minor >= 4):
        model.save(str(folder / (name + ".savedmodel")), save_format="tf")


def draw_weights(layer, draw):
    """Replace the weights by random ones that are so large that a wrong activation changes the answers.

    They are multiples of 1/64, so that the stored files compress well.
    """
    inner = getattr(layer, "layers", None)
    if inner:
        for each in inner:
            draw_weights(each, draw)
        return
    before = layer.get_weights()
    if not before:
        return
    drawn = []
    for weight, value in zip(layer.weights, before):
        name = getattr(weight, "path", weight.name)
        if value.dtype.kind != "f" or (value.shape == () and "scale" not in name):
            drawn.append(value)
        elif "variance" in name or "running_std" in name:
            drawn.append(np.round(draw.uniform(0.3, 2, value.shape) * 64) / 64)
        else:
            width = 1.5 / max(1.0, value.shape[0] if value.ndim == 2 else np.prod(value.shape[:-1])) ** 0.5
            drawn.append(np.round(draw.normal(scale=max(width, 0.4), size=value.shape) * 64) / 64)
    layer.set_weights(drawn)
    if hasattr(layer, "finalize_state"):  # A normalisation computes with copies of its weights, as after loading.
        layer.finalize_state()


def cudnn(k, kind, bidirectional=False, **options):
    """Return a model with a layer that only runs on a GPU, whose `stand_in` is the same model for the CPU."""
    fast = getattr(k.layers, "CuDNN" + kind, None) or getattr(k.tf.compat.v1.keras.layers, "CuDNN" + kind)
    slow = getattr(k.layers, kind)
    if k.keras.__name__ == "keras" and k.keras.__version__ < "2.4":
        # TensorFlow 1 places the layer's operation when the weights are set, which fails without a GPU. The operation
        # is replaced; the configuration and the weights, which are all that is stored, stay as they are.
        fast._process_batch = lambda self, x, state: (k.K.concatenate([x[:, :, :1]] * self.units), state)

    def build(layer):
        wrapped = k.layers.Bidirectional(layer) if bidirectional else layer
        x = k.Input((6, 4))
        return k.Model(x, k.layers.Dense(2, name="last")(wrapped(x)))

    model = build(fast(3, return_sequences=True, name="recurrent"))

    def stand_in():
        other = build(slow(3, return_sequences=True, name="recurrent", **options))
        with tempfile.TemporaryDirectory() as folder:
            model.save_weights(folder + "/w.h5")
            other.load_weights(folder + "/w.h5")
        return other

    model.stand_in = stand_in
    return model


if __name__ == "__main__":
    main(*sys.argv[1:])
