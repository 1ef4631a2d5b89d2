"""Arrays of images with the names, values and locations of published files."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.registry import open_dataset, reading_of

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (12, 28, 28), np.uint8), "test": RNG.integers(0, 256, (6, 28, 28), np.uint8)}
LABELS = {split: np.arange(len(images), dtype=np.uint8) % 3 for split, images in IMAGES.items()}


def check(path, kind, classes=None):
    """Check that a data set has the images and labels above."""
    dataset = open_dataset(path)
    assert reading_of(path).kind == kind
    assert tuple(dataset.splits) == ("train", "test")
    for split, images in IMAGES.items():
        loaded = [dataset.load(split, at) for at in range(len(dataset.names(split)))]
        assert [sample.label for sample in loaded] == LABELS[split].tolist()
        assert np.array_equal(np.stack([sample.image[..., 0] for sample in loaded]), images)
    if classes:
        assert dataset.classes == classes


@pytest.mark.parametrize(
    "names",
    [
        ("trainX", "trainY", "testX", "testY"),
        ("train_data", "train_labels", "test_data", "test_labels"),
        ("training_images", "training_labels", "testing_images", "testing_labels"),
        ("xtrain", "ytrain", "xtest", "ytest"),
        ("train_features", "train_targets", "test_features", "test_targets"),
    ],
)
def test_names_of_arrays(names, tmp_path):
    arrays = (IMAGES["train"], LABELS["train"], IMAGES["test"], LABELS["test"])
    np.savez(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True)))
    check(tmp_path / "a.npz", "image_arrays")


def test_one_array_per_file(tmp_path):
    for split in IMAGES:
        np.savez(tmp_path / f"kmnist-{split}-imgs.npz", IMAGES[split])
        np.savez(tmp_path / f"kmnist-{split}-labels.npz", LABELS[split])
    check(tmp_path, "image_arrays")
    (tmp_path / "npy").mkdir()
    for split in IMAGES:
        np.save(tmp_path / "npy" / f"x_{split}.npy", IMAGES[split])
        np.save(tmp_path / "npy" / f"y_{split}.npy", LABELS[split])
    check(tmp_path / "npy", "image_arrays")
    (tmp_path / "npy" / "y_test.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"y_test\.npy"):
        open_dataset(tmp_path / "npy")


@pytest.mark.parametrize("kind", [str, bytes])
def test_labels_that_are_texts(kind, tmp_path):
    names = np.array(["cat", "cow", "dog"]).astype("S" if kind is bytes else "U")
    arrays = {f"x_{split}": images[:, :20] for split, images in IMAGES.items()}
    arrays |= {f"y_{split}": names[labels] for split, labels in LABELS.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = open_dataset(tmp_path / "a.npz")
    assert dataset.classes == ("cat", "cow", "dog")
    assert [dataset.load("train", at).label for at in range(12)] == LABELS["train"].tolist()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_ones_are_white(dtype, tmp_path):
    arrays = {f"x_{split}": (images > 127).astype(dtype) for split, images in IMAGES.items()}
    np.savez(tmp_path / "mnist.npz", **arrays, **{f"y_{split}": labels for split, labels in LABELS.items()})
    image = open_dataset(tmp_path / "mnist.npz").load("train", 0).image[..., 0]
    assert np.array_equal(image, np.where(IMAGES["train"][0] > 127, 255, 0))


def test_sixteen_bits_become_eight(tmp_path):
    arrays = {f"x_{split}": images.astype(np.uint16) * 257 for split, images in IMAGES.items()}
    np.savez(tmp_path / "mnist.npz", **arrays, **{f"y_{split}": labels for split, labels in LABELS.items()})
    check(tmp_path / "mnist.npz", "mnist")


@pytest.mark.parametrize("name", ["labels", "target", "Y"])
def test_other_names_of_the_ground_truth(name, tmp_path):
    images = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", **{"images": images, name: LABELS["test"]})
    dataset = open_dataset(tmp_path / "a.npz")
    assert dataset.task == "classify"
    assert [dataset.load("all", at).label for at in range(6)] == LABELS["test"].tolist()


def write_idx(folder, place="{}", compress=bytes):
    """Write MNIST's idx files. The location of each file contains the name of the file."""
    for split, prefix in (("train", "train"), ("test", "t10k")):
        for kind, array in (("images-idx3-ubyte", IMAGES[split]), ("labels-idx1-ubyte", LABELS[split])):
            data = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
            file = folder / place.format(f"{prefix}-{kind}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(compress(data + array.tobytes()))
    return folder


@pytest.mark.parametrize("place", ["{}", "{0}/{0}", "files/{}", "MNIST/raw/{}", "files/{}.gz"])
def test_places_of_idx_files(place, tmp_path):
    check(write_idx(tmp_path / "mnist", place, gzip.compress if place.endswith(".gz") else bytes), "mnist")
    with zipfile.ZipFile(tmp_path / "mnist.zip", "w") as archive:
        for file in (tmp_path / "mnist").rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path / "mnist"))
    check(tmp_path / "mnist.zip", "mnist")


def test_idx_files_of_several_data_sets_are_refused(tmp_path):
    shutil.copytree(write_idx(tmp_path / "MNIST" / "raw"), tmp_path / "FashionMNIST" / "raw")
    with pytest.raises(DataError, match=r"several data sets \(FashionMNIST and MNIST\): give the path of one"):
        open_dataset(tmp_path)
    assert "ankle boot" in open_dataset(tmp_path / "FashionMNIST").classes


@pytest.mark.parametrize(
    ("name", "heading", "label_at"),
    [("mnist_{}.csv", True, 0), ("mnist_{}.csv", False, 0), ("data-{}.csv", True, 784), ("emnist-x-{}.csv", False, 0)],
)
def test_tables_of_pixels(name, heading, label_at, tmp_path):
    header = [f"pixel{number}" for number in range(784)]
    header.insert(label_at, "label")
    for split, images in IMAGES.items():
        stored = images.transpose(0, 2, 1) if name.startswith("emnist") else images
        rows = np.insert(stored.reshape(len(images), -1).astype(int), label_at, LABELS[split], axis=1)
        lines = [header] * heading + rows.tolist()
        text = "".join(",".join(map(str, line)) + "\r\n" for line in lines)
        (tmp_path / name.format(split)).write_bytes(text.encode("utf-8-sig"))
    (tmp_path / "test_without.csv").write_text(
        ",".join(header[:label_at] + header[label_at + 1 :]) + "\n" + "0," * 783 + "0"
    )
    check(tmp_path, "pixel_tables", ("0", "1", "2"))
    one = open_dataset(tmp_path / name.format("train"))
    assert sum(len(one.names(split)) for split in one.splits) == 12


def test_a_damaged_table_of_pixels_is_named(tmp_path):
    row = ",".join(["1"] * 65)
    (tmp_path / "digits.csv").write_text(f"{row}\n" + row.replace("1", "0", 1) + f"\n{row[:-1]}x\n")
    with pytest.raises(DataError, match=r"cannot read digits\.csv: .*'x'"):
        open_dataset(tmp_path / "digits.csv")
