"""Augmentation by the camera: night, colour casts, defocus and JPEG artefacts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

NIGHT = 0.12
"""Share of samples that are darkened and made noisy, to imitate a high gain at night."""

CAST = 0.2
"""Share of samples with a strong colour cast, to imitate street lamps or a camera without white balance."""

DEFOCUS = 0.15
"""Share of samples that are blurred, to imitate defocus, motion blur or a small sensor."""

JPEG = 0.3
"""Share of samples that are compressed as JPEG, with a quality of 15 to 70."""


def degrade(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Degrade the images `[N,h,w,3]` to imitate worse cameras. Each image is changed independently."""
    return np.stack([_degraded(image, rng) for image in images])


def _degraded(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    night, cast, defocus, jpeg = rng.random(4) < (NIGHT, CAST, DEFOCUS, JPEG)
    if night:
        dark = image * rng.uniform(0.1, 0.5) + rng.normal(0, rng.uniform(1, 8), image.shape)
        image = np.clip(dark, 0, 255).astype(np.uint8)
    if cast:
        image = np.clip(image * rng.uniform(0.55, 1.25, 3), 0, 255).astype(np.uint8)
    if defocus:
        size = (int(rng.integers(1, 4)) * 2 + 1, int(rng.integers(1, 4)) * 2 + 1)
        image = cv2.blur(image, size).astype(np.uint8)
    if jpeg:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 71))])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image
