"""Files of Keras 1 and 2 that are written here by hand, with answers that follow from formulas."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from helpers.foreign import make
from keras import layers

from orilla.devices.errors import ConversionError
from orilla.export.convert.frozen import load, load_with_notes
from orilla.export.model_hints import ModelHints

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 10, 4)).astype(np.float32)


def row(class_name, name, *before, **config):
    """Return a layer as a functional model of Keras 2 lists it."""
    nodes = [[[layer, 0, 0, {}] for layer in before]] if before else []
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def start(*shape, name="given", **config):
    return row("InputLayer", name, batch_input_shape=[None, *shape], dtype="float32", sparse=False, **config)


def functional(*rows, outputs=None):
    inputs = [[one["name"], 0, 0] for one in rows if one["class_name"] == "InputLayer"]
    ends = [[name, 0, 0] for name in outputs or [rows[-1]["name"]]]
    return {
        "class_name": "Model",
        "config": {"name": "m", "layers": list(rows), "input_layers": inputs, "output_layers": ends},
    }


def write(path, config, weights, version="2.2.4"):
    """Write an HDF5 file as Keras 2 does. `weights` has a list of arrays for each layer."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config) if isinstance(config, dict) else config
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            own = group.create_group(name)
            names = [f"{name}/weight_{number}:0" for number in range(len(arrays))]
            own.attrs["weight_names"] = [each.encode() for each in names]
            for each, array in zip(names, arrays, strict=True):
                own[each] = array
    return str(path)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def answers(path, *inputs):
    given = inputs if len(inputs) > 1 else inputs[0]
    return keras.tree.map_structure(np.asarray, load(str(path))(given, training=False))


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hard(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm(x, kernel, recurrent, bias, gate=hard):
    h = c = np.zeros((len(x), recurrent.shape[0]))
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = gate(f) * c + gate(i) * np.tanh(g)
        h = gate(o) * np.tanh(c)
    return h


@pytest.mark.parametrize("settings", [{"recurrent_activation": "hard_sigmoid"}, {}])
def test_gates_are_those_of_the_version(tmp_path, settings):
    weights = [normal(4, 12), normal(3, 12), normal(12)]
    config = functional(start(10, 4), row("LSTM", "lstm", "given", units=3, **settings))
    write(tmp_path / "m.h5", config, {"lstm": weights})
    assert np.abs(answers(tmp_path / "m.h5", X) - lstm(X, *weights)).max() < 1e-6


def test_hard_sigmoid_in_a_dense_layer(tmp_path):
    weights = [normal(4, 3), normal(3)]
    config = functional(start(4), row("Dense", "dense", "given", units=3, activation="hard_sigmoid"))
    write(tmp_path / "m.h5", config, {"dense": weights}, "2.11.0")
    assert np.abs(answers(tmp_path / "m.h5", X[:, 0]) - hard(X[:, 0] @ weights[0] + weights[1])).max() < 1e-6


def test_the_report_compares_with_the_answers_of_keras_2(tmp_path):
    weights = [3 * normal(4, 12), normal(3, 12), normal(12)]
    config = functional(
        start(10, 4),
        row("LSTM", "lstm", "given", units=3, recurrent_activation="hard_sigmoid"),
        row("Dense", "last", "lstm", units=3, activation="softmax"),
    )
    dense = [9 * normal(3, 3), normal(3)]
    write(tmp_path / "m.h5", config, {"lstm": weights, "last": dense})
    right = (lstm(X, *weights) @ dense[0] + dense[1]).argmax(1)
    np.savez(tmp_path / "x.npz", x=X, y=right)
    manifest = make(
        tmp_path / "m.h5",
        tmp_path / "m.orilla",
        ModelHints(task="classify"),
        "litert_fp32,onnx_fp32",
        calibration=str(tmp_path / "x.npz"),
    )
    assert manifest.report.metrics["accuracy"] == 1.0
    assert {variant.name for variant in manifest.variants} == {"litert_fp32", "onnx_fp32"}
    assert "m.h5 was written by Keras 2.2.4" in manifest.report.doubts[0]


@pytest.mark.parametrize("as_list", [False, True])
def test_sequential_without_an_input_layer(tmp_path, as_list):
    rows = [
        {"class_name": "Flatten", "config": {"name": "flat", "batch_input_shape": [None, 10, 4], "dtype": "float32"}},
        {"class_name": "Dense", "config": {"name": "dense", "units": 2}},
    ]
    config = {"class_name": "Sequential", "config": rows if as_list else {"name": "s", "layers": rows}}
    weights = [normal(40, 2), normal(2)]
    write(tmp_path / "m.h5", config, {"flat": [], "dense": weights}, "2.0.8")
    model = load(str(tmp_path / "m.h5"))
    assert model.inputs[0].shape == (None, 10, 4)
    assert model.predict(X, verbose=0) == pytest.approx(X.reshape(20, 40) @ weights[0] + weights[1], abs=1e-5)


def test_models_inside_models(tmp_path):
    """Test the structure of Teachable Machine's models: two nested Sequentials, the first around a functional model."""
    inner = functional(start(6, name="input_1"), row("Dense", "first", "input_1", units=5, activation="relu"))
    inner["config"]["name"] = "model2"
    front = {"class_name": "Sequential", "config": {"name": "front", "layers": [inner]}}
    dense = {"class_name": "Dense", "config": {"name": "second", "units": 3, "batch_input_shape": [None, 5]}}
    head = {"class_name": "Sequential", "config": {"name": "head", "layers": [dense]}}
    config = {"class_name": "Sequential", "config": {"name": "whole", "layers": [front, head]}}
    first, second = [normal(6, 5), normal(5)], [normal(5, 3), normal(3)]
    write(tmp_path / "m.h5", config, {"front": first, "head": second}, "2.4.0")
    x = normal(7, 6)
    right = np.maximum(x @ first[0] + first[1], 0) @ second[0] + second[1]
    assert answers(tmp_path / "m.h5", x) == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed"])
def test_settings_of_tensorflow_2(tmp_path, kind):
    inner = {
        "LSTM": layers.LSTM(5, name="a"),
        "GRU": layers.GRU(5, name="a"),
        "SimpleRNN": layers.SimpleRNN(5, name="a"),
        "Bidirectional": layers.Bidirectional(layers.LSTM(5), name="a"),
        "TimeDistributed": layers.TimeDistributed(layers.Dense(3), name="a"),
    }[kind]
    x = keras.Input((10, 4))
    model = keras.Model(x, inner(x))
    given = {"time_major": False, "implementation": 2, "dtype": "float32"}
    names = ("units", "recurrent_activation", "activation", "reset_after", "merge_mode")
    config = {key: value for key, value in inner.get_config().items() if key in names}
    if "layer" in inner.get_config():
        wrapped = inner.get_config()["layer"]
        settings = {key: wrapped["config"][key] for key in names if key in wrapped["config"]} | {"name": "b"}
        extra = given if kind == "Bidirectional" else {}
        config |= {"layer": {"class_name": wrapped["class_name"], "config": settings | extra}}
    else:
        config |= given
    write(tmp_path / "m.h5", functional(start(10, 4), row(kind, "a", "given", **config)), {"a": inner.get_weights()})
    assert np.abs(answers(tmp_path / "m.h5", X) - model.predict(X, verbose=0)).max() < 1e-6


def test_time_before_the_batch_is_refused(tmp_path):
    config = functional(start(10, 4), row("LSTM", "lstm", "given", units=3, time_major=True))
    write(tmp_path / "m.h5", config, {"lstm": []})
    refused(tmp_path / "m.h5", r"written by Keras 2\.2\.4\): lstm \(LSTM\): its time axis is before the batch axis")


@pytest.mark.parametrize(
    ("container", "second"), [("layers", "dense_1"), ("_layer_checkpoint_dependencies", "dense_2")]
)
def test_a_zip_file_of_keras_2(tmp_path, container, second):
    """Keras 2.12 to 2.14 count layers with weights twice, so the second Dense layer is `dense_2`."""
    config = functional(start(4), row("Dense", "a", "given", units=4), row("Dense", "b", "a", units=4))
    weights = {"dense": [normal(4, 4), normal(4)], second: [normal(4, 4), normal(4)]}
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for name, arrays in weights.items():
            for number, value in enumerate(arrays):
                file[f"{container}/{name}/vars/{number}"] = value
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
        archive.writestr("config.json", json.dumps(config | {"module": "keras.src.engine.functional"}))
        archive.writestr("model.weights.h5", data.getvalue())
    (first, one), (then, two) = weights.values()
    right = (X[:, 0] @ first + one) @ then + two
    assert answers(tmp_path / "m.keras", X[:, 0]) == pytest.approx(right, abs=1e-5)
    assert load_with_notes(str(tmp_path / "m.keras"))[1][0].startswith("m.keras was written by Keras 2.13.1")


def test_hdf5_under_the_name_of_a_zip_file(tmp_path):
    weights = [normal(4, 3), normal(3)]
    config = functional(start(4), row("Dense", "dense", "given", units=3))
    write(tmp_path / "m.keras", config, {"dense": weights}, "2.3.1")
    np.savez(tmp_path / "x.npz", x=X[:, 0])
    hints = ModelHints(task="tensor")
    make(tmp_path / "m.keras", tmp_path / "m.orilla", hints, "litert_fp32", calibration=str(tmp_path / "x.npz"))


def test_shared_layers_and_several_outputs(tmp_path):
    shared = row("Dense", "shared", units=3)
    shared["inbound_nodes"] = [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]
    difference = row("Subtract", "difference")
    difference["inbound_nodes"] = [[["shared", 0, 0, {}], ["shared", 1, 0, {}]]]
    config = functional(start(4, name="a"), start(4, name="b"), shared, difference, outputs=["difference", "shared"])
    kernel, bias = weights = [normal(4, 3), normal(3)]
    write(tmp_path / "m.h5", config, {"shared": weights})
    a, b = X[:, 0], X[:, 1]
    difference, first = answers(tmp_path / "m.h5", a, b)
    assert difference == pytest.approx((a - b) @ kernel, abs=1e-5)
    assert first == pytest.approx(a @ kernel + bias, abs=1e-5)


def test_channels_first_needs_no_gpu(tmp_path):
    config = functional(
        start(3, 8, 8),
        row("Conv2D", "conv", "given", filters=4, kernel_size=[3, 3], data_format="channels_first", activation="relu"),
        row("BatchNormalization", "norm", "conv", axis=1, epsilon=0.1),
        row("Flatten", "flat", "norm", data_format="channels_first"),
    )
    kernel, bias = normal(3, 3, 3, 4), normal(4)
    norm = [normal(4), normal(4), normal(4), np.abs(normal(4))]
    write(tmp_path / "m.h5", config, {"conv": [kernel, bias], "norm": norm})
    x = normal(2, 3, 8, 8)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    y = np.maximum(np.einsum("bchwij,ijcf->bhwf", windows, kernel) + bias, 0)
    y = (y - norm[2]) / np.sqrt(norm[3] + 0.1) * norm[0] + norm[1]
    assert np.abs(answers(tmp_path / "m.h5", x) - y.reshape(2, -1)).max() < 1e-4


def test_calls_of_tensorflow_functions_leave_for_both_formats(tmp_path):
    double = row("TFOpLambda", "tf.math.multiply", function="math.multiply")
    double["inbound_nodes"] = [["dense", 0, 0, {"y": 2.0, "name": None}]]
    one_less = row("TFOpLambda", "tf.math.subtract", function="math.subtract")
    one_less["inbound_nodes"] = [["_CONSTANT_VALUE", -1, 1.0, {"y": ["tf.math.multiply", 0, 0], "name": None}]]
    cut = row("SlicingOpLambda", "tf.__operators__.getitem", function="__operators__.getitem")
    spec = [{"start": None, "stop": None, "step": None}, {"start": 1, "stop": 3, "step": None}]
    cut["inbound_nodes"] = [["tf.math.subtract", 0, 0, {"slice_spec": spec}]]
    config = functional(start(4), row("Dense", "dense", "given", units=4), double, one_less, cut)
    kernel, bias = weights = [normal(4, 4), normal(4)]
    write(tmp_path / "m.h5", config, {"dense": weights}, "2.4.0")
    right = (1 - 2 * (X[:, 0] @ kernel + bias))[:, 1:3]
    assert answers(tmp_path / "m.h5", X[:, 0]) == pytest.approx(right, abs=1e-5)
    np.savez(tmp_path / "x.npz", x=X[:, 0])
    hints, data = ModelHints(task="tensor"), str(tmp_path / "x.npz")
    manifest = make(tmp_path / "m.h5", tmp_path / "m.orilla", hints, "litert_fp32,onnx_fp32", calibration=data)
    assert {variant.name for variant in manifest.variants} == {"litert_fp32", "onnx_fp32"}


def test_all_layers_that_cannot_be_read_are_listed_in_one_message(tmp_path):
    code = row("TFOpLambda", "tf.io.read_file", function="io.read_file")
    code["inbound_nodes"] = [["given", 0, 0, {}]]
    config = functional(
        start(4),
        row("Lambda", "my_lambda", "given", function=["code", None, None], function_type="lambda"),
        row("Swiglu", "own", "my_lambda"),
        row("IntegerLookup", "lookup", "own", vocabulary=[3, 5]),
        row("Dense", "dense", "lookup", units=2, activation="my_function"),
        code,
    )
    write(tmp_path / "m.h5", config, {}, "2.4.0")
    message = refused(tmp_path / "m.h5", r"my_lambda \(Lambda\): its Python code is not run")
    assert "lookup (IntegerLookup): it looks numbers up in a table" in message
    for part in ("own (Swiglu)", "my_function", "tf.io.read_file", "save it as a SavedModel"):
        assert part in message
    np.savez(tmp_path / "x.npz", x=X[:, 0])
    with pytest.raises(ConversionError, match="and export that folder"):  # The message is not truncated.
        make(tmp_path / "m.h5", tmp_path / "o", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz"))


def circle():
    first, second = row("Dense", "a", "b", units=2), row("Dense", "b", "a", units=2)
    return functional(start(4), first, second)


def nested(depth):
    return '{"class_name": "Sequential", "config": [' * depth + "]}" * depth


def huge():
    return functional(start(4), row("Dense", "dense", "given", units=10**12))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (circle(), "the graph contains a cycle"),
        (nested(30), "a Sequential in the file has no layers"),
        (nested(60), "models are nested more than 40 deep"),
        (nested(100_000), "its configuration is not valid JSON"),
        ("[]", "its configuration does not describe a model"),
        ('{"class_name": "Net", "config": {}}', "the class Net, whose Python code is not in the file"),
        (huge(), "is larger than all weights in the file"),
        (functional(start(4), row("Dense", "dense", "none", units=2)), "the graph refers to none"),
        (functional(start(4), row("Dense", "dense", "given", units=2)), r"the weights of dense are missing"),
        (functional(start(4), row("Dense", "dense", "given", units="many")), "dense"),
        (functional(start(4, ragged=True), row("Dense", "dense", "given", units=2)), "the input given is ragged"),
    ],
)
def test_hostile_configurations_give_one_line(tmp_path, config, match):
    write(tmp_path / "m.h5", config, {})
    refused(tmp_path / "m.h5", match)


def test_weights_of_other_shapes_or_in_other_files(tmp_path):
    config = functional(start(4), row("Dense", "dense", "given", units=2))
    path = tmp_path / "m.h5"
    write(path, config, {"dense": [normal(5, 2), normal(2)]})
    refused(
        path, r"the weights of the layer dense have the shapes \[5, 2\], \[2\] in the file, .* requires \[4, 2\], \[2\]"
    )
    write(path, config, {"dense": [normal(4, 2), normal(2)]})
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(path, "a") as file:
        name = "model_weights/dense/dense/weight_0:0"
        del file[name]
        file[name] = h5py.ExternalLink("other.h5", "/x")
    refused(path, "is a link to another file, which is not read")
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_dataset(name, (4, 2), "f4", external=[(str(tmp_path / "secret"), 0, 32)])
    refused(path, "lies in another file, which is not read")
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_dataset(name, (1 << 20, 1 << 12), "f4", chunks=(64, 64))
    refused(path, "declares .* bytes, but the file contains fewer")


@pytest.mark.parametrize("merge", ["Add", "Concatenate"])
def test_a_step_counts_only_if_all_masks_contain_it(tmp_path, merge):
    a, b = (RNG.integers(0, 3, (8, 6)).astype(np.int32) for _ in range(2))
    a[:, 0] = b[:, 0] = 1
    joined = row(merge, "joined")
    joined["inbound_nodes"] = [[["first", 0, 0, {}], ["second", 0, 0, {}]]]
    config = functional(
        start(6, name="a"),
        start(6, name="b"),
        row("Embedding", "first", "a", input_dim=3, output_dim=2, mask_zero=True),
        row("Embedding", "second", "b", input_dim=3, output_dim=2, mask_zero=True),
        joined,
        row("GlobalAveragePooling1D", "mean", "joined"),
    )
    tables = [normal(3, 2), normal(3, 2)]
    write(tmp_path / "m.h5", config, {"first": tables[:1], "second": tables[1:]}, "2.11.0")
    steps = [table[tokens] for table, tokens in zip(tables, (a, b), strict=True)]
    values = steps[0] + steps[1] if merge == "Add" else np.concatenate(steps, axis=-1)
    used = ((a != 0) & (b != 0))[..., None]
    right = (values * used).sum(axis=1) / used.sum(axis=1)
    assert answers(tmp_path / "m.h5", a, b) == pytest.approx(right, abs=1e-5)
    assert [tensor.dtype for tensor in load(str(tmp_path / "m.h5")).inputs] == ["int32", "int32"]
