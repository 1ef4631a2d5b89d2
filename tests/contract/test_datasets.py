"""The contract of every data set reader."""

import json

import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import OrillaError
from orilla.runtime.evaluation.datasets import ArraySample, ClassifiedImage, ClassifiedText, LabelledImage, open_dataset
from orilla.runtime.evaluation.datasets.registry import READERS

RNG = np.random.default_rng(0)


def kitti(folder):
    for index in range(6):
        factories.write_picture(
            folder / "training" / "image_2" / f"um_{index:06}.png", factories.picture(40, 60, index)
        )
        labels = np.zeros((40, 60, 3), np.uint8)
        labels[..., 2] = 255
        labels[20:, :, 0] = 255
        factories.write_picture(folder / "training" / "gt_image_2" / f"um_road_{index:06}.png", labels)
    return folder


def masks(folder):
    for start, split in enumerate(("train", "val")):
        for index in range(3):
            image = factories.picture(40, 60, 10 * start + index)
            factories.write_picture(folder / split / "images" / f"{index}.png", image)
            mask = np.zeros((40, 60), np.uint8)
            mask[20:] = 255
            factories.write_picture(folder / split / "masks" / f"{index}.png", mask)
    return folder


def mnist(folder):
    folder.mkdir()
    arrays = {"x_train": (20, 28, 28), "y_train": (20,), "x_test": (10, 28, 28), "y_test": (10,)}
    np.savez(folder / "mnist.npz", **{name: RNG.integers(0, 10, shape, np.uint8) for name, shape in arrays.items()})
    return folder / "mnist.npz"


def imdb(folder):
    folder.mkdir()
    reviews = np.array([[1, 4, 5], [1, 6, 4, 5]] * 5, dtype=object)
    labels = np.array([0, 1] * 5)
    np.savez(folder / "imdb.npz", x_train=reviews, y_train=labels, x_test=reviews[::-1], y_test=labels[::-1])
    (folder / "imdb_word_index.json").write_text(
        json.dumps({"good": 1, "film": 2, "bad": 3, "plot": 4, "dull": 5, "of": 6})
    )
    return folder / "imdb.npz"


def arrays(folder):
    folder.mkdir()
    np.savez(folder / "arrays.npz", x=RNG.normal(size=(30, 4)).astype(np.float32), y=RNG.normal(size=(30, 2)))
    return folder / "arrays.npz"


def texts(folder):
    folder.mkdir()
    return factories.text_table(folder / "reviews.csv")


BUILDERS = {
    "scenes": lambda folder: "scenes:3",
    "camvid": lambda folder: factories.camvid_folder(folder, {"train": 3, "val": 2}),
    "kitti": kitti,
    "masks": masks,
    "folders": lambda folder: factories.class_folders(folder, {"train": 3, "validation": 2}),
    "mnist": mnist,
    "imdb": imdb,
    "arrays": arrays,
    "texts": texts,
}
"""Name of a reader to the function that writes a small data set of its kind."""


def load_first(path):
    dataset = open_dataset(path)
    return dataset.load(dataset.splits[0], 0)


@pytest.fixture(params=READERS)
def kind(request):
    if request.param not in BUILDERS:
        pytest.fail(f"reader {request.param} has no contract case: add a builder here")
    return request.param


@pytest.fixture
def dataset(kind, tmp_path):
    return open_dataset(BUILDERS[kind](tmp_path / "data"))


def test_the_reader_recognises_its_own_layout(kind, dataset):
    assert type(dataset).__module__ == f"orilla.runtime.evaluation.datasets.{kind}"
    assert dataset.source.name
    assert dataset.source.licence
    assert set(dataset.splits) <= {"train", "val", "test", "all"}


def test_samples_have_the_documented_form(dataset):
    split = dataset.splits[0]
    names = dataset.names(split)
    assert len(set(names)) == len(names) > 0
    sample = dataset.load(split, 0)
    assert sample.name == names[0]
    if isinstance(sample, LabelledImage):
        assert sample.image.dtype == sample.labels.dtype == np.uint8
        assert sample.image.shape == (*sample.labels.shape, 3)
        assert set(np.unique(sample.labels)) <= {*range(len(dataset.classes)), dataset.ignore}
    elif isinstance(sample, ClassifiedImage):
        assert sample.image.dtype == np.uint8
        assert sample.image.ndim == 3
        assert 0 <= sample.label < len(dataset.classes)
    elif isinstance(sample, ClassifiedText):
        assert sample.text
        assert 0 <= sample.label < len(dataset.classes)
    else:
        assert isinstance(sample, ArraySample)
        assert all(array.size for array in sample.arrays.values())


def test_equal_data_has_equal_digests(kind, dataset, tmp_path):
    split = dataset.splits[0]
    assert dataset.digest(split) == dataset.digest(split)
    assert len(dataset.digest(split)) == 64
    if len(dataset.splits) > 1:
        assert dataset.digest(split) != dataset.digest(dataset.splits[1])


def test_damaged_data_gives_one_error(kind, tmp_path):
    """Every file of the data set becomes a few meaningless bytes."""
    path = BUILDERS[kind](tmp_path / "data")
    if kind == "scenes":
        pytest.skip("procedural scenes have no files")
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        file.write_bytes(b"\xff\x00nonsense")
    with pytest.raises(OrillaError) as caught:
        load_first(path)
    assert "\n" not in str(caught.value)


def test_the_builders_need_no_reader_that_is_gone():
    assert set(BUILDERS) == set(READERS)
