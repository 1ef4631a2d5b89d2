"""Contract tests that every data set reader must pass. The checks are in `runtime/evaluation/datasets/contract.py`."""

import numpy as np
import pytest
from helpers.datasets import EXAMPLES, encode, replace_in_npz

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.contract import CHECKS, DatasetCase, damaged
from orilla.runtime.evaluation.datasets.registry import READERS

EMBEDDED = ("scenes", "scene_boxes", "scene_steering", "no_road")
"""Kinds that consist of computer-generated images."""


def load_all(spec):
    dataset = open_dataset(spec)
    return [dataset.load(split, index) for split in dataset.splits for index in range(len(dataset.names(split)))]


def build(name, path):
    return EXAMPLES[name].build(path, None)


@pytest.fixture(params=EXAMPLES)
def example(request):
    return EXAMPLES[request.param]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(example, check, tmp_path):
    check(DatasetCase(example.kind, example.build, tmp_path, example.kind not in EMBEDDED))


def test_every_reader_has_an_example():
    assert {example.kind for example in EXAMPLES.values()} == set(READERS.built_in)


def test_the_reader_recognises_its_own_layout(example, tmp_path):
    dataset = open_dataset(example.build(tmp_path / "data", None))
    assert type(dataset).__module__ == f"orilla.runtime.evaluation.datasets.{example.kind}"


HUGE = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 28, 28), }"
"""Start of the header of a `.npy` file whose array would not fit in the memory of any machine."""

ZEROS = encode(np.zeros(3))


@pytest.mark.parametrize("data", [b"", b"not an array", ZEROS[:70], ZEROS[:-1], HUGE.ljust(127) + b"\n"])
@pytest.mark.parametrize(
    "array", ["mnist x_train", "mnist y_test", "imdb x_train", "imdb y_test", "arrays x", "arrays y"]
)
def test_a_damaged_array_in_an_intact_archive(array, data, tmp_path):
    """The checksum of the archive is correct, so the reader itself must detect the damage."""
    name, member = array.split()
    path = build(name, tmp_path / "data")
    replace_in_npz(path, {member: data})
    with pytest.raises(DataError) as caught:
        load_all(f"{name}:{path}")
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_pickle_in_an_intact_archive(tmp_path):
    path = build("imdb", tmp_path / "data")
    reviews = np.empty(2, object)
    reviews[:] = [[1, 4, 5], [6, 4]]
    errors = []
    for version in damaged(encode(reviews)):
        replace_in_npz(path, {"x_train": version, "y_train": np.array([0, 1])})
        try:
            load_all(f"imdb:{path}")
        except DataError as error:
            errors.append(str(error))
    assert len(errors) > 10
    assert not [error for error in errors if "\n" in error]


LISTS = np.empty(10, object)
LISTS[:] = [[1, 2]] * 9 + [[0]]


@pytest.mark.parametrize(
    ("name", "replaced", "message"),
    [
        ("mnist", {"y_test": None}, "it has no array y_test"),
        ("mnist", {"x_train": np.zeros((20, 28), np.uint8)}, r"train has images of shape \[20, 28\] and type uint8"),
        (
            "mnist",
            {"x_train": np.zeros((19, 28, 28), np.uint8)},
            r"labels of shape \[20\] and type uint8 for 19 images",
        ),
        ("mnist", {"y_test": np.full(10, 10, np.uint8)}, "test has a label other than 0 to 9"),
        ("imdb", {"x_test": None}, "it has no array x_test"),
        ("imdb", {"y_test": np.full(10, 2)}, "10 reviews and 10 labels: each review"),
        ("imdb", {"y_train": np.zeros(9, int)}, "10 reviews and 9 labels"),
        ("imdb", {"x_train": LISTS}, "word rank 0, but"),
        ("imdb", {"x_train": np.zeros(10)}, "cannot read"),
        ("arrays", {"x": None}, "contains no samples"),
        ("arrays", {"x": np.zeros((0, 4))}, "contains no samples"),
        ("arrays", {"x": np.zeros((29, 4))}, r"different lengths \(x 29, y 30\)"),
        ("arrays", {"x": np.full((30, 4), np.nan)}, "x contains NaN or infinity"),
        ("arrays", {"x": LISTS}, "cannot read"),
        ("arrays", {"y": np.array(["cat"] * 30)}, "give numbers, one row per sample"),
        ("arrays of images", {"y": np.zeros((5, 2), np.uint8)}, r"give class indices \[N\] or masks \[N,H,W\]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(name, replaced, message, tmp_path):
    path = build(name, tmp_path / "data")
    replace_in_npz(path, replaced)
    with pytest.raises(DataError, match=message) as caught:
        load_all(f"{EXAMPLES[name].kind}:{path}")
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("mnist in idx files", "train-labels-idx1-ubyte", b"\0\0\x08\x03", "not an idx file of this kind"),
        ("mnist in idx files", "train-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x14abc", "cannot read"),
        ("mnist in idx files", "train-images-idx3-ubyte.gz", b"not gzipped", "cannot read"),
        ("mnist in idx files", "t10k-labels-idx1-ubyte", None, "has no t10k-labels-idx1-ubyte"),
        ("imdb", "imdb_word_index.json", b"{", "cannot read"),
        ("imdb", "imdb_word_index.json", b"{}", "cannot read"),
        ("imdb", "imdb_word_index.json", b'{"good": 0}', "must give each word a rank from 1"),
        ("imdb", "imdb_word_index.json", None, r"imdb_word_index\.json is missing"),
        (
            "texts in folders",
            "test/pos/1.txt",
            "caf\u00e9".encode("latin-1"),
            r"pos/1\.txt is not UTF-8 \(line 1",
        ),
        ("texts in folders", "test/pos/1.txt", b" \n", r"pos/1\.txt is empty: remove it"),
        ("masks", "classes.txt", b"\xff", "classes.txt is not UTF-8"),
        ("masks", "classes.txt", b"sky\n\nroad\n", "classes.txt has an empty line"),
        (
            "kitti",
            "training/gt_image_2/um_road_000002.png",
            None,
            "um_000002.png exists, but um_road_000002.png does not",
        ),
    ],
)
def test_a_damaged_or_missing_file_is_named(name, file, content, message, tmp_path):
    spec = build(name, tmp_path / "data")
    damaged_file = tmp_path / "data" / file
    if content is None:
        damaged_file.unlink()
    else:
        damaged_file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_all(f"{EXAMPLES[name].kind}:{spec}")
    assert "\n" not in str(caught.value)
