"""The pixel values and colours that a model was trained on, and what the report says about them."""

import json

import keras
import numpy as np
import pytest
from helpers.command import here, refuse
from helpers.foreign import PICTURES, make, picture_model, refused
from helpers.networks import small_onnx
from keras import layers

from orilla.devices.errors import ConfigError, DataError
from orilla.export.choices import preprocessing_choices
from orilla.export.image_hints import stated_values, values_of
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.pixel_arrays import as_images
from orilla.runtime.model import Model
from orilla.runtime.preprocessing.text import TextPreprocess

COLOURS = np.random.default_rng(0).integers(0, 256, (60, 1, 1, 3), np.uint8).repeat(16, 1).repeat(16, 2)
COLOURS[:, ::2, :, 1] //= 2


def dense_model(weights, bias, channels=3):
    """Return a model that weighs the means of the channels of images of 16x16 pixels, and outputs one probability."""
    model = keras.Sequential(
        [keras.Input((16, 16, channels)), layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")]
    )
    model.set_weights([np.array(weights, np.float32).reshape(channels, 1), np.array([bias], np.float32)])
    return model


@pytest.fixture(scope="module")
def bgr(tmp_path_factory):
    """A model that takes blue, green and red in 0..1 and decides whether red is stronger than blue, and RGB images."""
    folder = tmp_path_factory.mktemp("bgr")
    dense_model([-60, 0, 60], 0).save(folder / "model.keras")
    np.savez(folder / "x.npz", x=COLOURS, y=(COLOURS[:, 0, 0, 0] > COLOURS[:, 0, 0, 2]).astype(int))
    return folder


def command(folder, name, *words):
    out = folder / f"{name}.orilla"
    done = here(
        "export",
        folder / "model.keras",
        "--out",
        out,
        "--task",
        "classify",
        "--calibration",
        folder / "x.npz",
        "--recipes",
        "litert_fp32",
        "--no-timing",
        *words,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, Bundle.open(out).manifest


def test_a_model_that_was_trained_on_what_opencv_reads(bgr):
    text, manifest = command(bgr, "right", "--input-range", "0..1", "--color", "bgr")
    assert manifest.report.metrics["accuracy"] == 1.0
    assert manifest.report.warning is None
    assert manifest.report.doubts == ()
    assert "stated by you: input range: 0..1; colour: bgr" in text
    assert "by default: resize: stretch; interpolation: halve-linear; labels: numbers in place of names" in text
    assert "single output: the probability of 1, not of 0" in text


def test_an_original_at_chance_level_is_the_first_line_of_the_report(bgr):
    text, manifest = command(bgr, "wrong", "--input-range", "0..1")
    assert manifest.report.metrics["accuracy"] < 0.1
    first = text.splitlines()[0]
    assert first.startswith("warning: the original model is at chance level: accuracy 0.017 on 12 samples") or (
        first.startswith("warning: the original model is at chance level: accuracy 0.0")
    )
    assert "input range 0..1 (you), colour rgb (default), labels numbers in place of names (default)" in first
    assert manifest.report.doubts[0].startswith("with --input-range 0..1 --color bgr, accuracy of the original model")
    assert manifest.report.doubts[0].endswith("check this option, and the channel order of the images in x")
    shown = here("show", bgr / "wrong.orilla")
    assert shown.stdout.splitlines()[0] == first
    assert "colour: rgb" in shown.stdout
    assert json.loads(here("show", bgr / "wrong.orilla", "--json").stdout)["manifest"]["report"]["warning"]


def test_grey_is_luma_unless_the_user_states_the_mean(tmp_path):
    """OpenCV, Pillow, TensorFlow and Keras compute the same grey values.

    The correct answers are those for these values.
    """
    model = dense_model([60], -60 * 0.43, channels=1)
    model.save(tmp_path / "model.keras")
    pure = [[0, 255, 0], [255, 0, 255], [255, 40, 140], [60, 220, 30]]
    x = np.concatenate([np.array(pure, np.uint8), COLOURS[:56, 0, 0]])[:, None, None].repeat(16, 1).repeat(16, 2)
    x ^= np.random.default_rng(1).integers(0, 16, x.shape, np.uint8)
    grey = np.rint(x @ [0.299, 0.587, 0.114])[..., None] / 255
    np.savez(tmp_path / "x.npz", x=x, y=(model.predict(grey, verbose=0)[:, 0] > 0.5).astype(int))
    hints = ModelHints("classify", input_range="0..1")
    options = {"validation": str(tmp_path / "x.npz"), "calibration": str(tmp_path / "x.npz"), "golden_count": 2}
    manifest = make(tmp_path / "model.keras", tmp_path / "m.orilla", hints, "litert_fp32,litert_wi8_ai8", **options)
    assert manifest.report.metrics["accuracy"] == 1.0
    assert {choice.fact: (choice.value, choice.origin) for choice in manifest.report.choices}["colour"] == (
        "grey (luma)",
        "default",
    )
    stated = ModelHints("classify", input_range="0..1", color="mean")
    manifest = make(tmp_path / "model.keras", tmp_path / "n.orilla", stated, "litert_fp32", **options)
    assert manifest.preprocess.grey == "mean"
    assert manifest.report.metrics["accuracy"] < 1.0


@pytest.mark.parametrize(
    "words", [("--input-range", "-1..1"), ("--input-range=-1..1",), ("--mean", "127.5", "--std", "127.5")]
)
def test_every_spelling_of_minus_one_to_one(tmp_path, words):
    picture_model().save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", x=PICTURES)
    _, manifest = command(tmp_path, "m", *words)
    assert ("input range", "-1..1", "you") in [
        (choice.fact, choice.value, choice.origin) for choice in manifest.report.choices
    ]
    with Model.open(tmp_path / "m.orilla") as model:
        scores = model(PICTURES[0], color="rgb").result.scores
    assert np.abs(scores - picture_model().predict(PICTURES[:1] / 127.5 - 1, verbose=0)[0]).max() < 1e-4


@pytest.mark.parametrize(
    ("hints", "scaled"),
    [
        ({"input_range": "-0.5..0.5"}, lambda x: x / 255 - 0.5),
        ({"input_range": "0..16", "color": "bgr"}, lambda x: x[..., ::-1] / 255 * 16),
        (
            {"mean": (-5.0, 10.0, 20.0), "std": (50.0, 60.0, 70.0), "color": "bgr"},
            lambda x: (x[..., ::-1] - [-5, 10, 20]) / [50, 60, 70],
        ),
        ({"input_range": "0..1", "mean": (0.5,), "std": (0.25, 0.5, 1.0)}, lambda x: (x / 255 - 0.5) / [0.25, 0.5, 1]),
        ({"input_range": "caffe", "color": "bgr"}, lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
        ({"input_range": "0..1", "resize": "crop", "interpolation": "linear"}, lambda x: x / 255),
    ],
)
def test_any_range_mean_and_order_of_channels(tmp_path, arrays, hints, scaled):
    model = picture_model()
    model.save(tmp_path / "m.keras")
    make(
        tmp_path / "m.keras",
        tmp_path / "m.orilla",
        ModelHints(task="classify", **hints),
        recipes="litert_fp32,onnx_fp32",
        calibration=str(arrays / "x.npz"),
    )
    expected = model.predict_on_batch(scaled(PICTURES[:3].astype(np.float64)).astype(np.float32))
    for variant in ("litert_fp32", "onnx_fp32"):
        with Model.open(tmp_path / "m.orilla", variant=variant) as opened:
            answers = [opened(picture, color="rgb").result.scores for picture in PICTURES[:3]]
        assert np.abs(np.stack(answers) - expected).max() < 1e-4


def values(**hints):
    found = stated_values(ModelHints(**hints), 3)
    return found.mean, found.std


def test_the_numbers_of_a_range():
    assert values(input_range="-1..1") == ((127.5,), (127.5,))
    assert values(input_range="\u22121..1") == ((127.5,), (127.5,))
    assert values(input_range="[-1..1]") == ((127.5,), (127.5,))
    assert values(input_range="0..0.5") == ((0.0,), (510.0,))
    assert values(input_range=".5..1.5") == ((-127.5,), (255.0,))
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    for found, expected in zip(values(input_range="0..1", **imagenet), values(input_range="torch"), strict=True):
        assert found == pytest.approx(expected)
    assert stated_values(ModelHints(), 3) is None


@pytest.mark.parametrize(
    ("hints", "channels", "message"),
    [
        ({"input_range": "1..0"}, 3, "the first number must be smaller than the second one"),
        ({"input_range": "0-1"}, 3, "unknown input range '0-1'.*LOW..HIGH"),
        ({"input_range": "torch"}, 1, "for three channels, but the model takes grey images"),
        ({"input_range": "caffe", "std": (58.0,)}, 3, "cannot be combined with `mean` and `std`"),
        ({"mean": (1.0, 2.0)}, 3, "`mean` has 2 values, but the model has 3 channels"),
        (
            {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
            3,
            "set `input_range` to 0..1 as well, or give grey levels, 123.675,116.28,103.53 and 58.395,57.12,57.375",
        ),
    ],
)
def test_numbers_that_cannot_be_meant_are_rejected(hints, channels, message):
    with pytest.raises(ConfigError, match=message):
        stated_values(ModelHints(**hints), channels)


@pytest.mark.parametrize("name", ["export", "import"])
def test_both_commands_take_the_same_options(tmp_path, name):
    if name == "export":
        file = tmp_path / "m.keras"
        picture_model().save(file)
    else:
        file = tmp_path / "m.onnx"
        small_onnx(file)
    common = (name, file, "--task", "classify", "--out", tmp_path / "m.orilla")
    for words, match in (
        (("--mean", "-1,x", "--std", "1"), "--mean -1,x: give one number"),
        (("--input-range", "-2..-3"), "--input-range is -2..-3: the first number must be smaller"),
        (("--input-range", "0..1", "--channels", "lab"), "unknown colour 'lab'"),
        (("--input-range", "0..1", "--color", "rgb", "--std", "-1"), "--std is -255: expected numbers above 0"),
        (
            ("--input-range", "0..1", "--color", "rgb", "--fill", "114"),
            "--fill has no effect unless --resize is letterbox",
        ),
        (("--input-range", "0..1", "--color", "rgb", "--resize", "shrink"), "unknown resize mode 'shrink'"),
    ):
        refuse(*common, *words, match=match, run=here)


def test_a_model_with_four_channels_is_named(tmp_path, arrays):
    model = picture_model(channels=4)
    hints = ModelHints(task="classify", input_range="0..1")
    refused(
        tmp_path, model, ConfigError, "images have 1 or 3 channels, so give samples with 4 channels as arrays", hints
    )
    refused(
        tmp_path,
        model,
        ConfigError,
        "`layout` is only for models that `orilla import` reads",
        ModelHints("classify", layout="NHWC"),
    )


def test_texts_list_their_numbering():
    facts = {choice.fact: choice for choice in preprocessing_choices(TextPreprocess(20), ModelHints("text"))}
    assert facts["token numbers"].value == "0 padding, 1 start, 2 unknown word, 3 first word of the vocabulary"
    assert {choice.origin for choice in facts.values()} == {"default"}
    assert facts["padding"].value == "at the start of a short text"


def test_an_inverted_range_is_named():
    with pytest.raises(ConfigError, match="input_range"):
        values_of("1..-1", 1)


FLOATS = PICTURES[:20].astype(np.float32)
GREY = PICTURES[:20, :, :, 0]
RGBA = np.concatenate([PICTURES[:20], np.full((20, 24, 32, 1), 9, np.uint8)], axis=-1)
ONES = GREY // 200


@pytest.mark.parametrize(
    ("x", "note"),
    [
        (FLOATS / 255, "times 255"),
        (FLOATS / 127.5 - 1, "plus 1, times 127.5"),
        (RGBA, "alpha is removed"),
        (np.moveaxis(PICTURES[:20], -1, 1), "the channels are moved to the end"),
        (PICTURES[:20].astype(np.uint16) * 257, "16 bits become 8 bits"),
        (FLOATS, None),
        (PICTURES[:20].astype(np.int64), None),
    ],
)
def test_images_in_arrays_of_any_kind_are_read_as_pixel_values(tmp_path, x, note):
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20) % 3)
    dataset = as_images(open_dataset(str(tmp_path / "x.npz")))
    assert (dataset.task, dataset.has_labels) == ("classify", True)
    for index in range(20):
        assert np.array_equal(dataset.load("all", index).image, PICTURES[index][..., ::-1])
    assert (note is None and dataset.notes() == []) or note in dataset.notes()[0]


def test_grey_arrays_become_images_with_equal_channels(tmp_path):
    for x in (GREY, GREY[..., None], GREY / np.float32(255), GREY > 100):
        np.savez(tmp_path / "x.npz", x=x)
        image = as_images(open_dataset(str(tmp_path / "x.npz"))).load("all", 3).image
        assert image.shape == (24, 32, 3)
        expected = GREY[3] if x.dtype != bool else (GREY[3] > 100) * 255
        assert np.array_equal(image, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (FLOATS - 123, "x of x.npz ranges from -123 to 132, but images have pixel values of 0..255, 0..1 or -1..1"),
        (FLOATS * 2, "ranges from 0 to 510"),
        (
            GREY.astype(np.int64) // 200,
            "contains only 0 and 1 as int64, but pixel values are 0..255: multiply it by 255",
        ),
        (ONES, "contains only 0 and 1 as uint8"),
    ],
)
def test_arrays_that_are_no_pixel_values_are_named(tmp_path, x, match):
    np.savez(tmp_path / "x.npz", x=x)
    with pytest.raises(DataError, match=match):
        as_images(open_dataset(str(tmp_path / "x.npz")))


def test_arrays_for_other_models_stay_as_they_are(tmp_path):
    np.savez(tmp_path / "x.npz", x=FLOATS[:, 0, 0], y=np.arange(20))
    np.savez(tmp_path / "two.npz", a=FLOATS, b=FLOATS)
    for name in ("x", "two"):
        dataset = open_dataset(str(tmp_path / f"{name}.npz"))
        assert as_images(dataset) is dataset


def test_floats_of_0_to_1_for_a_model_of_0_to_255_are_listed(tmp_path):
    """The export and `orilla verify --data` use the same samples as for image files."""
    labels = np.arange(20) % 3
    np.savez(tmp_path / "floats.npz", x=FLOATS / 255, y=labels)
    np.savez(tmp_path / "bytes.npz", x=PICTURES[:20], y=labels)
    picture_model(layers.Rescaling(1 / 255)).save(tmp_path / "m.keras")
    found = {}
    for name in ("floats", "bytes"):
        out = tmp_path / f"{name}.orilla"
        found[name] = make(
            tmp_path / "m.keras", out, ModelHints("classify"), "litert_fp32", validation=str(tmp_path / f"{name}.npz")
        )
    facts = {choice.fact: choice for choice in found["floats"].report.choices}
    assert facts["samples of floats"].value == "values of 0 to 1 times 255"
    assert facts["input range"].origin == "model"
    assert found["floats"].report.metrics == found["bytes"].report.metrics
    measured = here("verify", tmp_path / "floats.orilla", "--data", tmp_path / "floats.npz", "--json")
    assert measured.returncode == 0, measured.stderr
