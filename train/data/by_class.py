"""Changes of labelled pictures that know the classes: things of one put into another, shade, a light for each class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MIXED = 0.5
"""Share of samples that get things of another sample put into them."""

GROUND = ("road", "pavement")
"""Classes that are put into another picture together or not at all: what tells them apart is their edge."""

SKIES = ("sky",)
"""Classes that may be as dark as the ground: at dusk, and where a camera exposes for its lamps."""

RELIT = 0.6
"""Share of samples in which each class gets a light and a tint of its own."""

SHADED = ("car",)
"""Classes that stand on the ground and keep the light from it."""

SHADES = 0.6
"""Share of samples in which what stands on the ground darkens it."""

Labels = NDArray[np.uint8]


def numbers(classes: Sequence[str], names: Sequence[str]) -> list[int]:
    """The labels of those of the names that a data set has."""
    return [place for place, name in enumerate(classes) if name in names]


def mix_classes(
    images: NDArray[np.uint8], labels: Labels, ignore: int, ground: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Labels]:
    """Puts half of the classes of one picture of a batch, as they lie there, into the one before it, in a light of
    their own: the same cars and kerbs before many grounds.

    Source: Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning" (2021).

    Args:
        images: `[N,h,w,3]`.
        labels: `[N,h,w]`.
        ground: classes that go together or not at all.
    """
    mixed, of_mixed = images.copy(), labels.copy()
    for place in range(len(images)):
        other = (place + 1) % len(images)
        present = np.setdiff1d(np.unique(labels[other]), [ignore])
        if rng.random() >= MIXED or len(present) < 2:
            continue
        chosen = rng.choice(present, len(present) // 2, replace=False)
        chosen = np.setdiff1d(chosen, ground) if rng.random() < 0.5 else np.union1d(chosen, ground)
        put = np.isin(labels[other], chosen)
        light = rng.uniform(0.6, 1.2)
        mixed[place][put] = np.clip(images[other][put] * light, 0, 255).astype(np.uint8)
        of_mixed[place][put] = labels[other][put]
    return mixed, of_mixed


def shade(
    images: NDArray[np.uint8], labels: Labels, shaded: Sequence[int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Darkens the ground under and beside what stands on it, down to black: low light leaves none there.

    Args:
        images: `[N,h,w,3]`.
        labels: `[N,h,w]`.
        shaded: the classes that stand on the ground.
    """
    result = images.copy()
    for image, of_image in zip(result, labels, strict=True):
        things = np.isin(of_image, shaded).astype(np.float32)
        if rng.random() >= SHADES or not things.any():
            continue
        down, soft = int(rng.integers(2, 14)), int(rng.integers(1, 5))
        below = np.zeros_like(things)
        below[down:] = things[:-down]
        below = cv2.blur(np.maximum(below, cv2.dilate(things, np.ones((1, 1 + 2 * soft)))), (2 * soft + 1, soft + 1))
        light = np.where(things > 0, 1.0, 1.0 - rng.uniform(0.3, 1.0) * below)
        image[:] = (image * light[..., None]).astype(np.uint8)
    return result


def relight(
    images: NDArray[np.uint8], labels: Labels, skies: Sequence[int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Gives each class a light and a tint of its own, and a sky often less than it had: how bright a pavement is
    beside its road, or a sky above it, is another matter at dusk, in rain or under lamps.

    Args:
        images: `[N,h,w,3]`.
        labels: `[N,h,w]`.
        skies: the classes that are often darkened.
    """
    result = images.copy()
    for image, of_image in zip(result, labels, strict=True):
        if rng.random() >= RELIT:
            continue
        gains = rng.normal(0, 0.25, (256, 1)) + rng.normal(0, 0.06, (256, 3))
        gains[list(skies)] += rng.uniform(-2.0, 0.0)
        light = cv2.blur(np.exp(gains).astype(np.float32)[of_image], (3, 3))
        image[:] = np.clip(image * light, 0, 255).astype(np.uint8)
    return result
