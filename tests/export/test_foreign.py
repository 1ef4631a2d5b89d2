"""Models for images and arrays that Orilla did not train, as `.keras`, Keras 2 `.h5` and SavedModel."""

import cv2
import keras
import numpy as np
import pytest
from helpers.foreign import PICTURES, float_error, make, picture_model, refused
from helpers.wrong_files import zipped
from keras import layers

from orilla.devices.errors import ConfigError, ConversionError, DataError
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.model import Model
from orilla.runtime.verify import verify

KERAS = zipped({"config.json": b"{}", "model.weights.h5": b"", "metadata.json": b"{}"})
"""Content of a file that looks like a Keras model."""


@pytest.mark.parametrize(
    ("input_range", "scaled"),
    [
        ("0..255", lambda x: x),
        ("0..1", lambda x: x / 255),
        ("-1..1", lambda x: x / 127.5 - 1),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_pixels_are_brought_to_what_a_model_was_trained_on(tmp_path, arrays, input_range, scaled):
    model = picture_model()
    model.save(tmp_path / "m.keras")
    hints = ModelHints(task="classify", input_range=input_range)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", hints, recipes="litert_fp32", calibration=str(arrays / "x.npz"))
    expected = model.predict_on_batch(scaled(PICTURES[:5].astype(np.float64)).astype(np.float32))
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = [opened(picture, color="rgb").result.scores for picture in PICTURES[:5]]
    assert np.abs(np.stack(answers) - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("color", "channels", "colored"),
    [
        ("rgb", 3, lambda x: x),
        ("bgr", 3, lambda x: x[..., ::-1]),
        ("luma", 1, lambda x: np.rint(x @ [[0.299], [0.587], [0.114]])),
        ("mean", 1, lambda x: np.rint(x.mean(axis=-1, keepdims=True))),
    ],
)
def test_the_colour_is_that_of_the_training_images(tmp_path, arrays, color, channels, colored):
    model = picture_model(channels=channels)
    model.save(tmp_path / "m.keras")
    hints = ModelHints(task="classify", input_range="0..1", color=color)
    make(tmp_path / "m.keras", tmp_path / "m.orilla", hints, recipes="litert_fp32", calibration=str(arrays / "x.npz"))
    expected = model.predict_on_batch(colored(PICTURES[:5].astype(np.float64)).astype(np.float32) / 255)
    with Model.open(tmp_path / "m.orilla") as opened:
        answers = [opened(picture, color="rgb").result.scores for picture in PICTURES[:5]]
    # OpenCV rounds the weights of the grey value, so single pixels deviate by one grey level.
    assert np.abs(np.stack(answers) - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("hints", "channels", "message"),
    [
        (ModelHints("classify", color="lab", input_range="0..1"), 3, "unknown colour 'lab'"),
        (ModelHints("classify", color="mean", input_range="0..1"), 3, "`color` is mean, but .* use rgb or bgr"),
        (ModelHints("classify", color="bgr", input_range="0..1"), 1, "`color` is bgr, but .* use luma or mean"),
        (ModelHints("classify", color="rgb", input_range="caffe"), 3, "`input_range` caffe implies bgr: omit one"),
        (ModelHints("tensor", color="bgr"), 3, "`color` is only for image models"),
    ],
)
def test_a_wrong_colour_is_rejected(tmp_path, arrays, hints, channels, message):
    model = picture_model(channels=channels)
    refused(tmp_path, model, ConfigError, message, hints, calibration=str(arrays / "x.npz"))


def test_what_pixels_must_be_told_unless_the_model_scales_them(tmp_path, arrays):
    picture_model().save(tmp_path / "plain.keras")
    with pytest.raises(
        ConfigError,
        match=r"value range of plain.keras's training images is unknown: set `input_range` .*0..255, 0..1",
    ):
        make(
            tmp_path / "plain.keras",
            tmp_path / "m.orilla",
            ModelHints(task="classify"),
            calibration=str(arrays / "x.npz"),
        )
    picture_model(layers.Rescaling(1 / 255)).save(tmp_path / "own.keras")
    manifest = make(
        tmp_path / "own.keras", tmp_path / "m.orilla", ModelHints(task="classify"), calibration=str(arrays / "x.npz")
    )
    assert float_error(manifest) < 1e-5


def test_grey_logits_and_labels(tmp_path, arrays):
    """The model takes grey images and outputs logits. Its bundle takes colour images and outputs probabilities."""
    picture_model(activation=None, channels=1).save(tmp_path / "grey.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\nhen\n")
    hints = ModelHints(task="classify", input_range="0..1", labels=tmp_path / "labels.txt")
    manifest = make(tmp_path / "grey.keras", tmp_path / "m.orilla", hints, calibration=str(arrays / "xy.npz"))
    assert manifest.labels == ("cat", "dog", "hen")
    assert manifest.report.truth == "labels"
    assert manifest.preprocess.color == "grey"
    assert float_error(manifest) < 1e-5
    bundle = Bundle.open(tmp_path / "m.orilla")
    golden = cv2.imdecode(np.frombuffer(bundle.read(manifest.golden[0].prepared), np.uint8), cv2.IMREAD_UNCHANGED)
    assert golden.ndim == 2
    with Model.open(tmp_path / "m.orilla") as opened:
        result = opened(PICTURES[0]).result
    assert abs(result.scores.sum() - 1) < 1e-5
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ConfigError, match="has 2 names, but the model has 3 classes"):
        make(tmp_path / "grey.keras", tmp_path / "n.orilla", hints, calibration=str(arrays / "x.npz"))


def test_a_folder_of_pictures_serves_for_both_and_never_the_same_ones(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(PICTURES):
        cv2.imwrite(str(folder / f"{index:02d}.png"), picture)
    picture_model().save(tmp_path / "m.keras")
    hints = ModelHints(task="classify", input_range="0..1")
    manifest = make(
        tmp_path / "m.keras", tmp_path / "m.orilla", hints, "litert_fp32,litert_wi8_ai8", calibration=str(folder)
    )
    report = manifest.report
    assert (report.truth, report.count, report.calibration_count) == ("original", 8, 32)
    assert report.metrics["accuracy"] == 1.0
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "m.orilla"), manifest.variants))


def test_keras_2_and_saved_model(tmp_path, arrays):
    model = picture_model()
    model.save(tmp_path / "m.h5")
    model.export(tmp_path / "saved", verbose=False)
    expected = model.predict_on_batch(PICTURES[:3].astype(np.float32) / 255)
    for name in ("m.h5", "saved"):
        out = tmp_path / f"{name}.orilla"
        hints = ModelHints(task="classify", input_range="0..1")
        manifest = make(
            tmp_path / name, out, hints, "litert_fp32,litert_wi8_ai8,onnx_fp32", calibration=str(arrays / "x.npz")
        )
        assert float_error(manifest) < 1e-5
        with Model.open(out, variant="litert_fp32") as opened:
            answers = [opened(picture, color="rgb").result.scores for picture in PICTURES[:3]]
        assert np.abs(np.stack(answers) - expected).max() < 1e-4


def test_axes_that_are_not_fixed_are_named_and_can_be_given(tmp_path, arrays):
    x = keras.Input((None, None, 3))
    keras.Model(x, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))).save(tmp_path / "m.keras")
    options = {"calibration": str(arrays / "x.npz")}
    with pytest.raises(ConversionError, match=r"axis 1 of the input image, \[1,\?,\?,3\], is not fixed"):
        make(tmp_path / "m.keras", tmp_path / "m.orilla", ModelHints(task="classify", input_range="0..1"), **options)
    hints = ModelHints(task="classify", input_range="0..1", input=(16, 20))
    assert make(tmp_path / "m.keras", tmp_path / "m.orilla", hints, **options).preprocess.size_hw == (16, 20)


@pytest.mark.parametrize(
    ("name", "content", "hints", "error", "match"),
    [
        ("m.keras", b"nonsense", ModelHints(task="tensor"), DataError, "m.keras is a text that begins with 'nonsense'"),
        (
            "m.h5",
            b"\xff\xfe",
            ModelHints(task="tensor"),
            DataError,
            "m.h5 is not a Keras model, but a file of an unknown",
        ),
        ("m.tflite", b"\xff", ModelHints(task="tensor"), DataError, "m.tflite is not a TFLite model, but a file of an"),
        ("m.pt", b"x", ModelHints(task="tensor"), DataError, "m.pt is a text that begins with 'x'"),
        ("none.keras", None, ModelHints(task="tensor"), DataError, "no such model"),
        (
            "m.keras",
            KERAS,
            ModelHints(),
            ConfigError,
            r"the task of m.keras is unknown: set `task` to one of classify, segment",
        ),
        ("m.keras", KERAS, ModelHints(task="detekt"), ConfigError, "unknown task 'detekt': did you mean detect"),
        ("m.keras", KERAS, ModelHints(task="classify", input_range="bgr"), ConfigError, "unknown input range 'bgr'"),
    ],
)
def test_what_is_no_model(tmp_path, name, content, hints, error, match):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=match) as caught:
        make(tmp_path / name, tmp_path / "out.orilla", hints, calibration="x.npz")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.orilla").exists()


def test_weights_and_data_that_are_no_numbers(tmp_path, arrays):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.layers[0].set_weights([np.full((4, 2), np.nan), np.zeros(2)])
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ConversionError, match="contains NaN or infinity"):
        make(
            tmp_path / "nan.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(arrays / "x.npz")
        )
    x = np.ones((20, 4), np.float32)
    x[3, 2] = np.inf
    np.savez(tmp_path / "inf.npz", x=x)
    model.layers[0].set_weights([np.ones((4, 2)), np.zeros(2)])
    model.save(tmp_path / "good.keras")
    with pytest.raises(DataError, match=r"inf\.npz: x contains NaN or infinity"):
        make(
            tmp_path / "good.keras",
            tmp_path / "m.orilla",
            ModelHints(task="tensor"),
            calibration=str(tmp_path / "inf.npz"),
        )
    np.savez(tmp_path / "same.npz", x=np.ones((20, 4), np.float32))
    same = {"recipes": "litert_wi8_ai8", "calibration": str(tmp_path / "same.npz")}
    with pytest.raises(DataError, match="has the same value everywhere"):
        make(tmp_path / "good.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), **same)
    with pytest.raises(DataError, match=r"contains images, but the model takes arrays"):
        make(
            tmp_path / "good.keras", tmp_path / "m.orilla", ModelHints(task="tensor"), calibration=str(arrays / "x.npz")
        )


def test_a_model_that_takes_bytes(tmp_path, arrays):
    x = keras.Input((24, 32, 3), dtype="uint8")
    y = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(x))
    model = keras.Model(x, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(y)))
    model.save(tmp_path / "m.keras")
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32"
    manifest = make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="classify"),
        recipes,
        calibration=str(arrays / "x.npz"),
    )
    assert [variant.name for variant in manifest.variants] == recipes.split(",")
    assert float_error(manifest) < 1e-5


def test_a_vocabulary_of_another_layout_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((12,), dtype="int32"), layers.Embedding(50, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )
    hints = ModelHints(task="text", vocabulary=tmp_path / "v.txt")
    for words, match in (("[UNK]\nthe\nfilm\n", r"line 1 of .* is '\[UNK\]': list all tokens"), ("\nthe\n", "line 1")):
        (tmp_path / "v.txt").write_text(words)
        refused(tmp_path, model, ConfigError, match, hints)
