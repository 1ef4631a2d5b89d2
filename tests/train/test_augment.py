"""Augmentation of images during training."""

import keras
import numpy as np

from orilla.train.data import by_class
from orilla.train.data.augment import AffineRanges, RandomAffine, RandomLight, RandomMirror, apply


def test_affine_changes_are_seeded_and_keep_the_middle():
    images = np.zeros((8, 33, 33, 3), np.float32)
    images[:, 14:19, 14:19] = 255
    layer = RandomAffine(AffineRanges(shift=0.0))
    first, repeated, other_seed = (apply(layer, images, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other_seed)
    assert (first[:, 16, 16, 0] > 250).all()
    still = RandomAffine(AffineRanges(rotation=0, shift=0, shear=0, zoom=0, mirror=False))
    assert np.allclose(apply(still, images, 3), images, atol=1e-3)


def test_a_mirrored_image_has_its_mask_mirrored():
    rng = np.random.default_rng(0)
    truths = rng.integers(0, 2, (16, 8, 12, 1)).astype(np.float32)
    images = np.repeat(truths, 3, axis=3)
    flipped_images, flipped_truths = (
        keras.ops.convert_to_numpy(array) for array in RandomMirror()((images, truths), seed=1)
    )
    assert np.array_equal(flipped_images[..., :1], flipped_truths)
    changed = (flipped_truths != truths).any(axis=(1, 2, 3))
    assert 0 < changed.sum() < 16


def test_light_changes_are_seeded_and_stay_in_range():
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 24, 3)).astype(np.float32)
    first, repeated, other_seed = (apply(RandomLight(), images, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other_seed)
    assert 0 <= first.min() <= first.max() <= 255
    assert first.dtype == np.float32


def test_mixing_copies_pixels_with_their_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 16, 24)).astype(np.uint8)
    images = np.repeat((labels * 60 + np.arange(6, dtype=np.uint8)[:, None, None])[..., None], 3, axis=3)
    mixed, mixed_labels = by_class.mix_classes(images, labels, 3, [], rng)
    changed = mixed_labels != labels
    assert changed.any(axis=(1, 2)).sum() in range(1, 6)
    assert not (mixed_labels[changed] == 3).any()
    assert np.array_equal(mixed[~(mixed != images).any(axis=3)], images[~(mixed != images).any(axis=3)])
    assert (mixed[mixed_labels == labels].std(axis=-1) == 0).all()


def test_ground_classes_are_copied_together_or_not_at_all():
    rng = np.random.default_rng(1)
    labels = np.tile(np.repeat(np.arange(4, dtype=np.uint8), 6), (32, 16, 1))
    images = np.repeat(labels[..., None] * 60, 3, axis=3)
    labels[::2] = 4
    _, mixed_labels = by_class.mix_classes(images, labels, 255, [1, 2], rng)
    both = [{1, 2} & set(np.unique(image).tolist()) for image in mixed_labels[::2]]
    assert {len(classes) for classes in both} == {0, 2}


def test_shade_falls_on_the_ground_and_not_on_objects():
    labels = np.zeros((12, 48, 64), np.uint8)
    labels[:, 10:24, 20:40] = 2
    images = np.full((12, 48, 64, 3), 200, np.uint8)
    shaded = by_class.shade(images, labels, [2], np.random.default_rng(0))
    assert (shaded[labels == 2] == 200).all()
    darker = (shaded < 200).any(axis=3)
    assert 0 < darker.any(axis=(1, 2)).sum() < 12
    rows, columns = np.nonzero(darker.any(axis=0))
    assert rows.max() > 24
    assert rows.min() >= 5
    assert 10 < columns.min() < columns.max() < 50
    assert np.array_equal(by_class.shade(images, labels, [7], np.random.default_rng(0)), images)


def test_a_sky_is_darkened_more_than_the_rest():
    labels = np.zeros((40, 16, 16), np.uint8)
    labels[:, 8:] = 1
    images = np.full((40, 16, 16, 3), 150, np.uint8)
    relit = by_class.relight(images, labels, [0], np.random.default_rng(0))
    changed = (relit != images).any(axis=(1, 2, 3))
    assert 10 < changed.sum() < 38
    sky, ground = relit[changed][:, 2:6].mean(), relit[changed][:, 10:14].mean()
    assert sky < 0.7 * ground
    assert np.array_equal(images, np.full_like(images, 150))
