"""Data sets of images or texts in classes, and the features that all data sets have in common."""

import gzip
import os
import shutil

import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.registry import absolute


def test_a_heic_image_has_its_own_message(tmp_path):
    data = factories.class_folders(tmp_path / "data", {"train": 2, "val": 2})
    (data / "val" / "cat" / "a.heic").write_bytes(factories.HEIC)
    with pytest.raises(DataError, match=r"a\.heic: HEIC is not supported; convert it to JPEG"):
        open_dataset(data).load("val", 0)


def test_unknown_names_are_explained():
    with pytest.raises(ConfigError, match="unknown data set 'scnes': did you mean scenes"):
        open_dataset("scnes")
    with pytest.raises(ConfigError, match="seed after the colon"):
        open_dataset("scenes:x")
    with pytest.raises(DataError, match="camvid is not downloaded: run orilla data get camvid"):
        open_dataset("camvid")
    with pytest.raises(ConfigError, match="unknown split"):
        open_dataset("scenes").names("test")


def test_class_folders_may_be_in_a_folder_or_a_zip(tmp_path):
    folder = factories.class_folders(tmp_path / "in" / "animals", {"train": 3, "validation": 2})
    zipped = factories.zip_folder(tmp_path / "in", tmp_path / "animals.zip")
    plain, packed = open_dataset(folder), open_dataset(zipped)
    for dataset in (plain, packed):
        assert (dataset.task, dataset.classes, dataset.splits) == ("classify", ("cat", "dog"), ("train", "val"))
        assert dataset.labels("val") == [0, 0, 1, 1]
        assert dataset.load("train", 4).name == "dog/dog001.png"
    assert plain.digest("train") == packed.digest("train")


def test_folders_without_splits_are_divided_by_content(tmp_path):
    factories.class_folders(tmp_path / "all", {"": 100})
    dataset = open_dataset(tmp_path / "all")
    counts = {split: len(dataset.names(split)) for split in dataset.splits}
    assert sum(counts.values()) == 200
    assert counts["train"] > 140
    assert min(counts["val"], counts["test"]) > 8


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    folder = factories.class_folders(tmp_path / "vehicles", {".": 12}, classes=("car", "train"))
    dataset = open_dataset(folder)
    assert dataset.classes == ("car", "train")
    assert sum(len(dataset.names(split)) for split in dataset.splits) == 24


def test_a_split_without_one_of_the_classes_is_an_error(tmp_path):
    folder = factories.class_folders(tmp_path / "animals", {"train": 3, "test": 2})
    shutil.rmtree(folder / "test" / "dog")
    with pytest.raises(DataError, match="class dog has no image in test/: add some files"):
        open_dataset(folder).names("test")


@pytest.mark.parametrize("zipped", [False, True])
def test_images_in_subfolders_belong_to_the_class_of_the_folder(tmp_path, zipped):
    folder = factories.class_folders(tmp_path / "animals", {"train": 2, "test": 2})
    (folder / "train" / "cat" / "siamese").mkdir()
    factories.write_picture(folder / "train" / "cat" / "siamese" / "cat000.png", factories.picture(20, 30))
    dataset = open_dataset(factories.zip_folder(folder, tmp_path / "animals.zip") if zipped else folder)
    assert dataset.names("train") == (
        "cat/cat000.png",
        "cat/cat001.png",
        "cat/siamese/cat000.png",
        "dog/dog000.png",
        "dog/dog001.png",
    )
    assert dataset.load("train", 2).image.shape == (20, 30, 3)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("split", ["", "train/"])
@pytest.mark.parametrize("suffix", [".png", ".txt"])
def test_all_samples_of_a_class_may_be_in_subfolders(tmp_path, zipped, split, suffix):
    top = tmp_path / "data"
    for name in ("cat", "dog"):
        for year in ("2023", "2024"):
            file = top / split / name / year / f"{name}{suffix}"
            file.parent.mkdir(parents=True)
            if suffix == ".txt":
                file.write_text(f"{name} {year}")
            else:
                factories.write_picture(file, factories.picture(20, 30, seed=int(year)))
    dataset = open_dataset(factories.zip_folder(top, tmp_path / "data.zip") if zipped else top)
    assert dataset.classes == ("cat", "dog")
    assert sum(len(dataset.names(part)) for part in dataset.splits) == 4


def test_a_split_may_have_one_folder_around_its_classes(tmp_path):
    animals = factories.class_folders(tmp_path / "animals", {"Train/images": 3, "Testing/images": 2})
    dataset = open_dataset(animals)
    assert dataset.classes == ("cat", "dog")
    assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 6, "test": 4}


def test_a_link_to_a_parent_folder_is_not_followed(tmp_path):
    animals = factories.class_folders(tmp_path / "animals", {"train": 3, "val": 2})
    (animals / "train" / "cat" / "loop").symlink_to(animals / "train" / "cat")
    (animals / "train" / "dog" / "loop").symlink_to(animals)
    assert len(open_dataset(animals).names("train")) == 6


def test_file_names_that_are_not_utf_8(tmp_path):
    animals = factories.class_folders(tmp_path / "animals", {"train": 3, "val": 2})
    odd = os.fsdecode(b"caf\xe9")
    (animals / "train" / "cat" / "cat000.png").rename(animals / "train" / "cat" / f"{odd}.png")
    dataset = open_dataset(animals)
    assert "cat/caf\ufffd.png" in dataset.names("train")
    assert dataset.load("train", dataset.names("train").index("cat/caf\ufffd.png")).label == 0
    (animals / "train" / odd).mkdir()
    with pytest.raises(DataError, match="class caf\ufffd: the folder name is not UTF-8"):
        open_dataset(animals)


def test_an_absolute_specification_is_valid_in_every_folder(tmp_path, monkeypatch):
    animals = factories.class_folders(tmp_path / "animals", {"train": 3, "val": 2})
    monkeypatch.chdir(animals)
    assert open_dataset(".").source.name == "animals"
    assert absolute("folders:../animals/") == f"folders:{animals}"
    assert absolute(".") == str(animals)
    assert absolute("scenes:3") == "scenes:3"
    assert absolute("mnist") == "mnist"


def test_mnist_is_the_same_from_npz_and_idx_files(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (7, 28, 28), np.uint8), np.arange(7, dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    idx = tmp_path / "fashion"
    idx.mkdir()
    for prefix, count in (("train", 7), ("t10k", 2)):
        header = (2051).to_bytes(4, "big") + b"".join(side.to_bytes(4, "big") for side in (count, 28, 28))
        packed = gzip.compress(header + images[:count].tobytes())
        (idx / f"{prefix}-images-idx3-ubyte.gz").write_bytes(packed)
        header = (2049).to_bytes(4, "big") + count.to_bytes(4, "big")
        (idx / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels[:count].tobytes())
    digits, garments = open_dataset(tmp_path / "mnist.npz"), open_dataset(idx)
    assert (digits.source.name, garments.source.name) == ("mnist", "fashion_mnist")
    assert garments.classes[9] == "ankle boot"
    assert digits.digest("test") == garments.digest("test")
    sample = digits.load("train", 3)
    assert sample.label == 3
    assert np.array_equal(sample.image, np.repeat(images[3][..., None], 3, axis=2))
    inside = tmp_path / "FashionMNIST" / "raw"  # Torchvision stores the files in this folder.
    shutil.copytree(idx, inside)
    assert [open_dataset(path).source.name for path in (inside, inside.parent)] == ["fashion_mnist"] * 2
    (idx / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(DataError, match="not an idx file of this kind"):
        open_dataset(idx)


def imdb_file(folder, ranks):
    lists = np.empty(len(ranks), object)
    lists[:] = ranks
    np.savez(folder / "imdb.npz", x_train=lists, y_train=[0, 1], x_test=lists, y_test=[1, 0])
    (folder / "imdb_word_index.json").write_text('{"good": 1, "film": 2, "bad": 3}')
    return folder / "imdb.npz"


def test_imdb_word_ranks_become_texts(tmp_path):
    dataset = open_dataset(imdb_file(tmp_path, [[3, 2], [1, 2, 2]]))
    assert [dataset.load("train", index).text for index in range(2)] == ["bad film", "good film film"]
    assert dataset.labels("test") == [1, 0]
    with pytest.raises(DataError, match="word rank 9, but"):
        open_dataset(imdb_file(tmp_path, [[3, 9], [1]]))
    (tmp_path / "imdb_word_index.json").unlink()
    with pytest.raises(DataError, match=r"imdb_word_index\.json is missing"):
        open_dataset(tmp_path / "imdb.npz")


class Evil:
    def __reduce__(self):
        return (print, ("the pickle ran code",))


def test_a_pickle_that_would_run_code_is_rejected(tmp_path, capsys):
    with pytest.raises(DataError, match=r"the file refers to builtins\.print"):
        open_dataset(imdb_file(tmp_path, [[1], Evil()]))
    assert "ran code" not in capsys.readouterr().out


def test_texts_come_from_folders_and_tables(tmp_path):
    table = open_dataset(factories.text_table(tmp_path / "reviews.csv"))
    assert (table.task, table.classes, table.splits) == ("text", ("bad", "good"), ("train", "test"))
    for split in ("train", "test"):
        for name, label in (("neg", 0), ("pos", 1)):
            folder = tmp_path / "aclImdb" / split / name
            folder.mkdir(parents=True)
            (folder / "0_1.txt").write_text(f"{split} {name} <br />caf\u00e9")
            assert label in (0, 1)
    (tmp_path / "aclImdb" / "train" / "unsup").mkdir()
    (tmp_path / "aclImdb" / "train" / "unsup" / "0.txt").write_text("nothing")
    texts = open_dataset(tmp_path / "aclImdb")
    assert texts.classes == ("neg", "pos")
    assert texts.load("test", 1).text == "test pos <br />caf\u00e9"
    (tmp_path / "aclImdb" / "test" / "pos" / "0_1.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(DataError, match=r"pos/0_1.txt is not UTF-8 \(line 1, byte 4 of the line is 0xE9\)"):
        texts.load("test", 1)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("words;label\n", "no column 'text': its first line names 'words', 'label'"),
        ("text;label\n", "has no rows"),
        ("text,label\nhello, world,good\nbye,bad\n", "row 1 has too many fields: put texts with commas in quotes"),
        ("text,label\nhello,good\n", "has only one label"),
        ("text,label\nhello,good\nbye,\n", "row 2 has no label"),
        ("text,label,split\nhello,good,tarin\nbye,bad,test\n", "split 'tarin' must be train, val or test"),
        ("text,label\n", "has no rows"),
    ],
)
def test_an_invalid_table_raises_a_data_error(tmp_path, content, match):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=match):
        open_dataset(tmp_path / "t.csv")


def test_the_specification_may_state_the_kind(tiny_data, tmp_path):
    assert open_dataset(f"camvid:{tiny_data}").source.name == "camvid"
    with pytest.raises(DataError, match="no such data set"):
        open_dataset(f"folders:{tmp_path / 'gone'}")
    with pytest.raises(DataError, match="does not have two folders of images"):
        open_dataset(f"folders:{tmp_path}")
