"""Data sets of labelled road scenes: CamVid, KITTI, and images with masks."""

import shutil

import cv2
import numpy as np
import pytest
from helpers import factories
from PIL import Image

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import open_dataset


@pytest.fixture
def folder(tmp_path):
    return factories.camvid_folder(tmp_path / "camvid", {"train": 4, "val": 2})


def test_a_folder_and_its_zip_contain_the_same_data(folder, tmp_path):
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


def assert_rejected(folder, match, split="train"):
    with pytest.raises(DataError, match=match) as caught:
        load_all(folder, split)
    assert "\n" not in str(caught.value)


def test_an_image_without_labels(folder):
    next((folder / "trainannot").iterdir()).unlink()
    assert_rejected(folder, "4 images in train/ and 3 in trainannot/ do not match")


def test_labels_of_another_size(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.zeros((10, 10), np.uint8))
    assert_rejected(folder, r"has shape \[10, 10\], but image .* has shape \[48, 64\]")


def test_a_label_above_the_last_class(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.full((48, 64), 77, np.uint8))
    assert_rejected(folder, "label 77")


def test_colour_labels(folder):
    path = next((folder / "trainannot").iterdir())
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    assert_rejected(folder, "one channel")


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_damaged_image(folder, content):
    next((folder / "train").iterdir()).write_bytes(content)
    assert_rejected(folder, "cannot decode")


def test_only_camvid_s_own_images_have_camvid_s_licence(folder):
    assert open_dataset(folder).source.licence == "not stated"
    for part in ("train", "trainannot"):
        first = sorted((folder / part).iterdir())[0]
        first.rename(first.with_name("0001TP_006690.png"))
    assert open_dataset(folder).source.licence == "CC BY-NC 4.0 (research use)"


def test_missing_folders(tmp_path, folder):
    assert_rejected(tmp_path / "none.zip", "no such data set")
    (tmp_path / "empty").mkdir()
    assert_rejected(tmp_path / "empty", "it is empty. Orilla reads one folder of images per class")
    (tmp_path / "text.zip").write_text("hello")
    assert_rejected(tmp_path / "text.zip", r"it is a file of type \.zip")
    for file in (folder / "train").iterdir():
        file.unlink()
    for file in (folder / "trainannot").iterdir():
        file.unlink()
    assert_rejected(folder, "no images in train/")


def test_a_split_without_masks_is_an_error(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("images", "masks"):
            factories.write_picture(tmp_path / split / name / "0.bmp", np.zeros((20, 30), np.uint8))
    assert open_dataset(tmp_path).splits == ("train", "val", "test")
    shutil.rmtree(tmp_path / "test" / "masks")
    with pytest.raises(DataError, match="test/images/ exists, but test/masks/ does not"):
        open_dataset(tmp_path).names("train")
    shutil.rmtree(tmp_path / "test" / "images")
    with pytest.raises(DataError, match="test/ has no images/"):
        open_dataset(tmp_path).names("train")


@pytest.mark.parametrize("white", [255, 2])
def test_a_grey_palette_is_read_by_its_indices(tmp_path, white):
    values = np.zeros((20, 30), np.uint8)
    values[10:] = 1
    mask = Image.fromarray(values, "P")
    mask.putpalette([0, 0, 0, white, white, white, 255, 0, 0] + [0] * 759)
    for name in ("images", "masks"):
        factories.write_picture(tmp_path / "train" / name / "0.png", factories.picture(20, 30))
    mask.save(tmp_path / "train" / "masks" / "0.png")
    (tmp_path / "classes.txt").write_text("background\nroad\ncar\n")
    assert np.array_equal(open_dataset(tmp_path).load("train", 0).labels, values)
    (tmp_path / "classes.txt").unlink()
    # Without a list of classes, white pixels are road, regardless of the index of white in the palette.
    if white == 255:
        assert np.array_equal(open_dataset(tmp_path).load("train", 0).labels, values)


def test_a_colour_palette_is_read_by_its_indices(tmp_path):
    """Pascal VOC stores its masks as images with a palette."""
    values = np.zeros((20, 30), np.uint8)
    values[10:] = 1
    mask = Image.fromarray(values, "P")
    mask.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    for name in ("images", "masks"):
        factories.write_picture(tmp_path / "train" / name / "0.png", factories.picture(20, 30))
    mask.save(tmp_path / "train" / "masks" / "0.png")
    assert np.array_equal(open_dataset(tmp_path).load("train", 0).labels, values)


def test_masks_mark_the_road_or_the_classes_of_classes_txt(tmp_path):
    for index, values in enumerate(([0, 255], [0, 1])):
        mask = np.zeros((20, 30), np.uint8)
        mask[10:] = values[1]
        factories.write_picture(tmp_path / "pairs" / "train" / "images" / f"{index}.png", factories.picture(20, 30))
        factories.write_picture(tmp_path / "pairs" / "train" / "masks" / f"{index}.png", mask)
    dataset = open_dataset(tmp_path / "pairs")
    assert dataset.classes == ("background", "road")
    for index in range(2):
        labels = dataset.load("train", index).labels
        assert labels[:10].max() == 0
        assert labels[10:].min() == 1
    mask[0, 0] = 7
    factories.write_picture(tmp_path / "pairs" / "train" / "masks" / "1.png", mask)
    with pytest.raises(DataError, match=r"value 1 in mask 1.png|value 7 in mask 1.png"):
        dataset.load("train", 1)
    (tmp_path / "pairs" / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(DataError, match=r"value 7 in mask 1.png: classes.txt names classes 0 to 1"):
        open_dataset(tmp_path / "pairs").load("train", 1)
    factories.write_picture(tmp_path / "pairs" / "train" / "masks" / "1.png", mask[:5])
    with pytest.raises(DataError, match="a label image must have one channel and the size of its image"):
        open_dataset(tmp_path / "pairs").load("train", 1)


def test_kitti_marks_the_road_in_magenta_and_unlabelled_pixels_in_black(tmp_path):
    for kind in ("um", "umm", "uu"):
        for number in range(5):
            colours = np.zeros((20, 30, 3), np.uint8)
            colours[:, :20] = (0, 0, 255)
            colours[:, :10] = (255, 0, 255)
            where = tmp_path / "data_road" / "training"
            factories.write_picture(where / "image_2" / f"{kind}_{number:06d}.png", factories.picture(20, 30))
            factories.write_picture(where / "gt_image_2" / f"{kind}_road_{number:06d}.png", colours)
            factories.write_picture(where / "gt_image_2" / f"{kind}_lane_{number:06d}.png", colours)
    dataset = open_dataset(tmp_path / "data_road")
    assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 12, "val": 3}
    labels = dataset.load("val", 0).labels
    assert (labels[:, :10] == 1).all()
    assert (labels[:, 10:20] == 0).all()
    assert (labels[:, 20:] == dataset.ignore).all()
    assert dataset.source.name == "kitti_road"


def _colour_masks(folder, lines):
    mask = np.zeros((20, 30, 3), np.uint8)
    mask[:10], mask[10:] = (180, 130, 70), (128, 64, 128)
    mask[:, 25:] = 0
    factories.write_picture(folder / "train" / "images" / "0.png", factories.picture(20, 30))
    factories.write_picture(folder / "train" / "masks" / "0.png", mask)
    (folder / "classes.txt").write_text(lines)
    return folder


@pytest.mark.parametrize(
    "lines",
    [
        "sky 70 130 180\nroad 128 64 128\nvoid 0 0 0\n",
        "sky,70,130,180\nUnlabelled,0,0,0\nroad,128,64,128\n",
    ],
)
def test_the_colours_of_a_mask_are_those_of_classes_txt(tmp_path, lines):
    dataset = open_dataset(_colour_masks(tmp_path, lines))
    assert dataset.classes == ("sky", "road")
    labels = dataset.load("train", 0).labels
    assert (labels[:10, :25] == 0).all()
    assert (labels[10:, :25] == 1).all()
    assert (labels[:, 25:] == dataset.ignore).all()


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("sky 70 130 180\nroad 128 64 128\n", r"colour 0 0 0 \(R G B\) in mask 0.png is not in classes.txt"),
        ("sky 70 130 180\nroad\n", "the line 'road' states no colour, but other lines do"),
        ("sky 70 130 300\n", "the colour 70 130 300 of sky is above 255"),
        ("sky 1 2 3\nroad 1 2 3\n", "the colour 1 2 3 of sky occurs twice"),
        ("void 0 0 0\n", "lists only ignored classes"),
    ],
)
def test_wrong_colours_of_masks_are_refused(tmp_path, lines, match):
    with pytest.raises(DataError, match=match):
        open_dataset(_colour_masks(tmp_path, lines)).load("train", 0)


def test_several_colours_may_belong_to_one_class(tmp_path):
    dataset = open_dataset(_colour_masks(tmp_path, "any 70 130 180\nany 128 64 128\nother 0 0 0\n"))
    assert dataset.classes == ("any", "other")
    assert (dataset.load("train", 0).labels[:, :25] == 0).all()
