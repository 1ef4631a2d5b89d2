"""Models that Orilla did not train: `.keras`, Keras 2 `.h5`, SavedModel; of pictures and of arrays."""

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from orilla.devices.errors import ConfigError, ConversionError, DataError
from orilla.export.export import ExportOptions, export
from orilla.export.subject import Told
from orilla.runtime.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.model import Model
from orilla.runtime.verify import verify

RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (40, 24, 32, 3), np.uint8)


def picture_model(*front, classes=3, activation="softmax", channels=3):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((24, 32, channels)),
            *front,
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=3)),
        ]
    )


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    np.savez(folder / "x.npz", x=PICTURES)
    np.savez(folder / "xy.npz", x=PICTURES, y=RNG.integers(0, 3, 40))
    return folder


def make(model, out, told, recipes="litert_fp32,onnx_fp32", **options):
    return export(model, out, ExportOptions(recipes=recipes, told=told, **options))


def float_error(manifest):
    return max(
        variant.check.max_error
        for variant in manifest.variants
        if variant.name in ("litert_fp32", "litert_fp32_fused", "onnx_fp32")
    )


@pytest.mark.parametrize(
    ("pixels", "scaled"),
    [
        ("0..255", lambda x: x),
        ("0..1", lambda x: x / 255),
        ("-1..1", lambda x: x / 127.5 - 1),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_pixels_are_brought_to_what_a_model_was_trained_on(tmp_path, arrays, pixels, scaled):
    model = picture_model()
    model.save(tmp_path / "m.keras")
    told = Told(task="classify", pixels=pixels)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", told, recipes="litert_fp32", calibration=str(arrays / "x.npz"))
    expected = model.predict_on_batch(scaled(PICTURES[:5].astype(np.float64)).astype(np.float32))
    with Model.open(tmp_path / "m.orilla") as opened:
        found = [opened(picture, color="rgb").result.scores for picture in PICTURES[:5]]
    assert np.abs(np.stack(found) - expected).max() < 1e-4


def test_what_pixels_must_be_told_unless_the_model_scales_them(tmp_path, arrays):
    picture_model().save(tmp_path / "plain.keras")
    with pytest.raises(
        ConfigError, match=r"which pixel values was plain.keras trained on\? give --pixels 0..255, 0..1"
    ):
        make(tmp_path / "plain.keras", tmp_path / "m.orilla", Told(task="classify"), calibration=str(arrays / "x.npz"))
    picture_model(layers.Rescaling(1 / 255)).save(tmp_path / "own.keras")
    made = make(tmp_path / "own.keras", tmp_path / "m.orilla", Told(task="classify"), calibration=str(arrays / "x.npz"))
    assert float_error(made) < 1e-5


def test_grey_logits_and_labels(tmp_path, arrays):
    """A model of grey pictures that ends in logits takes colour and answers probabilities."""
    picture_model(activation=None, channels=1).save(tmp_path / "grey.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\nhen\n")
    told = Told(task="classify", pixels="0..1", labels=tmp_path / "labels.txt")
    made = make(tmp_path / "grey.keras", tmp_path / "m.orilla", told, calibration=str(arrays / "xy.npz"))
    assert made.labels == ("cat", "dog", "hen")
    assert made.report.truth == "labels"
    with Model.open(tmp_path / "m.orilla") as opened:
        result = opened(PICTURES[0]).result
    assert abs(result.scores.sum() - 1) < 1e-5
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ConfigError, match="has 2 lines, the model 3 classes"):
        make(tmp_path / "grey.keras", tmp_path / "n.orilla", told, calibration=str(arrays / "x.npz"))


def test_a_folder_of_pictures_serves_for_both_and_never_the_same_ones(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(PICTURES):
        cv2.imwrite(str(folder / f"{index:02d}.png"), picture)
    picture_model().save(tmp_path / "m.keras")
    told = Told(task="classify", pixels="0..1")
    made = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", told, "litert_fp32,litert_wi8_ai8", calibration=str(folder)
    )
    report = made.report
    assert (report.truth, report.count, report.calibration_count) == ("original", 8, 32)
    assert report.metrics["accuracy"] == 1.0
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), made.variants))


def test_keras_2_and_saved_model(tmp_path, arrays):
    model = picture_model()
    model.save(tmp_path / "m.h5")
    model.export(tmp_path / "saved", verbose=False)
    expected = model.predict_on_batch(PICTURES[:3].astype(np.float32) / 255)
    for given in ("m.h5", "saved"):
        out = tmp_path / f"{given}.orilla"
        told = Told(task="classify", pixels="0..1")
        made = make(
            tmp_path / given, out, told, "litert_fp32,litert_wi8_ai8,onnx_fp32", calibration=str(arrays / "x.npz")
        )
        assert float_error(made) < 1e-5
        with Model.open(out, variant="litert_fp32") as opened:
            found = [opened(picture, color="rgb").result.scores for picture in PICTURES[:3]]
        assert np.abs(np.stack(found) - expected).max() < 1e-4


def test_axes_that_are_not_fixed_are_named_and_can_be_given(tmp_path, arrays):
    x = keras.Input((None, None, 3))
    keras.Model(x, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))).save(tmp_path / "m.keras")
    options = {"calibration": str(arrays / "x.npz")}
    with pytest.raises(ConversionError, match=r"axis 1 of the input image, \[1,\?,\?,3\], is not fixed"):
        make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify", pixels="0..1"), **options)
    told = Told(task="classify", pixels="0..1", input=(16, 20))
    assert make(tmp_path / "m.keras", tmp_path / "m.orilla", told, **options).preprocess.size_hw == (16, 20)


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory):
    """Two inputs, two outputs, of different shapes and types."""
    folder = tmp_path_factory.mktemp("tensor")
    keras.utils.set_random_seed(6)
    lidar, kind = keras.Input((16,), name="lidar"), keras.Input((3,), dtype="int32", name="kind")
    x = layers.Concatenate()(
        [layers.Dense(128, activation="relu")(lidar), layers.Flatten()(layers.Embedding(5, 2)(kind))]
    )
    steer, speed = layers.Dense(2, name="steer")(x), layers.Dense(1, name="speed")(x)
    model = keras.Model([lidar, kind], [steer, speed])
    model.save(folder / "m.keras")
    given = {"lidar": RNG.normal(size=(60, 16)).astype(np.float32), "kind": RNG.integers(0, 5, (60, 3), np.int32)}
    np.savez(folder / "x.npz", **given)
    return folder, model, given


def test_arrays_in_arrays_out(two_by_two, tmp_path):
    folder, model, given = two_by_two
    recipes = "litert_fp32,litert_wi8_afp32,onnx_fp32"
    made = make(
        folder / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), recipes, calibration=str(folder / "x.npz")
    )
    assert [one.name for one in made.preprocess.outputs] == ["speed", "steer"]
    assert float_error(made) < 1e-5
    assert made.variant("litert_wi8_afp32").check.metrics["cosine"] > 0.99
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), made.variants))
    steer, speed = model.predict_on_batch([given["lidar"][:1], given["kind"][:1]])
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as opened:
            answer = opened({"lidar": given["lidar"][0], "kind": given["kind"][0]}).result.arrays
            with pytest.raises(DataError, match="expected the arrays kind, lidar, got lidar"):
                opened({"lidar": given["lidar"][0]})
            with pytest.raises(DataError, match=r"array lidar is \[3\], the network takes \[16\]"):
                opened({"lidar": given["lidar"][0][:3], "kind": given["kind"][0]})
        assert np.abs(answer["steer"] - steer[0]).max() < 1e-5
        assert np.abs(answer["speed"] - speed[0]).max() < 1e-5


def test_one_array_and_its_truth(tmp_path):
    model = keras.Sequential([keras.Input((10,)), layers.Dense(4)])
    model.save(tmp_path / "m.keras")
    x = RNG.normal(size=(50, 10)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", x=x, y=model.predict_on_batch(x) + 0.01)
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="tensor"),
        "litert_wi8_ai8",
        calibration=str(tmp_path / "xy.npz"),
    )
    assert made.report.truth == "labels"
    assert 0.99 < made.report.metrics["cosine"] < 1
    np.savez(tmp_path / "bad.npz", x=x, y=np.zeros((50, 3), np.float32))
    with pytest.raises(DataError, match="y of bad has 3 numbers for each sample, the model answers 4"):
        make(tmp_path / "m.keras", tmp_path / "n.orilla", Told(task="tensor"), calibration=str(tmp_path / "bad.npz"))


def test_a_classifier_of_arrays(tmp_path):
    model = keras.Sequential([keras.Input((8, 24)), layers.LSTM(64), layers.Dense(3, activation="softmax")])
    model.save(tmp_path / "m.keras")
    x = RNG.normal(size=(30, 8, 24)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", x=x, y=model.predict_on_batch(x).argmax(axis=1))
    recipes = "litert_fp32,litert_fp32_fused,litert_wi8_ai8_fused,litert_wi8_afp32_fused,onnx_wi8_afp32"
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="classify"),
        recipes,
        calibration=str(tmp_path / "xy.npz"),
    )
    assert [variant.name for variant in made.variants] == recipes.split(",")
    assert made.report.metrics["accuracy"] == 1.0
    with Model.open(tmp_path / "m.orilla") as opened:
        assert opened(x[0]).result.top.score > 0.2


@pytest.mark.parametrize(
    ("name", "content", "told", "error", "match"),
    [
        ("m.keras", b"nonsense", Told(task="tensor"), ConversionError, "m.keras as a Keras model: it is no zip file"),
        ("m.h5", b"nonsense", Told(task="tensor"), ConversionError, "m.h5 as a Keras model: it is no HDF5 file"),
        ("m.tflite", b"x", Told(task="tensor"), DataError, "m.tflite is no Keras model"),
        ("none.keras", None, Told(task="tensor"), DataError, "no such model"),
        ("m.keras", b"x", Told(), ConfigError, r"what is m.keras for\? give --task segment, classify, text, tensor"),
        ("m.keras", b"x", Told(task="detect"), ConfigError, "unknown task 'detect'"),
        ("m.keras", b"x", Told(task="classify", pixels="bgr"), ConfigError, "unknown --pixels 'bgr'"),
    ],
)
def test_what_is_no_model(tmp_path, name, content, told, error, match):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=match) as caught:
        make(tmp_path / name, tmp_path / "out.orilla", told, calibration="x.npz")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.orilla").exists()


def test_weights_and_data_that_are_no_numbers(tmp_path, arrays):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.layers[0].set_weights([np.full((4, 2), np.nan), np.zeros(2)])
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ConversionError, match="holds NaN or infinity"):
        make(tmp_path / "nan.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(arrays / "x.npz"))
    x = np.ones((20, 4), np.float32)
    x[3, 2] = np.inf
    np.savez(tmp_path / "inf.npz", x=x)
    model.layers[0].set_weights([np.ones((4, 2)), np.zeros(2)])
    model.save(tmp_path / "good.keras")
    with pytest.raises(DataError, match=r"inf\.npz: x holds NaN or infinity"):
        make(tmp_path / "good.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "inf.npz"))
    np.savez(tmp_path / "same.npz", x=np.ones((20, 4), np.float32))
    same = {"recipes": "litert_wi8_ai8", "calibration": str(tmp_path / "same.npz")}
    with pytest.raises(DataError, match="is the same number everywhere"):
        make(tmp_path / "good.keras", tmp_path / "m.orilla", Told(task="tensor"), **same)
    with pytest.raises(DataError, match=r"holds pictures, the model takes arrays"):
        make(tmp_path / "good.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(arrays / "x.npz"))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.arange(40), r"sample 3 has class 3: there are classes 0 to 2"),
        (np.full(40, -1), "has class -1"),
        (np.float32(1), r"y is \[\] float32"),
        (np.zeros((40, 3), np.int64), r"of pictures give class numbers \[N\] or masks"),
        (np.array(["cat"] * 40), "give numbers, one row for each sample"),
    ],
)
def test_truths_that_are_none(tmp_path, y, match):
    picture_model().save(tmp_path / "m.keras")
    np.savez(tmp_path / "xy.npz", x=PICTURES, y=y)
    with pytest.raises(DataError, match=match):
        make(
            tmp_path / "m.keras",
            tmp_path / "m.orilla",
            Told(task="classify", pixels="0..1"),
            "litert_fp32",
            calibration=str(tmp_path / "xy.npz"),
        )


def test_data_without_labels_measures_no_accuracy(tmp_path, arrays, capsys):
    picture_model().save(tmp_path / "m.keras")
    out = tmp_path / "m.orilla"
    made = make(
        tmp_path / "m.keras",
        out,
        Told(task="classify", pixels="0..1"),
        "litert_fp32",
        calibration=str(arrays / "x.npz"),
    )
    assert made.report.truth == "original"
    assert main(["verify", str(out), "--data", str(arrays / "x.npz")]) == 2
    assert "has no labels" in capsys.readouterr().err
    assert main(["verify", str(out), "--data", str(arrays / "xy.npz")]) == 0


@keras.saving.register_keras_serializable("robot")
class Odd(keras.layers.Layer):
    def call(self, x):
        return x


def test_a_custom_layer_is_named(tmp_path):
    keras.Sequential([keras.Input((4,)), Odd(), layers.Dense(2)]).save(tmp_path / "odd.keras")
    np.savez(tmp_path / "x.npz", x=np.ones((20, 4), np.float32))
    with pytest.raises(ConversionError, match=r"has the layer .*Odd, which Keras doesn't know"):
        make(tmp_path / "odd.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))


def test_what_an_answer_ends_in_is_seen_behind_layers_that_compute_nothing(tmp_path, arrays):
    x = keras.Input((24, 32, 3))
    answer = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(x)))
    model = keras.Model(x, layers.Activation("linear")(layers.Dropout(0.1)(answer)))
    model.save(tmp_path / "m.keras")
    made = make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify"), calibration=str(arrays / "x.npz"))
    with Model.open(tmp_path / "m.orilla") as opened:
        found = opened(PICTURES[0], color="rgb").result.scores
    assert found == pytest.approx(model.predict_on_batch(PICTURES[:1].astype(np.float32))[0], abs=1e-5)
    assert float_error(made) < 1e-5


def test_several_inputs_that_end_in_logits(tmp_path):
    one, other = keras.Input((4,), name="one"), keras.Input((5,), name="other")
    model = keras.Model([one, other], layers.Dense(3)(layers.Concatenate()([one, other])))
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", one=RNG.normal(size=(40, 4)), other=RNG.normal(size=(40, 5)))
    made = make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify"), calibration=str(tmp_path / "x.npz"))
    assert float_error(made) < 1e-5
    with Model.open(tmp_path / "m.orilla") as opened:
        scores = opened({"one": np.ones(4), "other": np.ones(5)}).result.scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_model_that_takes_bytes(tmp_path, arrays):
    x = keras.Input((24, 32, 3), dtype="uint8")
    y = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(x))
    model = keras.Model(x, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(y)))
    model.save(tmp_path / "m.keras")
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32"
    made = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify"), recipes, calibration=str(arrays / "x.npz")
    )
    assert [one.name for one in made.variants] == recipes.split(",")
    assert float_error(made) < 1e-5


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
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="classify", pixels="0..255"),
        calibration=str(arrays / "x.npz"),
    )
    assert float_error(made) < 1e-5


@pytest.mark.parametrize("shape", [(), (2, 3, 2, 2, 2)])
def test_arrays_of_any_number_of_axes(tmp_path, shape):
    size = int(np.prod(shape))
    model = keras.Sequential([keras.Input((10,)), layers.Dense(size), layers.Reshape(shape)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 10)).astype(np.float32))
    made = make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))
    assert float_error(made) < 1e-5
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), made.variants))


def test_large_weights_and_those_that_are_moved(tmp_path):
    """Kernels of more than half a million numbers take a way of their own into ONNX."""
    x = keras.Input((8, 8, 128))
    y = layers.Conv2D(512, 3, use_bias=False)(x)
    y = layers.Flatten()(layers.BatchNormalization()(y))
    model = keras.Model(x, layers.Dense(32)(y))
    model.layers[2].set_weights([RNG.uniform(0.5, 2, 512) for _ in range(4)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 8, 8, 128)).astype(np.float32))
    recipes = "litert_fp32,onnx_fp32,onnx_wi8_ai8"
    made = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), recipes, calibration=str(tmp_path / "x.npz")
    )
    assert float_error(made) < 1e-4
    sizes = {one.name: made.files[one.file].size for one in made.variants}
    assert sizes["onnx_fp32"] < 1.02 * 4 * model.count_params()
    assert sizes["onnx_wi8_ai8"] < 0.27 * sizes["onnx_fp32"]


def refused(tmp_path, model, error, match, told=None, **options):
    model.save(tmp_path / "m.keras")
    with pytest.raises(error, match=match) as caught:
        make(tmp_path / "m.keras", tmp_path / "m.orilla", told or Told(task="tensor"), **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.orilla").exists()


def test_a_model_that_is_quantised_already(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, name="wide")])
    model.quantize("int8")
    refused(tmp_path, model, ConversionError, r"layer wide of m\.keras is quantised already \(int8\)")


def test_a_device_that_has_no_operator_for_a_layer(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, name="odd", activation="gelu")])
    told = Told(task="tensor", device="coral")
    refused(tmp_path, model, ConversionError, "not for coral: odd: activation gelu is not mapped", told)
    refused(tmp_path, model, ConfigError, "unknown device 'tpu'", Told(task="tensor", device="tpu"))
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 16)).astype(np.float32))
    assert make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="tensor", device="pi4"),
        calibration=str(tmp_path / "x.npz"),
    )
    (tmp_path / "m.orilla").unlink()
    x = keras.Input((4, 6))
    hidden = keras.Model(x, keras.ops.gelu(layers.Dense(3)(x)))
    refused(tmp_path, hidden, ConversionError, "not for coral: .*Gelu is not mapped", told)
    inside = keras.Sequential([keras.Input((3, 4, 6)), layers.TimeDistributed(layers.GRU(2, name="deep"))])
    refused(tmp_path, inside, ConversionError, "not for coral: deep: GRU is not mapped", told)


def test_types_that_not_every_precision_takes(tmp_path):
    x = keras.Input((3,), dtype="bool", name="flags")
    model = keras.Model(x, layers.Dense(2)(keras.ops.cast(x, "float32")))
    refused(tmp_path, model, ConversionError, "the input x is bool: take float32, int32, int64, and cast inside")


def test_calibration_of_another_kind_than_what_is_checked_on(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8)])
    x = RNG.normal(size=(40, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "raw.npz", x=255 * x)
    refused(
        tmp_path,
        model,
        DataError,
        r"calibration data raw: x goes up to \d+, in x to [\d.]+ \(medians\): calibrate on samples of the same kind",
        recipes="litert_wi8_ai8",
        calibration=str(tmp_path / "raw.npz"),
        validation=str(tmp_path / "x.npz"),
    )


def test_one_file_under_two_names_is_divided(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 16)).astype(np.float32))
    (tmp_path / "other.npz").symlink_to(tmp_path / "x.npz")
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="tensor"),
        "litert_wi8_ai8",
        calibration=str(tmp_path / "x.npz"),
        validation=str(tmp_path / "other.npz"),
    )
    assert (made.report.count, made.report.calibration_count) == (8, 32)


def test_an_answer_made_by_an_operation_gets_no_second_softmax(tmp_path):
    x = keras.Input((6,))
    model = keras.Model(x, keras.ops.softmax(layers.Dense(3, kernel_initializer="orthogonal")(x)))
    model.save(tmp_path / "m.keras")
    given = 3 * RNG.normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=given)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify"), calibration=str(tmp_path / "x.npz"))
    with Model.open(tmp_path / "m.orilla") as opened:
        found = opened(given[0]).result.scores
    assert found == pytest.approx(model.predict_on_batch(given[:1])[0], abs=1e-5)


def test_statistics_of_a_normalisation_survive_half_precision(tmp_path):
    given = RNG.normal(50, 10, (60, 4)).astype(np.float32)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((4,)), layers.Normalization(), layers.Dense(2, dtype="float32")])
        model.layers[0].adapt(given)
        model.save(tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    np.savez(tmp_path / "x.npz", x=given)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))
    with Model.open(tmp_path / "m.orilla") as opened:
        found = opened(given[0]).result.arrays["output"]
    assert found == pytest.approx(model.predict_on_batch(given[:1])[0], abs=0.01)


def test_inputs_that_come_by_name(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"b": b, "a": a}, layers.Dense(2)(layers.Concatenate()([a, b])))
    model.save(tmp_path / "m.keras")
    given = {"a": RNG.normal(size=(40, 3)).astype(np.float32), "b": RNG.normal(size=(40, 2)).astype(np.float32)}
    np.savez(tmp_path / "x.npz", **given)
    made = make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))
    assert float_error(made) < 1e-5
    with Model.open(tmp_path / "m.orilla") as opened:
        found = opened({name: array[0] for name, array in given.items()}).result.arrays["output"]
    assert found == pytest.approx(model.predict_on_batch({n: x[:1] for n, x in given.items()})[0], abs=1e-5)


def test_a_recurrent_layer_inside_another_is_a_loop(tmp_path):
    model = keras.Sequential([keras.Input((3, 5, 4)), layers.TimeDistributed(layers.LSTM(40)), layers.Flatten()])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(40, 3, 5, 4)).astype(np.float32))
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="tensor"),
        "all",
        calibration=str(tmp_path / "x.npz"),
    )
    assert "is called inside another layer" in made.report.unfit["litert_fp32_fused"]
    assert {"litert_fp32", "litert_wi8_afp32", "onnx_fp32"} <= {one.name for one in made.variants}
    assert set(made.report.refused) == {"onnx_wi8_afp32"}  # weights in the loop stay in float
    assert float_error(made) < 1e-5


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
    made = make(tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))
    assert [one.name for one in made.variants] == ["litert_fp32", "onnx_fp32"]
    assert float_error(made) < 1e-5


@pytest.mark.parametrize("saved", [False, True])
def test_outputs_have_the_names_of_their_dictionary(tmp_path, saved):
    x = keras.Input((6,))
    hidden = layers.Dense(4)(x)
    model = keras.Model(x, {"zeta": layers.Dense(2)(hidden), "alpha": hidden, "again": hidden})
    given = tmp_path / ("saved" if saved else "m.keras")
    model.export(given, verbose=False) if saved else model.save(given)
    x = RNG.normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    made = make(given, tmp_path / "m.orilla", Told(task="tensor"), calibration=str(tmp_path / "x.npz"))
    assert float_error(made) < 1e-5
    expected = model.predict_on_batch(x[:1])
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as opened:
            found = opened(x[0]).result.arrays
        assert {name: pytest.approx(array[0], abs=1e-5) for name, array in expected.items()} == found


def test_a_vocabulary_of_another_layout_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((12,), dtype="int32"), layers.Embedding(50, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )
    told = Told(task="text", vocabulary=tmp_path / "v.txt")
    for words, match in (("[UNK]\nthe\nfilm\n", r"line 1 of .* is '\[UNK\]': give words only"), ("\nthe\n", "line 1")):
        (tmp_path / "v.txt").write_text(words)
        refused(tmp_path, model, ConfigError, match, told)


def test_what_a_quantiser_leaves_in_float_is_no_small_variant(tmp_path):
    model = keras.Sequential([keras.Input((8, 5)), layers.GRU(6)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(30, 8, 5)).astype(np.float32))
    made = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        Told(task="tensor"),
        "litert_fp32,litert_wi8_afp32,onnx_wi8_afp32",
        calibration=str(tmp_path / "x.npz"),
    )
    assert [one.name for one in made.variants] == ["litert_fp32"]
    assert "too small to be quantised" in made.report.refused["litert_wi8_afp32"]
    assert "no operator for most of the weights" in made.report.refused["onnx_wi8_afp32"]


def test_a_grouped_convolution(tmp_path, arrays):
    model = picture_model(layers.Rescaling(1 / 255), layers.Conv2D(12, 3), layers.Conv2D(8, 3, groups=4))
    model.save(tmp_path / "m.keras")
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32,onnx_wi8_ai8"
    made = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", Told(task="classify"), recipes, calibration=str(arrays / "x.npz")
    )
    assert [one.name for one in made.variants] == recipes.split(",")
    assert float_error(made) < 1e-5
