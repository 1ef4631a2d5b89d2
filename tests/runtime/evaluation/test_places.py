"""Images of one place stay in one split, and the frames without a road contain none."""

import numpy as np
import pytest
from helpers import factories

from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.places import place_of, splits_by_place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("100_178149", "100"),
        ("b1c66a42-6f7d68ca", "b1c66a42"),
        ("drive_3_0007", "drive_3"),
        ("train_022_e1d7ad", "1"),
        ("valid_021_ffffff", "1"),
        ("test_040_e1d7ad", "2"),
        ("0007", ""),
    ],
)
def test_the_place_in_a_name(name, place):
    assert place_of(name) == place


def test_images_of_one_place_have_one_split():
    names = [f"{place}_{number}" for place in range(300) for number in range(3)]
    splits = splits_by_place(names)
    for start in range(0, len(names), 3):
        assert len(set(splits[start : start + 3])) == 1
    assert 0.7 < splits.count("train") / len(names) < 0.9
    assert {"val", "test"} < set(splits)
    assert splits_by_place(names[:20]) is None
    assert splits_by_place([*names, "alone"]) is None


def test_masks_without_splits_are_divided_by_place(tmp_path):
    for place in range(30):
        for number in range(2):
            for name in ("images", "masks"):
                factories.write_picture(tmp_path / name / f"{place}_{number}.png", np.zeros((8, 8), np.uint8))
    dataset = open_dataset(tmp_path)
    places = {split: {name.partition("_")[0] for name in dataset.names(split)} for split in dataset.splits}
    assert sum(map(len, places.values())) == 30


def test_255_is_ignored_if_masks_have_three_values(tmp_path):
    """A single mask does not show whether 255 is the road or unlabelled, so the other masks decide."""
    for index, values in enumerate(([0, 255, 0, 255], [0, 1, 255, 1])):
        factories.write_picture(tmp_path / "images" / f"{index}.png", np.zeros((8, 8, 3), np.uint8) + index)
        factories.write_picture(
            tmp_path / "masks" / f"{index}.png", np.array(values, np.uint8).repeat(16).reshape(8, 8)
        )
    dataset = open_dataset(tmp_path)
    labels = [dataset.load(split, i) for split in dataset.splits for i in range(len(dataset.names(split)))]
    assert {tuple(np.unique(sample.labels).tolist()) for sample in labels} == {(0, 255), (0, 1, 255)}


def test_frames_without_a_road():
    dataset = open_dataset("no_road")
    samples = [dataset.load("val", index) for index in range(18)]
    assert all(sample.image.shape == (270, 480, 3) and not sample.labels.any() for sample in samples)
    kinds = {sample.name.rpartition("_")[0] for sample in samples}
    assert kinds == {"flat", "smooth", "sky", "noise", "pattern", "room"}
    assert not np.array_equal(samples[0].image, open_dataset("no_road:1").load("val", 0).image)
