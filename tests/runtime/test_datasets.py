import cv2
import factories
import numpy as np
import pytest

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.datasets import open_dataset


@pytest.fixture
def folder(tmp_path):
    return factories.camvid_folder(tmp_path / "camvid", {"train": 4, "val": 2})


def test_folder_and_zip_are_the_same_data(folder, tmp_path):
    zipped = factories.zip_folder(folder, tmp_path / "camvid.zip")
    nested = factories.zip_folder(folder.parent, tmp_path.parent / f"{tmp_path.name}-nested.zip")
    datasets = [open_dataset(path) for path in (folder, zipped, nested)]
    for dataset in datasets:
        assert dataset.splits == ("train", "val")
        assert len(dataset.names("train")) == 4
        assert dataset.digest("val") == datasets[0].digest("val")
        assert np.array_equal(dataset.load("val", 1).image, datasets[0].load("val", 1).image)


def test_a_change_of_one_label_changes_the_digest(folder):
    before = open_dataset(folder).digest("val")
    path = sorted((folder / "valannot").iterdir())[0]
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    labels[0, 0] = 5
    cv2.imwrite(str(path), labels)
    assert open_dataset(folder).digest("val") != before


def load_all(folder, split):
    dataset = open_dataset(folder)
    return [dataset.load(split, index) for index in range(len(dataset.names(split)))]


def refuse(folder, match, split="train"):
    with pytest.raises(DataError, match=match) as caught:
        load_all(folder, split)
    assert "\n" not in str(caught.value)


def test_a_picture_without_labels(folder):
    next((folder / "trainannot").iterdir()).unlink()
    refuse(folder, "4 pictures in train/ and 3 in trainannot/ don't match")


def test_labels_of_another_size(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.zeros((10, 10), np.uint8))
    refuse(folder, r"are \[10, 10\], picture .* is \[48, 64\]")


def test_a_label_that_is_no_class(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.full((48, 64), 77, np.uint8))
    refuse(folder, "label 77")


def test_colour_labels(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    refuse(folder, "one channel")


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_damaged_picture(folder, content):
    next((folder / "train").iterdir()).write_bytes(content)
    refuse(folder, "cannot decode")


def test_missing_folders(tmp_path, folder):
    refuse(tmp_path / "none.zip", "no such data set")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "has no train/")
    (tmp_path / "text.zip").write_text("hello")
    refuse(tmp_path / "text.zip", "neither a folder nor a zip")
    for file in (folder / "train").iterdir():
        file.unlink()
    for file in (folder / "trainannot").iterdir():
        file.unlink()
    refuse(folder, "no pictures in train/")


def test_names():
    with pytest.raises(ConfigError, match="unknown data set 'scnes': did you mean scenes"):
        open_dataset("scnes")
    with pytest.raises(ConfigError, match="seed after the colon"):
        open_dataset("scenes:x")
    with pytest.raises(DataError, match="camvid is not shipped"):
        open_dataset("camvid")
    with pytest.raises(ConfigError, match="unknown split"):
        open_dataset("scenes").names("test")
