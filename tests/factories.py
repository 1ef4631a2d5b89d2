"""Tiny data, models and bundles, built when a test asks for them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.card import Card, DataCard, SplitCard
from orilla.runtime.frame import Frame

ROAD = 3
"""CamVid's label of the road."""


def picture(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random picture, `[H,W,3]` BGR."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def road_labels(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Sky above, road below, a column of unlabelled pixels."""
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = ROAD
    labels[:, :2] = 11
    return labels


def road_picture(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Bright above, dark below: what `road_labels` describes, easily learnt."""
    image = picture(height, width, seed) // 4
    image[: height // 2] += 150
    return image


def camvid_folder(folder: Path, counts: dict[str, int], size_hw: tuple[int, int] = (48, 64)) -> Path:
    """A data set in CamVid's layout."""
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for index in range(count):
            stem = f"{'AB'[index % 2]}_{split}{index:03d}"
            image = road_picture(*size_hw, seed=1000 * len(split) + index)
            cv2.imwrite(str(folder / split / f"{stem}.png"), image)
            cv2.imwrite(str(folder / f"{split}annot" / f"{stem}.png"), road_labels(*size_hw))
    return folder


def zip_folder(folder: Path, path: Path) -> Path:
    """The folder's files as a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def video(path: Path, frames: int = 12, size_hw: tuple[int, int] = (48, 64), codec: str = "MJPG") -> Path:
    """A short clip whose pictures get brighter from frame to frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, size_hw[::-1])
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((*size_hw, 3), (10 * index + 5) % 256, np.uint8))
    writer.release()
    return path


def card(input_hw: tuple[int, int]) -> Card:
    """A card of a model that nobody trained."""
    return Card(
        model="tiny",
        task="segment",
        label="road",
        data=DataCard("camvid", "made by a test", "none", (SplitCard("train", 10, "0" * 64),)),
        start_weights="random",
        parameters=10,
        input_hw=input_hw,
        seed=0,
        epochs=1,
        batch=1,
        learning_rate=0.1,
        samples=10,
        seconds=1.0,
        machine="a test",
        versions={},
        command="orilla train road",
        metrics={"iou": 0.5},
    )


class ListSource:
    """Frames from memory; `gate`, where given, is waited for before each."""

    def __init__(self, images: list[NDArray[np.uint8]], *, live: bool = False, error: Exception | None = None) -> None:
        self.live = live
        self.rate_hz: float | None = None
        self.closed = False
        self._images, self._error, self._index = images, error, 0

    def read(self) -> Frame | None:
        if self._index == len(self._images):
            if self._error is not None:
                raise self._error
            return None
        frame = Frame(self._index, self._images[self._index], 1_000_000 * self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        self.closed = True
