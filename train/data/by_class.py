"""Augmentation by class: copy objects between images, cast shadows, and change the light on each class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MIXED = 0.5
"""Share of samples into which objects of another sample are copied."""

GROUND = ("road", "pavement")
"""Classes that are copied together or not at all, because they look alike and are distinguished mainly by their
border."""

SKIES = ("sky",)
"""Classes that may be as dark as the ground, at dusk or if the camera adjusts its exposure to street lamps."""

RELIT = 0.6
"""Share of samples in which the brightness and tint of each class are changed."""

SHADED = ("car",)
"""Classes that cast a shadow on the ground."""

SHADES = 0.6
"""Share of samples in which objects cast a shadow."""

Labels = NDArray[np.uint8]


def class_indices(classes: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the indices of the classes whose name is in `names`."""
    return [index for index, name in enumerate(classes) if name in names]


def mix_classes(
    images: NDArray[np.uint8], labels: Labels, ignore: int, ground: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Labels]:
    """Copy the pixels of half of the classes from the next image of the batch into each image, at the same positions.

    The brightness of the copied pixels is changed at random. The network therefore sees the same cars and kerbs on
    different ground.

    Source: Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning" (2021).

    Args:
        images: The images, `[N,h,w,3]`.
        labels: Their classes, `[N,h,w]`.
        ignore: The label of unlabelled pixels, which are not copied.
        ground: The classes that are copied together or not at all.
        rng: The source of random numbers.

    Returns:
        The changed images and labels.
    """
    mixed_images, mixed_labels = images.copy(), labels.copy()
    for index in range(len(images)):
        successor = (index + 1) % len(images)
        present = np.setdiff1d(np.unique(labels[successor]), [ignore])
        if rng.random() >= MIXED or len(present) < 2:
            continue
        chosen = rng.choice(present, len(present) // 2, replace=False)
        chosen = np.setdiff1d(chosen, ground) if rng.random() < 0.5 else np.union1d(chosen, ground)
        copied = np.isin(labels[successor], chosen)
        light = rng.uniform(0.6, 1.2)
        mixed_images[index][copied] = np.clip(images[successor][copied] * light, 0, 255).astype(np.uint8)
        mixed_labels[index][copied] = labels[successor][copied]
    return mixed_images, mixed_labels


def shade(
    images: NDArray[np.uint8], labels: Labels, shaded: Sequence[int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Darken the ground below and next to objects, to imitate their shadows in low light. The ground may become black.

    Args:
        images: The images, `[N,h,w,3]`.
        labels: Their classes, `[N,h,w]`.
        shaded: The classes that cast a shadow.
        rng: The source of random numbers.

    Returns:
        The changed images.
    """
    result = images.copy()
    for image, image_labels in zip(result, labels, strict=True):
        objects = np.isin(image_labels, shaded).astype(np.float32)
        if rng.random() >= SHADES or not objects.any():
            continue
        down, soft = int(rng.integers(2, 14)), int(rng.integers(1, 5))
        below = np.zeros_like(objects)
        below[down:] = objects[:-down]
        below = cv2.blur(np.maximum(below, cv2.dilate(objects, np.ones((1, 1 + 2 * soft)))), (2 * soft + 1, soft + 1))
        light = np.where(objects > 0, 1.0, 1.0 - rng.uniform(0.3, 1.0) * below)
        image[:] = (image * light[..., None]).astype(np.uint8)
    return result


def relight(
    images: NDArray[np.uint8], labels: Labels, skies: Sequence[int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change the brightness and tint of each class independently, and darken the sky.

    At dusk, in rain and under street lamps, a pavement or the sky is brighter or darker relative to the road.

    Args:
        images: The images, `[N,h,w,3]`.
        labels: Their classes, `[N,h,w]`.
        skies: The classes that are darkened.
        rng: The source of random numbers.

    Returns:
        The changed images.
    """
    result = images.copy()
    for image, image_labels in zip(result, labels, strict=True):
        if rng.random() >= RELIT:
            continue
        gains = rng.normal(0, 0.25, (256, 1)) + rng.normal(0, 0.06, (256, 3))
        gains[list(skies)] += rng.uniform(-2.0, 0.0)
        light = cv2.blur(np.exp(gains).astype(np.float32)[image_labels], (3, 3))
        image[:] = np.clip(image * light, 0, 255).astype(np.uint8)
    return result
