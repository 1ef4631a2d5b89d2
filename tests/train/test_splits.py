"""No sample is in two splits, and corrupt samples are found before the first epoch."""

import io

import cv2
import numpy as np
import pytest
from helpers import factories
from PIL import Image

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.train.data.combined import CombinedDataset
from orilla.train.data.scan import scan
from orilla.train.data.splits import data_card, split


@pytest.fixture
def animals(tmp_path):
    return factories.class_folders(tmp_path / "animals", {"train": 40, "validation": 10})


def items(dataset, part):
    return {dataset.content(*item) for item in part}


def test_nothing_is_held_out_where_nothing_is_chosen(animals):
    parts = split(open_dataset(animals))
    assert (len(parts.train), len(parts.choose), len(parts.report), parts.reported) == (80, 0, 20, "val")


def test_a_share_is_held_out_by_content(animals):
    dataset = open_dataset(animals)
    parts = split(dataset, hold_out="0.25")
    assert len(parts.train) + len(parts.choose) == 80
    assert 8 <= len(parts.choose) <= 32
    assert not items(dataset, parts.train) & items(dataset, parts.choose)
    factories.write_picture(animals / "train" / "cat" / "aaa.png", factories.picture(seed=9999))
    grown = split(open_dataset(animals), hold_out="0.25")
    assert items(dataset, parts.choose) <= items(open_dataset(animals), grown.choose)


def test_a_data_set_with_a_test_split_is_chosen_on_another(tmp_path):
    folder = factories.class_folders(tmp_path / "three", {"train": 30, "val": 6, "test": 6})
    parts = split(open_dataset(folder))
    assert (parts.reported, len(parts.choose), len(parts.report)) == ("test", 12, 12)
    folder = factories.class_folders(tmp_path / "two", {"train": 60, "test": 6})
    parts = split(open_dataset(folder))
    assert 0 < len(parts.choose) < 40
    assert len(split(open_dataset(folder), hold_out="none").train) == 120


def test_sequences_are_held_out_by_name(tiny_data):
    dataset = open_dataset(tiny_data)
    parts = split(dataset, hold_out="A")
    assert {dataset.names("train")[index][0] for _, index in parts.choose} == {"A"}
    assert {dataset.names("train")[index][0] for _, index in parts.train} == {"B"}
    with pytest.raises(
        ConfigError, match=r"hold_out=C: there is no such sequence; choose a fraction such as 0\.1, or one of A"
    ):
        split(dataset, hold_out="C")
    with pytest.raises(ConfigError, match=r"hold_out=1\.5"):
        split(dataset, hold_out="1.5")


def test_a_leak_between_splits_is_an_error_and_can_be_dropped(animals):
    leaked = animals / "validation" / "cat" / "cat000.png"
    (animals / "train" / "dog" / "zz.png").write_bytes(leaked.read_bytes())
    dataset = open_dataset(animals)
    with pytest.raises(
        DataError, match=r"1 training samples of animals are also in another split, for example dog/zz\.png"
    ):
        split(dataset)
    parts = split(dataset, drop_leaks=True)
    assert len(parts.train) == 80
    assert parts.leaks_dropped == 1
    card = data_card([dataset], dataset, parts, ["x"])
    assert (card.leaks_dropped, card.skipped, [part.name for part in card.splits]) == (1, ("x",), ["train", "val"])


def test_added_data_joins_the_training_split_alone(animals, tmp_path):
    added = factories.class_folders(tmp_path / "more", {"train": 5}, seed=500)
    combined = CombinedDataset(open_dataset(animals), [open_dataset(added)])
    assert len(combined.names("train")) == 90
    assert len(combined.names("val")) == 20
    assert combined.load("train", 80).name == open_dataset(added).load("train", 0).name
    cows = factories.class_folders(tmp_path / "cows", {"train": 5}, classes=("cat", "cow"))
    with pytest.raises(DataError, match="their classes differ"):
        CombinedDataset(open_dataset(animals), [open_dataset(cows)])


def encoded(mode, kind="PNG", **options):
    image = Image.fromarray(factories.picture(40, 40)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def animated():
    stream = io.BytesIO()
    frames = [Image.fromarray(factories.picture(40, 40, seed=seed)) for seed in range(3)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


BAD = {
    "empty": ("a.jpg", b""),
    "damaged": ("a.jpg", b"not an image at all"),
    "truncated": ("a.jpg", encoded("RGB", "JPEG")[:-200]),
    "grey": ("a.png", encoded("L")),
    "CMYK": ("a.jpg", encoded("CMYK", "JPEG")),
    "16-bit": ("a.png", cv2.imencode(".png", np.full((40, 40), 40000, np.uint16))[1].tobytes()),
    "16-bit colour": ("a.png", cv2.imencode(".png", np.full((40, 40, 3), 40000, np.uint16))[1].tobytes()),
    "animated": ("a.gif", animated()),
    "PCX of a kind": ("a.png", encoded("RGB", "PCX")),
    "HEIC": ("a.heic", factories.HEIC),
    "HEIC with another name": ("a.jpg", factories.HEIC),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_image_is_named_and_skipped_only_on_request(animals, reason):
    name, data = BAD[reason]
    (animals / "train" / "cat" / name).write_bytes(data)
    dataset = open_dataset(animals)
    with pytest.raises(
        DataError, match=f"1 of 101 samples are corrupt: cat/{name} is .*{reason.split()[0]}.*skip_corrupt=True"
    ):
        scan(dataset, skip_corrupt=False)
    skipped = scan(dataset, skip_corrupt=True)
    assert [dataset.names(part)[index] for part, index in skipped] == [f"cat/{name}"]
    assert len(split(dataset, skipped=frozenset(skipped)).train) == 80


def test_a_data_set_of_grey_images_is_accepted(tmp_path):
    folder = factories.class_folders(tmp_path / "grey", {"train": 3, "val": 2}, grey=True)
    assert scan(open_dataset(folder), skip_corrupt=False) == {}


def test_a_coloured_image_among_grey_ones_is_accepted(tmp_path):
    folder = factories.class_folders(tmp_path / "grey", {"train": 3, "val": 2}, grey=True)
    factories.write_picture(folder / "train" / "cat" / "a.png", factories.picture(40, 48))
    assert scan(open_dataset(folder), skip_corrupt=False) == {}


def test_a_jpeg_of_a_few_pixels_is_accepted(animals):
    factories.write_picture(animals / "train" / "cat" / "tiny.jpg", factories.picture(3, 5))
    assert scan(open_dataset(animals), skip_corrupt=False) == {}


def test_a_text_of_only_a_byte_order_mark_is_empty(tmp_path):
    for name in ("bad", "good"):
        for index in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{index}.txt").write_text(f"{name} {index}")
    (tmp_path / "bad" / "0.txt").write_bytes(b"\xef\xbb\xbf \n")
    with pytest.raises(DataError, match=r"1 of 6 samples are corrupt: bad/0\.txt is empty"):
        scan(open_dataset(tmp_path), skip_corrupt=False)


def test_a_bad_file_among_grey_images_is_the_only_bad_one(tmp_path):
    folder = factories.class_folders(tmp_path / "grey", {"train": 3, "val": 2}, grey=True)
    (folder / "train" / "cat" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 11 samples are corrupt: cat/a.jpg is empty: "):
        scan(open_dataset(folder), skip_corrupt=False)
    assert len(scan(open_dataset(folder), skip_corrupt=True)) == 1


def test_a_camera_s_image_with_a_preview_is_accepted(animals):
    frames = [Image.fromarray(factories.picture(40, 40, seed=seed)) for seed in range(2)]
    frames[0].save(animals / "train" / "cat" / "phone.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert scan(open_dataset(animals), skip_corrupt=False) == {}


def test_only_road_scenes_have_sequences(animals):
    with pytest.raises(ConfigError, match=r"hold_out=foo: .* has no sequences; choose a fraction such as 0\.1"):
        split(open_dataset(animals), hold_out="foo")


def test_a_class_without_an_image_is_an_error(animals):
    (animals / "train" / "cow").mkdir()
    with pytest.raises(DataError, match="class cow has no image in train/"):
        split(open_dataset(animals))
