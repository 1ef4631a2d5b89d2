"""Images with masks in the form of published data sets."""

import json

import cv2
import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.registry import open_dataset

BUILDING = (60, 16, 152)


def pair(folder, name, images, masks, rows):
    """Write an image, and a mask whose first rows are a building."""
    for place in (images, masks):
        (folder / place).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / images / f"{name}.jpg"), np.full((8, 8, 3), 40 * rows, np.uint8))
    mask = np.zeros((8, 8, 3), np.uint8)
    mask[:rows] = BUILDING[::-1]
    cv2.imwrite(str(folder / masks / f"{name}.png"), mask)


@pytest.mark.parametrize(("images", "masks"), [("Tile {}/images", "Tile {}/masks"), ("images/{}", "masks/{}")])
def test_equal_names_in_several_folders(images, masks, tmp_path):
    for tile in range(1, 5):
        for name in "abc":
            pair(tmp_path, name, images.format(tile), masks.format(tile), tile)
    listed = [{"title": "Land", "color": "#000000"}, {"title": "Building", "color": "#3C1098"}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": listed}))
    dataset = open_dataset(tmp_path)
    samples = [dataset.load(split, at) for split in dataset.splits for at in range(len(dataset.names(split)))]
    assert dataset.classes == ("Land", "Building")
    assert len(samples) == 12
    for sample in samples:
        assert np.count_nonzero(sample.labels == 1) == 8 * round(sample.image.mean() / 40)
    assert dataset.notes() == []


@pytest.mark.parametrize(
    "text", ["Land 0 0 0\nBuilding 60 16 152\n", '{"classes": [{"title": "Land", "color": "red"}]}']
)
def test_lists_of_classes(text, tmp_path):
    for name in "abcdef":
        pair(tmp_path, name, "images", "masks", 2)
    if text.startswith("{"):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(DataError, match=r"classes\.json does not list classes, each with a title and a color"):
            open_dataset(tmp_path)
    else:
        (tmp_path / "labels.txt").write_text(text)
        assert open_dataset(tmp_path).classes == ("Land", "Building")


def test_split_folders_inside_images_and_masks(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "a")):
        pair(tmp_path, name, f"images/{split}", f"masks/{split}", 2)
    (tmp_path / "labels.txt").write_text("Land 0 0 0\nBuilding 60 16 152\n")
    dataset = open_dataset(tmp_path)
    assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 2, "val": 1}
