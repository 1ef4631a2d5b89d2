"""The check `unfamiliar`: statistics of the calibration images in the bundle, and frames that are far from them."""

import msgspec
import numpy as np
import pytest

import orilla.runtime
from orilla.devices.errors import BundleError, ConfigError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import decode, encode
from orilla.runtime.loop.guard import Guard, parse_guard
from orilla.runtime.preprocessing.familiarity import Familiarity, FamiliarityCheck, familiarity_of, statistics_of
from orilla.runtime.sources.registry import open_source


def scenes(count, seed=1):
    source = open_source(f"scenes:{seed}")
    images = np.stack([source.read().image[::2, ::2] for _ in range(count)])
    source.close()
    return images


@pytest.fixture(scope="module")
def familiarity():
    return familiarity_of(np.concatenate([scenes(6, seed) for seed in range(5)]))


def test_frames_of_the_same_kind_are_familiar(familiarity):
    check = FamiliarityCheck(familiarity)
    assert not any(check.is_far(image) for image in scenes(8, seed=2)[6:])


@pytest.mark.parametrize("kind", ["black", "noise", "turned", "stripes", "red"])
def test_frames_of_another_kind_are_unfamiliar(familiarity, kind):
    image, rng = scenes(1, seed=9)[0], np.random.default_rng(0)
    other = {
        "black": np.zeros_like(image),
        "noise": rng.integers(0, 256, image.shape).astype(np.uint8),
        "turned": np.ascontiguousarray(image[::-1]),
        "stripes": np.where(np.arange(image.shape[1])[None, :, None] // 16 % 2, 255, image * 0).astype(np.uint8),
        "red": np.full_like(image, (0, 0, 255)),
    }[kind]
    assert FamiliarityCheck(familiarity).is_far(other)


def test_grey_images_have_statistics_of_their_own(familiarity):
    images = scenes(20)
    grey = familiarity_of(images[..., 1:2])
    assert len(grey.means) == len(familiarity.means) - 2
    assert not FamiliarityCheck(grey).is_far(images[0][..., 1:2])
    assert not FamiliarityCheck(grey).is_far(images[0]), "an image with other channels is not compared"


def test_equal_calibration_images_do_not_divide_by_zero():
    flat = familiarity_of(np.full((30, 32, 32, 3), 90, np.uint8))
    assert flat.problem() is None
    assert not FamiliarityCheck(flat).is_far(np.full((32, 32, 3), 90, np.uint8))
    assert FamiliarityCheck(flat).is_far(np.full((32, 32, 3), 160, np.uint8))


def test_few_or_small_images_give_no_statistics():
    assert familiarity_of(scenes(5)) is None
    assert familiarity_of(np.zeros((50, 8, 8, 3), np.uint8)) is None
    assert np.isfinite(statistics_of(np.zeros((16, 16, 3), np.uint8))).all()


def test_one_reason_is_enough(familiarity):
    black = np.zeros((180, 320, 3), np.uint8)
    assert Guard(("dark", "unfamiliar"), familiarity).doubts(black, 0, black) == ("dark",)
    assert Guard(("unfamiliar",), familiarity).doubts(black, 0, black) == ("unfamiliar",)
    assert Guard(("unfamiliar",), familiarity).doubts(black, 0, {"x": black}) == ()
    assert Guard(("unfamiliar",)).doubts(black, 0, black) == ()


def test_a_bundle_without_statistics_refuses_only_what_was_asked_for():
    assert parse_guard(None, live=True) is not None
    with pytest.raises(ConfigError, match="export the model again with calibration data"):
        parse_guard("dark,unfamiliar", live=True)


def test_the_manifest_keeps_the_statistics_and_old_manifests_load(familiarity):
    manifest = Bundle.open("road").manifest
    old = msgspec.structs.replace(manifest, familiarity=None)
    assert b"familiarity" not in encode(old)
    assert decode(encode(old)) == old
    new = msgspec.structs.replace(manifest, familiarity=familiarity)
    assert decode(encode(new)) == new
    assert len(encode(new)) - len(encode(old)) < 16_000


@pytest.mark.parametrize(
    "change",
    [
        {"means": (1.0,)},
        {"distance": 0.0},
        {"deviations": (0.0,) * 31},
        {"deviations": (-1.0,) * 31},
        {"precision": ((1.0,) * 31,) * 30},
        {"precision": ((1.0,) * 30,) * 31},
        {"precision": ((1.0, 2.0), (1.0,))},
    ],
)
def test_wrong_statistics_are_refused(familiarity, change):
    wrong = msgspec.structs.replace(familiarity, **change)
    manifest = msgspec.structs.replace(Bundle.open("road").manifest, familiarity=wrong)
    with pytest.raises(BundleError, match="familiarity"):
        decode(encode(manifest))


@pytest.mark.parametrize("name", ["road", "convnet", "mobilenet"])
def test_the_shipped_bundles_have_statistics(name):
    assert isinstance(Bundle.open(name).manifest.familiarity, Familiarity)


def test_the_loop_marks_unfamiliar_frames():
    noise = np.random.default_rng(0).integers(0, 256, (2, 180, 320, 3)).astype(np.uint8)
    with orilla.runtime.open("road") as model:
        found = [tick.doubts for tick in model.stream(noise, guard="unfamiliar", on_event=lambda event: None)]
    assert found == [("unfamiliar",)] * 2


def test_correlations_recognise_what_single_statistics_do_not():
    """The brightness and the noise of an image are both usual, but not together."""
    rng = np.random.default_rng(0)

    def image(level, noise):
        return np.clip(level + rng.normal(0, noise, (48, 64, 3)), 0, 255).astype(np.uint8)

    images = np.stack([image(level, level / 10) for level in rng.uniform(40, 200, 80)])
    unusual = [image(50, 17), image(55, 18), image(185, 6), image(190, 5)]
    usual = np.array([statistics_of(one) for one in images])
    for one in unusual:
        single = statistics_of(one)
        assert np.mean((usual.min(axis=0) <= single) & (single <= usual.max(axis=0))) > 0.8
    check = FamiliarityCheck(familiarity_of(images))
    assert all(check.is_far(one) for one in unusual)
    assert not any(check.is_far(image(level, level / 10)) for level in (60, 120, 180))
