"""Class folders and tables of images and texts in the layouts of published sets."""

import cv2
import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.registry import open_dataset, reading_of


def write_images(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 8, 3), len(name), np.uint8))


def table(folder, text, count=12, name="{}.jpg"):
    """Write a table, and the images 0 to `count` - 1 in the folder `images`."""
    write_images(folder / "images", map(name.format, range(count)))
    (folder / "train.csv").write_text(text, encoding="utf-8")
    return folder


def labels_of(path):
    """Return the class names of the samples of all splits by the names of the images."""
    dataset = open_dataset(path)
    assert reading_of(path).kind == "image_labels"
    loaded = [dataset.load(split, at) for split in dataset.splits for at in range(len(dataset.names(split)))]
    return {sample.name: dataset.classes[sample.label] for sample in loaded}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_data", "test_data"),
        ("Train_Set_Folder", "TestSet"),
    ],
)
def test_names_of_split_folders(train, test, tmp_path):
    write_images(
        tmp_path, [f"{split}/{cls}/{at}.jpg" for split in (train, test) for cls in ("cat", "dog") for at in "01"]
    )
    write_images(tmp_path, ["seg_pred/seg_pred/1.jpg"])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 4, "test": 4}


@pytest.mark.parametrize(
    ("header", "values", "names"),
    [
        ("id,has_cactus", ("0", "1"), ("0", "1")),
        ("image,emotion", ("sad", "happy"), ("sad", "happy")),
        ("image,label", ("0.0", "1.0"), ("0", "1")),
        ("image,label", ("-1", "1"), ("-1", "1")),
    ],
)
def test_the_only_other_column_states_the_classes(header, values, names, tmp_path):
    rows = "".join(f"{at}.jpg,{values[at % 2]}\n" for at in range(12))
    assert labels_of(table(tmp_path, f"{header}\n{rows}")) == {f"{at}.jpg": names[at % 2] for at in range(12)}


def test_measurements_are_no_classes(tmp_path):
    rows = "".join(f"{at}.jpg,{at * 0.13:.2f}\n" for at in range(12))
    assert reading_of(table(tmp_path, f"image,label\n{rows}")).kind == "image_table"


def test_columns_of_other_cameras_and_without_change_are_not_used(tmp_path):
    """Udacity's simulator records three cameras, and a brake that nobody uses."""
    rows = "".join(f"0{at}.jpg, left_{at}.jpg, right_{at}.jpg, {at / 10}, 0, {at}\n" for at in range(10))
    text = f"center,left,right,steering,brake,speed\n{rows}"
    dataset = open_dataset(table(tmp_path, text, 10, "0{}.jpg"))
    assert dataset.classes == ("steering", "speed")
    assert dataset.notes()[0] == "columns without numbers to learn are not used: left, right, brake"
    assert sorted(tuple(row) for split in dataset.splits for row in dataset.values(split)) == [
        (at / 10, at) for at in range(10)
    ]


def test_decimal_commas(tmp_path):
    rows = "".join(f"{at}.jpg;{at // 10},{at % 10}\n" for at in range(12))
    dataset = open_dataset(table(tmp_path, f"image;steering\n{rows}"))
    values = sorted(float(row[0]) for split in dataset.splits for row in dataset.values(split))
    assert values == pytest.approx([at / 10 for at in range(12)])


def test_numbers_of_classes_of_texts_keep_their_order(tmp_path):
    rows = "".join(f"text {at},{at % 12}\n" for at in range(60))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    assert open_dataset(tmp_path / "texts.csv").classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("name", ["split", "set", "data set", "Subset"])
def test_names_of_the_column_of_splits(name, tmp_path):
    rows = "".join(f"{at}.jpg,{'ab'[at % 2]},{('train', 'valid', 'TEST')[at % 3]}\n" for at in range(12))
    path = table(tmp_path, f"filepaths,labels,{name}\n{rows}")
    dataset = open_dataset(path)
    assert {split: sorted(dataset.names(split)) for split in dataset.splits} == {
        split: sorted(f"{at}.jpg" for at in range(first, 12, 3)) for first, split in enumerate(("train", "val", "test"))
    }
    assert labels_of(path) == {f"{at}.jpg": "ab"[at % 2] for at in range(12)}


def test_a_column_of_sets_that_are_no_splits_is_not_used(tmp_path):
    rows = "".join(f"{at}.jpg,{'ab'[at % 2]},set {at % 3}\n" for at in range(12))
    assert len(labels_of(table(tmp_path, f"image,label,set\n{rows}"))) == 12


def test_the_index_of_pandas_is_no_measurement(tmp_path):
    rows = "".join(f"{at},{at}.jpg,{at / 10}\n" for at in range(12))
    assert open_dataset(table(tmp_path, f",image,steering\n{rows}")).classes == ("steering",)


def fer2013(folder, usages, label="emotion", pixels=48 * 48):
    lines = [f"{label},pixels,Usage"]
    lines += [f"{n % 7},{' '.join([str(n)] * pixels)},{usage}" for n, usage in enumerate(usages)]
    (folder / "fer2013.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_faces_of_fer2013(tmp_path):
    """The pixels of an image are in one column, and a column states the splits."""
    dataset = open_dataset(fer2013(tmp_path, ["Training"] * 7 + ["PublicTest"] * 2 + ["PrivateTest"]))
    assert reading_of(tmp_path).kind == "pixel_tables"
    assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 7, "val": 2, "test": 1}
    assert dataset.classes == ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    sample = dataset.load("test", 0)
    assert sample.image.shape[:2] == (48, 48)
    assert (sample.image == 9).all()
    assert dataset.classes[sample.label] == "Fear"


def test_pixels_in_one_column_without_splits(tmp_path):
    dataset = open_dataset(fer2013(tmp_path, ["a"] * 40, label="label", pixels=100))
    assert sum(len(dataset.names(split)) for split in dataset.splits) == 40
    assert dataset.classes == tuple("0123456")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("3 3 3", "3 3", r"line 5 has 2303 pixels, but the first image has 2304"), ("3 3 3", "3 x 3", "must be numbers")],
)
def test_a_damaged_row_of_fer2013(old, new, message, tmp_path):
    path = fer2013(tmp_path, ["Training"] * 7) / "fer2013.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        open_dataset(path)


@pytest.mark.parametrize("form", ["{}_{}.jpg", "{}-{:03}.jpg", "{} ({}).jpg", "{}.{}.jpg", "big_{}_{}.jpg"])
def test_names_that_begin_with_the_class(form, tmp_path):
    write_images(tmp_path, [form.format(name, number) for name in ("cat", "dog") for number in range(6)])
    assert reading_of(tmp_path).kind == "flat_files"
    expected = {"cat", "dog"} if not form.startswith("big") else {"big_cat", "big_dog"}
    assert set(open_dataset(tmp_path).classes) == expected


@pytest.mark.parametrize("names", [("left", "right"), ("um", "uu"), ("video1", "video2"), ("cam_a", "cam_b"), ("img",)])
def test_names_of_recordings_are_no_classes(names, tmp_path):
    write_images(tmp_path, [f"{name}_{number:06}.png" for name in names for number in range(6)])
    with pytest.raises(DataError, match="images without labels"):
        open_dataset(tmp_path)
