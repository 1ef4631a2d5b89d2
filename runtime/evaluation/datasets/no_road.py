"""The embedded data set of computer-generated frames without a road.

A camera delivers such frames if it is covered, overexposed, disconnected, indoors or pointed at the sky. A network that
was trained on streets only may find a road in them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets.dataset import LabelledImage, require_split
from orilla.runtime.evaluation.datasets.masks import BINARY
from orilla.runtime.evaluation.datasets.scenes import Scenes, seed_of
from orilla.runtime.preprocessing.image import Image

Frame = NDArray[np.float64]
"""Frame `[H,W,3]` BGR, whose values are later clipped to 0-255."""

Draw = Callable[[np.random.Generator, tuple[int, int]], Frame]
"""Function that draws a frame of a given size."""

BARS = np.array([(192, 192, 192), (0, 192, 192), (192, 192, 0), (0, 192, 0), (192, 0, 192), (0, 0, 192), (192, 0, 0)])
"""Colour bars of a test pattern, BGR. Source: SMPTE EG 1."""


def flat(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw a single colour, such as black, white or grey, with a little noise in half of the frames."""
    grey = [0.0, 255.0, rng.uniform(0, 255)][rng.integers(3)]
    colour = np.full(3, grey) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    grain = rng.normal(0, 1, (*size_hw, 3))
    return np.asarray(colour + grain * max(0.0, rng.uniform(-12, 12)))


def smooth(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw a smooth pattern, to imitate a wall out of focus."""
    cells = (*rng.integers(2, 12, 2), 3)
    return _enlarged(rng.uniform(0, 255, cells), size_hw)


def sky(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw a sky by day or night with clouds, which fills the frame."""
    top, bottom = np.array([[200, 130, 70], [240, 215, 190]]) * rng.uniform(0.1, 1.1, (2, 1))
    rows = np.linspace(0, 1, size_hw[0])[:, None, None]
    blue = top + (bottom - top) * rows + np.zeros((*size_hw, 3))
    clouds = np.sum([_grain(rng, size_hw, 4 * 2**octave) / 2**octave for octave in range(4)], axis=0)
    cover = np.clip(clouds + rng.uniform(-1, 0.5), 0, 1)[..., None]
    return np.asarray(blue + (rng.uniform(20, 255) - blue) * cover)


def noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw noise, to imitate an input without a camera. It is grey or coloured, and fine or coarse."""
    step = int(rng.integers(1, 9))
    cells = rng.uniform(0, 255, (-(-size_hw[0] // step), -(-size_hw[1] // step), 1 + 2 * int(rng.integers(2))))
    return np.asarray(np.zeros(3) + cells.repeat(step, 0).repeat(step, 1)[: size_hw[0], : size_hw[1]])


def pattern(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw a test pattern: colour bars, a chessboard, stripes or a grey ramp."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    size, kind = int(rng.integers(8, 80)), rng.integers(4)
    if kind == 0:
        return np.asarray(BARS[x * len(BARS) // size_hw[1]] * rng.uniform(0.4, 1.3))
    colours = rng.uniform(0, 255, (2, 3))
    if kind == 1:
        return np.asarray(colours[(x // size + y // size) % 2])
    if kind == 2:
        angle = rng.uniform(0, np.pi)
        stripes = np.floor((x * np.cos(angle) + y * np.sin(angle)) / size) % 2
        return np.asarray(colours[stripes.astype(int)])
    return np.asarray(np.zeros(3) + (x if rng.random() < 0.5 else y)[..., None] * 255 / size_hw[1])


def room(rng: np.random.Generator, size_hw: tuple[int, int]) -> Frame:
    """Draw a room: walls, a tiled or wooden floor, and furniture as boxes."""
    height, width = size_hw
    frame = np.zeros((*size_hw, 3)) + rng.uniform(60, 240) + rng.normal(0, 15, 3)
    edge, corner = int(height * rng.uniform(0.45, 0.85)), int(width * rng.uniform(0, 1))
    frame[:, :corner] *= rng.uniform(0.7, 1.0)
    y, x = np.mgrid[edge:height, :width]
    depth = 60.0 / (y - edge + 4)
    boards, tiles = np.floor((x - width / 2) * depth / rng.uniform(4, 40)), np.floor(depth * rng.uniform(1, 6))
    wood = np.array([50, 95, 150]) * rng.uniform(0.4, 1.6) + rng.normal(0, 25, 3)
    frame[edge:] = wood * (1 + rng.uniform(0.05, 0.4) * ((boards + tiles) % 2))[..., None]
    for _ in range(int(rng.integers(1, 9))):
        left, top = rng.integers(width), rng.integers(height // 6, height)
        right, bottom = left + rng.integers(10, width // 2), top + rng.integers(10, height // 2)
        box = frame[top:bottom, left:right]
        box[:] = rng.uniform(0, 255, 3) * np.linspace(1, rng.uniform(0.5, 1), width)[: box.shape[1], None]
    return np.asarray(frame + _grain(rng, size_hw, 3)[..., None] * 30)


def _grain(rng: np.random.Generator, size_hw: tuple[int, int], cells: int) -> Frame:
    """Return smooth random values `[H,W]`, about -0.5 to 0.5, with a number of cells in each direction."""
    return _enlarged(rng.uniform(-0.5, 0.5, (cells, cells)), size_hw)


def _enlarged(cells: Frame, size_hw: tuple[int, int]) -> Frame:
    """Enlarge an array to a height and width by cubic interpolation."""
    return np.asarray(cv2.resize(cells, size_hw[::-1], interpolation=cv2.INTER_CUBIC), np.float64)


KINDS: tuple[Draw, ...] = (flat, smooth, sky, noise, pattern, room)
"""Functions that draw the frames. Successive samples use them in turn."""


class NoRoad(Scenes):
    """Frames without a road. All their pixels are background. A sample is rendered when it is loaded."""

    source = Source("no_road", "Orilla's computer-generated frames without a road", "Apache-2.0")
    classes = BINARY

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples, with the kind of the frame."""
        require_split(self, split)
        drives = (self._drive(split, index) for index in range(self.counts[split]))
        return tuple(f"{self._kind(drive).__name__}_{drive}" for drive in drives)

    def load(self, split: str, index: int) -> LabelledImage:
        """Load one sample."""
        require_split(self, split)
        drive = self._drive(split, index)
        return LabelledImage(self.names(split)[index], self._draw(drive), np.zeros(self.size_hw, np.uint8))

    def content(self, split: str, index: int) -> bytes:
        """Return the parameters that determine the sample."""
        return f"no_road v1 {self.size_hw} drive {self._drive(split, index)}".encode()

    def _draw(self, drive: int) -> Image:
        frame = self._kind(drive)(np.random.default_rng(drive), self.size_hw)
        return np.clip(frame, 0, 255).astype(np.uint8)

    def _kind(self, drive: int) -> Draw:
        return KINDS[drive % len(KINDS)]


def open_dataset(argument: str) -> NoRoad:
    """Open `no_road` or `no_road:SEED`."""
    return NoRoad(seed_of("no_road", argument))
