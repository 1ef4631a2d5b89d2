"""Render images of a drive: ground, objects, and the effects of light, weather and camera."""

from __future__ import annotations

import cv2
import numpy as np

from orilla.runtime.preprocessing.image import Image
from orilla.runtime.scenes.drive import Drive
from orilla.runtime.scenes.ground import Floats, Labels, View, draw_ground
from orilla.runtime.scenes.things import Canvas, things_near


def render(seed: int, time_s: float = 0.0, size_hw: tuple[int, int] = (360, 640)) -> tuple[Image, Labels]:
    """Render the view of the camera of the drive `seed` at `time_s`.

    Returns:
        The image `[H,W,3]` uint8 BGR, and its labels `[H,W]` uint8, which are indices into `CLASSES`. Both are new
        arrays.
    """
    return render_view(View(Drive.from_seed(seed), time_s, *size_hw))


def render_view(view: View) -> tuple[Image, Labels]:
    """Render one view. The result is as for `render`."""
    image, labels = draw_ground(view)
    canvas = Canvas(image, labels)
    for thing in sorted(things_near(view), key=lambda thing: -thing.z):
        thing.paint(view, canvas)
    return _expose(view, image), labels


def _expose(view: View, image: Floats) -> Image:
    """Apply the effects of light, rain, lens and sensor. Return the image that a camera would store."""
    drive = view.drive
    if drive.night:
        rows, columns = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
        beam = np.exp(-(((columns / view.width - 0.5) / 0.32) ** 2) - ((rows / view.height - 0.75) / 0.25) ** 2)
        image *= (0.45 + 1.4 * beam)[..., None] * np.asarray((1.0, 0.95, 0.85), np.float32)
    image *= drive.exposure
    if drive.rain:
        _rain(view, image)
    blur = 1 + 2 * int(0.002 * view.width * view.rng.uniform(0, 1))
    if blur > 1:
        image = cv2.GaussianBlur(image, (blur, blur), 0)
    noise = drive.noise * view.rng.standard_normal(image.shape[:2], np.float32)
    image += cv2.merge([noise, noise, noise])
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _rain(view: View, image: Floats) -> None:
    veil = np.zeros(image.shape[:2], np.float32)
    for _ in range(int(250 * view.drive.rain)):
        x, y = int(view.rng.integers(view.width)), int(view.rng.integers(view.height))
        length = int(view.height * view.rng.uniform(0.02, 0.07))
        cv2.line(veil, (x, y), (x + length // 5, y + length), float(view.rng.uniform(0.15, 0.4)), 1)
    image += veil[..., None] * (np.float32(220) - image)
