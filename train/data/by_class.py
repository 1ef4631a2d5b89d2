"""Random changes of labelled images by class: mixing of two images, shadows, and separate light for each class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MIXED = 0.5
"""Share of samples that receive parts of another sample."""

GROUND = ("road", "pavement")
"""Classes that are pasted together or not at all, because only the edge between them tells them apart."""

SKIES = ("sky",)
"""Classes that may be as dark as the ground: at dusk, or when a camera exposes for its lamps."""

RELIT = 0.6
"""Share of samples in which each class gets its own light and tint."""

SHADED = ("car",)
"""Classes that stand on the ground and shade it."""

SHADES = 0.6
"""Share of samples in which they darken the ground."""

Labels = NDArray[np.uint8]


def numbers(classes: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the labels of the given class names that a data set has."""
    return [place for place, name in enumerate(classes) if name in names]


def mix_classes(
    images: NDArray[np.uint8], labels: Labels, ignore: int, ground: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Labels]:
    """Paste half of the classes of each image into the previous image of the batch, in their own light.

    The network then sees the same cars and kerbs in front of many grounds. Source: Olsson et al., "ClassMix:
    Segmentation-Based Data Augmentation for Semi-Supervised Learning" (2021).

    Args:
        images: Images, `[N,h,w,3]`.
        labels: Labels, `[N,h,w]`.
        ignore: Label of pixels that do not count.
        ground: Classes that are pasted together or not at all.
        rng: Random generator.
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
    """Darken the ground below and next to the objects that stand on it, down to black, as in low light.

    Args:
        images: Images, `[N,h,w,3]`.
        labels: Labels, `[N,h,w]`.
        shaded: Classes that stand on the ground.
        rng: Random generator.
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
    """Give each class its own light and tint, and often darken the sky.

    The brightness of a pavement relative to its road, or of the sky above, changes at dusk, in rain and under lamps.

    Args:
        images: Images, `[N,h,w,3]`.
        labels: Labels, `[N,h,w]`.
        skies: Classes that are often darkened.
        rng: Random generator.
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
