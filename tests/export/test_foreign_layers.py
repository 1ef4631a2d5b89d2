"""Exports of models that Orilla did not train, with various layers, data types and precisions."""

import keras
import numpy as np
import pytest
from helpers.foreign import PICTURES, RNG, float_error, make, picture_model, refused
from keras import layers

from orilla.devices.errors import ConfigError, ConversionError
from orilla.export.convert.keras_litert import convert
from orilla.export.model_hints import ModelHints
from orilla.runtime.model import Model


@keras.saving.register_keras_serializable("robot")
class Odd(keras.layers.Layer):
    def call(self, x):
        return x


def test_a_custom_layer_is_named(tmp_path):
    keras.Sequential([keras.Input((4,)), Odd(), layers.Dense(2)]).save(tmp_path / "odd.keras")
    np.savez(tmp_path / "x.npz", x=np.ones((20, 4), np.float32))
    with pytest.raises(ConversionError, match=r"has the layer .*Odd, which Keras does not know"):
        make(
            tmp_path / "odd.keras",
            tmp_path / "m.orilla",
            ModelHints(task="tensor"),
            calibration=str(tmp_path / "x.npz"),
        )


def test_what_an_answer_ends_in_is_seen_behind_layers_that_compute_nothing(tmp_path, arrays):
    x = keras.Input((24, 32, 3))
    answer = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(x)))
    model = keras.Model(x, layers.Activation("linear")(layers.Dropout(0.1)(answer)))
    model.save(tmp_path / "m.keras")
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="classify"), calibration=str(arrays / "x.npz")
    )
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = opened(PICTURES[0], color="rgb").result.scores
    assert answers == pytest.approx(model.predict_on_batch(PICTURES[:1].astype(np.float32))[0], abs=1e-5)
    assert float_error(manifest) < 1e-5


def test_an_answer_made_by_an_operation_gets_no_second_softmax(tmp_path):
    x = keras.Input((6,))
    model = keras.Model(x, keras.ops.softmax(layers.Dense(3, kernel_initializer="orthogonal")(x)))
    model.save(tmp_path / "m.keras")
    arrays = 3 * RNG.normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=arrays)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="classify"), calibration=str(tmp_path / "x.npz"))
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = opened(arrays[0]).result.scores
    assert answers == pytest.approx(model.predict_on_batch(arrays[:1])[0], abs=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(4, activation="gelu"),
        layers.Normalization(mean=[2.0] * 6, variance=[3.0] * 6),
        layers.LayerNormalization(),
    ],
)
def test_layers_that_leave_for_both_formats(tmp_path, layer):
    model = keras.Sequential([keras.Input((6,)), layer, layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 6)).astype(np.float32))
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz")
    )
    assert [variant.name for variant in manifest.variants] == ["litert_fp32", "onnx_fp32"]
    assert float_error(manifest) < 1e-5


def test_a_grouped_convolution(tmp_path, arrays):
    model = picture_model(layers.Rescaling(1 / 255), layers.Conv2D(12, 3), layers.Conv2D(8, 3, groups=4))
    model.save(tmp_path / "m.keras")
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32,onnx_wi8_ai8"
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="classify"),
        recipes,
        calibration=str(arrays / "x.npz"),
    )
    assert [variant.name for variant in manifest.variants] == recipes.split(",")
    assert float_error(manifest) < 1e-5


def test_a_recurrent_layer_inside_another_is_a_loop(tmp_path):
    model = keras.Sequential([keras.Input((3, 5, 4)), layers.TimeDistributed(layers.LSTM(40)), layers.Flatten()])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 3, 5, 4)).astype(np.float32))
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor"),
        "all",
        calibration=str(tmp_path / "x.npz"),
    )
    assert "is called inside another layer" in manifest.report.not_applicable["litert_fp32_fused"]
    assert {"litert_fp32", "litert_wi8_afp32", "onnx_fp32"} <= {variant.name for variant in manifest.variants}
    assert set(manifest.report.failed) == {"onnx_wi8_afp32"}  # The weights in the loop cannot be quantised.
    assert float_error(manifest) < 1e-5


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_half_precision_is_exported_as_it_computes_in_float32(tmp_path, arrays, policy):
    keras.config.set_dtype_policy(policy)
    try:
        inner = keras.Sequential([keras.Input((24, 32, 3)), layers.Conv2D(4, 3, activation="relu")], name="mixed_0")
        model = keras.Sequential(
            [
                keras.Input((24, 32, 3)),
                layers.Rescaling(1 / 255),
                inner,
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, activation="softmax", dtype="float32"),
            ]
        )
        model.save(tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="classify", input_range="0..255"),
        calibration=str(arrays / "x.npz"),
    )
    assert float_error(manifest) < 1e-5


def test_statistics_of_a_normalisation_survive_half_precision(tmp_path):
    arrays = RNG.normal(50, 10, (60, 4)).astype(np.float32)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((4,)), layers.Normalization(), layers.Dense(2, dtype="float32")])
        model.layers[0].adapt(arrays)
        model.save(tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    np.savez(tmp_path / "x.npz", x=arrays)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(tmp_path / "x.npz"))
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = opened(arrays[0]).result.arrays["output"]
    assert answers == pytest.approx(model.predict_on_batch(arrays[:1])[0], abs=0.01)


def test_large_weights_and_those_that_are_moved(tmp_path):
    """Kernels with more than half a million values are added to the ONNX file after the conversion by tf2onnx."""
    x = keras.Input((8, 8, 128))
    y = layers.Conv2D(512, 3, use_bias=False)(x)
    y = layers.Flatten()(layers.BatchNormalization()(y))
    model = keras.Model(x, layers.Dense(32)(y))
    model.layers[2].set_weights([RNG.uniform(0.5, 2, 512) for _ in range(4)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 8, 8, 128)).astype(np.float32))
    recipes = "litert_fp32,onnx_fp32,onnx_wi8_ai8"
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor"),
        recipes,
        calibration=str(tmp_path / "x.npz"),
    )
    assert float_error(manifest) < 1e-4
    sizes = {variant.name: manifest.files[variant.file].size for variant in manifest.variants}
    assert sizes["onnx_fp32"] < 1.02 * 4 * model.count_params()
    assert sizes["onnx_wi8_ai8"] < 0.27 * sizes["onnx_fp32"]


def test_what_a_quantiser_leaves_in_float_is_no_small_variant(tmp_path):
    model = keras.Sequential([keras.Input((8, 5)), layers.GRU(6)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(30, 8, 5)).astype(np.float32))
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor"),
        "litert_fp32,litert_wi8_afp32,onnx_wi8_afp32",
        calibration=str(tmp_path / "x.npz"),
    )
    assert [variant.name for variant in manifest.variants] == ["litert_fp32"]
    assert "too small to be quantised" in manifest.report.failed["litert_wi8_afp32"]
    assert "does not support the operators with most of the weights" in manifest.report.failed["onnx_wi8_afp32"]


def test_a_model_that_is_quantised_already(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, name="wide")])
    model.quantize("int8")
    refused(tmp_path, model, ConversionError, r"layer wide of m\.keras is already quantised \(int8\)")


def test_a_device_that_has_no_operator_for_a_layer(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, name="odd", activation="gelu")])
    hints = ModelHints(task="tensor", device="coral")
    refused(
        tmp_path,
        model,
        ConversionError,
        "coral cannot run the model: odd: the Edge TPU does not run the activation gelu",
        hints,
    )
    refused(tmp_path, model, ConfigError, "unknown device 'tpu'", ModelHints(task="tensor", device="tpu"))
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 16)).astype(np.float32))
    assert make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="tensor", device="pi4"),
        calibration=str(tmp_path / "x.npz"),
    )
    (tmp_path / "m.orilla").unlink()
    x = keras.Input((4, 6))
    hidden = keras.Model(x, keras.ops.gelu(layers.Dense(3)(x)))
    refused(tmp_path, hidden, ConversionError, "coral cannot run the model: .*the Edge TPU does not run Gelu", hints)
    inside = keras.Sequential([keras.Input((3, 4, 6)), layers.TimeDistributed(layers.GRU(2, name="deep"))])
    refused(tmp_path, inside, ConversionError, "coral cannot run the model: deep: the Edge TPU does not run GRU", hints)


@pytest.mark.parametrize("name", ["my model", "größe", "_hidden", "a:b"])
def test_names_that_are_no_scopes_of_tensorflow(name, tmp_path):
    x = keras.Input((5,))
    keras.Model(x, keras.layers.Dense(2, name=name)(x), name=name).save(tmp_path / "model.keras")
    convert(str(tmp_path / "model.keras"), str(tmp_path / "model.tflite"))
    assert (tmp_path / "model.tflite").stat().st_size > 0


def test_a_scalar_input_keeps_its_shape(tmp_path):
    vector, scalar = keras.Input((8,), name="vector"), keras.Input((), name="scalar")
    joined = keras.layers.Concatenate()([vector, keras.layers.Reshape((1,))(scalar)])
    keras.Model([vector, scalar], keras.layers.Dense(2)(joined)).save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    samples = {"vector": rng.normal(size=(30, 8)), "scalar": rng.normal(size=30)}
    np.savez(tmp_path / "a.npz", **{name: array.astype(np.float32) for name, array in samples.items()})
    hints = ModelHints(task="tensor")
    recipes = "litert_fp32,onnx_fp32,litert_wi8_ai8"
    manifest = make(tmp_path / "m.keras", tmp_path / "m.orilla", hints, recipes, calibration=str(tmp_path / "a.npz"))
    assert not manifest.report.failed
    with Model.open(tmp_path / "m.orilla") as model:
        first = {name: array[0].astype(np.float32) for name, array in samples.items()}
        moved = {**first, "scalar": first["scalar"] + np.float32(1)}
        answers = [next(iter(model(given).result.arrays.values())) for given in (first, moved)]
    assert float_error(manifest) < 1e-5
    assert not np.allclose(*answers), "the scalar has an effect"
