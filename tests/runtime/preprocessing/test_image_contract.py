"""The fields of `Preprocess`: sizes, colours, borders and values."""

import math
import threading
from typing import get_args

import cv2
import msgspec
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import BundleError, DataError
from orilla.runtime.preprocessing.image import ImagePreprocessor, Preprocess, Preprocessor, prepare
from orilla.runtime.preprocessing.resize import Interpolation

LETTERBOX = Preprocess((20, 30), resize="letterbox", fill=(1, 2, 3))
MODES = (
    Preprocess((20, 30)),
    LETTERBOX,
    Preprocess((21, 31), resize="letterbox", anchor="top-left", rounding="down", fill=114),
    Preprocess((20, 30), resize="crop", crop_fraction=0.875),
    Preprocess((21, 31), resize="crop"),
)
SIZES = ((1, 1), (1, 60), (60, 1), (40, 60), (41, 61), (80, 121), (19, 29), (20, 30))


def of(spec, **changes):
    return msgspec.structs.replace(spec, **changes)


@pytest.mark.parametrize("spec", MODES, ids=lambda spec: f"{spec.resize}-{spec.anchor}")
@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("color", ["rgb", "bgr", "grey"])
def test_a_frame_of_one_colour_keeps_it_in_every_mode(spec, interpolation, color):
    spec = of(spec, color=color, interpolation=interpolation, fill=7 if spec.resize == "letterbox" else 0)
    expected = {"rgb": [30, 20, 10], "bgr": [10, 20, 30], "grey": [22]}[color]
    for size in SIZES:
        image = np.full((*size, 3), (10, 20, 30), np.uint8)
        prepared = prepare(image, spec)
        left, top, right, bottom = spec.placement(size).visible_input_xyxy
        border = np.ones(spec.size_hw, bool)
        border[top:bottom, left:right] = False
        assert prepared.shape == (*spec.size_hw, spec.channels)
        assert prepared.dtype == np.uint8
        assert (prepared[top:bottom, left:right] == expected).all(), size
        assert (prepared[border] == 7).all(), size
        assert (image == (10, 20, 30)).all(), size


def test_an_image_of_floats_is_rejected_with_what_to_do():
    with pytest.raises(DataError, match=r"type float32: convert it first, and multiply values of 0\.\.1 by 255"):
        prepare(np.zeros((4, 4, 3), np.float32), Preprocess((4, 4)))


@pytest.mark.parametrize("grey", ["luma", "mean"])
def test_a_grey_image_keeps_its_values(grey):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    spec = Preprocess((16, 16), color="grey", grey=grey)
    for color in ("bgr", "rgb"):
        assert np.array_equal(prepare(np.dstack([levels] * 3), spec, color=color)[..., 0], levels)


def test_the_fill_has_the_channel_order_of_the_network():
    image = factories.picture(20, 20)
    for color in ("rgb", "bgr"):
        assert prepare(image, of(LETTERBOX, color=color))[0, 0].tolist() == [1, 2, 3]


def test_inside_a_letterbox_the_frame_is_resized_as_without():
    image = factories.picture(60, 60)
    inside = prepare(image, of(LETTERBOX, anchor="top-left"))[:20, :20]
    assert np.array_equal(inside, prepare(image, Preprocess((20, 20))))


def test_a_crop_is_cut_out_of_the_resized_frame():
    image = factories.picture(90, 140)
    spec = Preprocess((28, 28), resize="crop", crop_fraction=0.875, interpolation="linear", color="bgr")
    resized = cv2.resize(image, (49, 32), interpolation=cv2.INTER_LINEAR)

    # The left edge, (49 - 28) / 2 = 10.5, is rounded to 10.
    assert np.array_equal(prepare(image, spec), resized[2:30, 10:38])


def test_without_a_resize_only_the_channel_order_changes():
    image, spec = factories.picture(20, 30), Preprocess((20, 30), resize="none")
    assert np.array_equal(prepare(image, spec), image[..., ::-1])
    with pytest.raises(DataError, match="exactly 20x30"):
        prepare(factories.picture(30, 20), spec)


def test_a_preprocessor_works_on_after_a_frame_of_a_wrong_size():
    preprocess = Preprocessor(Preprocess((20, 30), resize="none"))
    image = factories.picture(20, 30)
    expected = preprocess(image)
    with pytest.raises(DataError):
        preprocess(factories.picture(30, 20))
    with pytest.raises(DataError):
        preprocess(factories.picture(30, 20))
    assert np.array_equal(preprocess(image), expected)


def test_luma_and_mean_are_different_greys():
    image = factories.picture(20, 30)
    blue, green, red = (image[..., channel].astype(float) for channel in range(3))
    luma = prepare(image, Preprocess((20, 30), color="grey"))[..., 0]
    mean = prepare(image, Preprocess((20, 30), color="grey", grey="mean"))[..., 0]
    assert np.abs(luma - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
    assert np.abs(mean - (red + green + blue) / 3).max() <= 0.51
    assert np.array_equal(prepare(image[..., ::-1], Preprocess((20, 30), color="grey"), color="rgb")[..., 0], luma)


def test_grey_is_that_of_pillow():
    pil = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    expected = np.asarray(pil.fromarray(image[..., ::-1].copy()).convert("L"), int)
    difference = np.abs(prepare(image, Preprocess((200, 300), color="grey"))[..., 0] - expected)
    assert difference.max() <= 1
    assert difference.mean() <= 0.05


def test_the_channels_of_a_frame_keep_their_meaning():
    image, spec = factories.picture(60, 61), of(LETTERBOX, fill=9)
    rgb = prepare(image, spec)
    assert np.array_equal(prepare(image[..., ::-1], spec, color="rgb"), rgb)
    assert np.array_equal(prepare(image, of(spec, color="bgr")), rgb[..., ::-1])


@pytest.mark.parametrize("spec", [*MODES, of(LETTERBOX, color="grey", fill=5)], ids=lambda spec: spec.resize)
def test_a_reused_buffer_keeps_nothing_of_the_frame_before(spec):
    preprocess, out = Preprocessor(spec), np.empty((*spec.size_hw, spec.channels), np.uint8)
    for seed, size in enumerate(SIZES * 2):
        image = factories.picture(*size, seed=seed)
        assert preprocess(image, out) is out
        assert np.array_equal(out, prepare(image, spec)), size


@pytest.mark.parametrize("interpolation", ["halve-linear", "area", "pil-bicubic"])
def test_threads_do_not_disturb_one_another(interpolation):
    spec = of(LETTERBOX, color="grey", fill=5, interpolation=interpolation)
    shared, failed = ImagePreprocessor(spec), []

    def work(seed):
        image = factories.picture(50 + seed, 70, seed=seed)
        expected = prepare(image, spec)
        failed.extend(seed for _ in range(50) if not np.array_equal(shared(image), expected))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ((0.0,), (255.0,), (0, 1)),
        ((127.5,), (127.5,), (-1, 1)),
        ((0.0,), (1.0,), (0, 255)),
        ((127.0,), (128.0,), (-127 / 128, 1)),
    ],
)
def test_the_table_has_the_values_that_the_network_takes(mean, std, expected):
    spec = Preprocess((2, 2), mean=mean, std=std)
    table = spec.normalise_table()
    assert table.shape == (256, 3)
    assert table.dtype == np.float32
    assert table[0].tolist() == [np.float32(expected[0])] * 3
    assert table[255].tolist() == [np.float32(expected[1])] * 3
    assert spec.is_raw == (mean == (0,) and std == (1,))
    assert Preprocess((2, 2), color="grey", mean=mean, std=std).normalise_table().shape == (256, 1)


def test_each_channel_can_have_its_own_mean():
    """ImageNet's means and standard deviations, as torchvision states them for values 0–1."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    spec = Preprocess((2, 2), mean=tuple(255 * mean), std=tuple(255 * std))
    image = np.arange(256)[:, None] / 255
    assert np.allclose(spec.normalise_table(), (image - mean) / std, atol=1e-6)
    assert spec.problem() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_hw": (0, 3)}, "input size"),
        ({"fill": 3}, "`fill` has no effect unless `resize` is letterbox"),
        ({"anchor": "top-left"}, "`anchor` has no effect"),
        ({"rounding": "down", "resize": "crop"}, "`rounding` has no effect"),
        ({"crop_fraction": 0.5}, "`crop_fraction` has no effect"),
        ({"grey": "mean"}, "`grey` has no effect unless `color` is grey"),
        ({"resize": "letterbox", "fill": 256}, "`fill` is 256"),
        ({"resize": "letterbox", "fill": (0, -1, 0)}, "`fill` is"),
        ({"resize": "letterbox", "color": "grey", "fill": (1, 2, 3)}, "one value for each of 1 channels"),
        ({"resize": "crop", "crop_fraction": 0.0}, "`crop_fraction` is 0"),
        ({"resize": "crop", "crop_fraction": 1.1}, "`crop_fraction` is 1.1"),
        ({"resize": "crop", "crop_fraction": math.nan}, "`crop_fraction` is nan"),
        ({"resize": "crop", "crop_fraction": 1e-9}, "`crop_fraction` is 1e-09"),
        ({"mean": ()}, "`mean` has 0 values"),
        ({"mean": (1.0, 2.0)}, "`mean` has 2 values: expected 1 or 3"),
        ({"color": "grey", "std": (1.0, 2.0, 3.0)}, "`std` has 3 values: expected 1 or 1"),
        ({"mean": (math.inf,)}, "`mean` is inf"),
        ({"std": (math.nan,)}, "`std` is nan"),
        ({"std": (0.0,)}, "`std` is 0: expected numbers above 0"),
        ({"std": (1.0, -1.0, 1.0)}, "`std` is 1,-1,1"),
    ],
)
def test_each_problem_is_named_in_one_line(changes, message):
    problem = of(Preprocess((20, 30)), **changes).problem()
    assert problem is not None
    assert message in problem
    assert "\n" not in problem


@pytest.mark.parametrize("spec", MODES, ids=lambda spec: spec.resize)
def test_usual_specifications_have_no_problem(spec):
    assert spec.problem() is None


def test_the_defaults_have_the_bytes_that_they_always_had():
    expected = b'{"kind":"image","size_hw":[20,30],"color":"rgb","resize":"stretch","interpolation":"halve-linear"}'
    spec = Preprocess((20, 30))
    assert msgspec.json.encode(spec) == expected
    assert msgspec.json.encode(msgspec.json.decode(expected, type=Preprocess)) == expected
    complete = b'{"kind":"image","size_hw":[20,30],"grey":"luma","fill":0,"crop_fraction":1,"mean":[0.0],"std":[1]}'
    assert msgspec.json.encode(msgspec.json.decode(complete, type=Preprocess)) == expected


def test_every_field_survives_the_manifest():
    spec = Preprocess(
        (20, 30),
        color="bgr",
        resize="letterbox",
        interpolation="area",
        anchor="top-left",
        rounding="down",
        fill=(1, 2, 3),
        mean=(1.5, 2.5, 3.5),
        std=(58.0,),
    )
    assert msgspec.json.decode(msgspec.json.encode(spec), type=Preprocess) == spec
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"kind":"image","size_hw":[20,30],"dither":true}', type=Preprocess)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "images of any size, resized to 20x30, RGB 0-255"),
        ({"resize": "none", "color": "bgr"}, "images of 20x30, BGR 0-255"),
        ({"resize": "crop"}, "images of any size, cropped to 20x30, RGB 0-255"),
        (
            {"resize": "letterbox", "fill": 114, "color": "grey", "mean": (127.5,), "std": (127.5,)},
            "images of any size, letterboxed (center, fill 114) to 20x30, grey (luma) (pixel - 127.5) / 127.5",
        ),
    ],
)
def test_the_description_states_what_happens(changes, expected):
    assert Preprocess((20, 30), **changes).describe() == expected


@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_the_golden_picture_has_the_channels_of_the_network(color):
    preprocessor = ImagePreprocessor(Preprocess((20, 30), color=color))
    prepared = preprocessor(factories.picture(50, 50))
    data = preprocessor.encode_prepared(prepared)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored.shape == ((20, 30) if color == "grey" else (20, 30, 3))
    assert np.array_equal(preprocessor.decode_prepared(data, "000.prepared.png"), prepared)
    with pytest.raises(BundleError, match="cannot be decoded"):
        preprocessor.decode_prepared(b"no picture", "000.prepared.png")
