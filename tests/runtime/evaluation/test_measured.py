"""Data sets with numbers: tables, donkeycar tubs and the scenes of a car."""

import json
import shutil

import numpy as np
import pytest
from helpers import factories
from helpers.datasets import DRIVEN, EXAMPLES, driven, tub_v2

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.measured import MeasuredFile, by_time
from orilla.runtime.evaluation.datasets.subset import Subset
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.tasks.task import DecodeContext


@pytest.mark.parametrize("name", ["image_table", "donkeycar", "donkeycar of version 1"])
@pytest.mark.parametrize("zipped", [False, True])
def test_all_formats_state_the_same_numbers(name, zipped, tmp_path):
    path = EXAMPLES[name].build(tmp_path / "in" / "data", None)
    dataset = open_dataset(factories.zip_folder(path, tmp_path / "data.zip") if zipped else path)
    assert (dataset.task, dataset.splits) == ("regress", ("train", "val", "test"))
    scale = {"steering": 25, "speed": 10} if name == "image_table" else {}
    for split in dataset.splits:
        for index, sample_name in enumerate(dataset.names(split)):
            _, steering, throttle = driven(int("".join(filter(str.isdigit, sample_name.split("_")[0]))))
            expected = [steering * scale.get("steering", 1), throttle * scale.get("speed", 1)]
            assert dataset.load(split, index).values == pytest.approx(expected, abs=1e-4)
    sample = dataset.load("val", 0)
    assert truth_of(sample).value is sample.values


def test_the_table_states_units_and_ranges(tmp_path):
    dataset = open_dataset(EXAMPLES["image_table"].build(tmp_path / "data", None))
    assert dataset.classes == ("steering", "speed")
    assert dataset.decoding.units == ("deg", "m/s")
    (low, high), speeds = dataset.decoding.ranges
    assert (low, speeds) == (-high, (2.5, 2.9))  # A range that contains 0 is symmetric.
    assert high == pytest.approx(25, abs=0.2)


def test_a_deleted_record_is_left_out(tmp_path):
    dataset = open_dataset(EXAMPLES["donkeycar"].build(tmp_path / "tub", None))
    names = [name for split in dataset.splits for name in dataset.names(split)]
    assert len(names) == DRIVEN - 1
    assert "7_cam_image_array_.jpg" not in names


def test_several_tubs_are_one_data_set(tmp_path):
    for name in ("tub_1", "tub_2"):
        tub_v2(tmp_path / "data" / name)
    dataset = open_dataset(tmp_path / "data")
    names = [name for split in dataset.splits for name in dataset.names(split)]
    assert len(set(names)) == len(names) == 2 * (DRIVEN - 1)
    assert names[0] == "tub_1/0_cam_image_array_.jpg"


def recording(count):
    return [MeasuredFile(str(index), None, (0.0,)) for index in range(count)]


@pytest.mark.parametrize("count", [20, 39, 200, 1000, 12345])
def test_splits_are_blocks_of_time_with_a_gap(count):
    divided, left_out = by_time([recording(count)])
    places = {split: np.array([int(sample.name) for sample in samples]) for split, samples in divided.items()}
    assert sum(map(len, places.values())) + left_out == count
    for split in ("val", "test"):
        assert len(places[split]) == pytest.approx(count / 10, abs=2)
        assert np.count_nonzero(np.diff(places[split]) > 1) == 1, "two blocks"
        near = np.abs(places[split][:, None] - places["train"]).min()
        assert near == min(20, count // 200) + 1
    assert len(places["train"]) >= 0.7 * count


def test_the_gap_is_reported(tmp_path):
    lines = ["image,x"] + [f"{index}.png,{index}" for index in range(400)]
    for index in range(400):
        (tmp_path / f"{index}.png").touch()
    (tmp_path / "t.csv").write_text("\n".join(lines))
    note = "training images next to another split are left out, because they are similar to its images"
    # Two images on each side of a block are omitted, but none after the last block.
    assert open_dataset(tmp_path).notes() == [f"14 {note}"]


def table(tmp_path, *lines):
    for index in range(3):
        factories.write_picture(tmp_path / f"{index}.png", factories.picture(seed=index))
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path / "t.csv"


def test_a_column_states_the_split(tmp_path):
    path = table(tmp_path, "image,split,x [m]", "0.png,train,1", "1.png,validation,2", "2.png,Train,3")
    dataset = open_dataset(path)
    assert {split: dataset.names(split) for split in dataset.splits} == {"train": ("0.png", "2.png"), "val": ("1.png",)}
    assert dataset.values("train").tolist() == [[1], [3]]


def test_a_column_states_the_time(tmp_path):
    path = table(tmp_path, "time [s],image,x", "0.3,0.png,1", "0.1,1.png,2", "0.2,2.png,3")
    assert open_dataset(path).names("train") == ("1.png", "2.png", "0.png")
    assert open_dataset(path).classes == ("x",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("image,x", "0.png,1", "1.png,fast"), r"t\.csv, line 3: x is 'fast', which is not a number"),
        (("image,x", "0.png,1", "1.png,nan"), r"t\.csv, line 3: x is 'nan', which is not a number"),
        (("image,x", "0.png,1", "1.png,"), r"t\.csv, line 3: x is '', which is not a number"),
        (("image,x", "0.png,1", "", "9.png,2"), r"t\.csv, line 4: there is no image '9\.png'"),
        (("image,x", "0.png,1", "../t/9.png,2"), r"t\.csv, line 3: there is no image '\.\./t/9\.png'"),
        (("image,x", "0.png,1", "../t.csv,2"), r"t\.csv, line 3: there is no image '\.\./t\.csv'"),
        (("image,x", "0.png,1", "0.png,2"), r"t\.csv, line 3: the image '0\.png' is also in line 2"),
        (("image,x", "0.png,1", "1.png,2,3"), r"t\.csv, line 3 has 3 fields, but the first line names 2"),
        (("image,x,split", "0.png,1,a", "1.png,2,b"), r"t\.csv, line 2: the split 'a' is not train, val or test"),
        (("image,x", "0.png,1", "1.png,1"), r"t\.csv: x is 1 in every row, so there is nothing to learn"),
        (("image,x,x", "0.png,1,2", "1.png,2,3"), r"t\.csv names the column x twice"),
        (("image,split", "0.png,train", "1.png,val"), r"t\.csv has no column of numbers"),
    ],
)
def test_an_invalid_row_is_named(tmp_path, lines, message):
    path = table(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path).names("train")
    assert "\n" not in str(caught.value)


def test_two_tables_are_ambiguous(tmp_path):
    path = table(tmp_path, "image,x", "0.png,1", "1.png,2")
    shutil.copy(path, tmp_path / "u.csv")
    with pytest.raises(DataError, match=r"several tables \(t\.csv and u\.csv\): give the path of one of them"):
        open_dataset(tmp_path)
    assert open_dataset(path).classes == ("x",)


def test_a_table_of_texts_is_none_of_images(tmp_path):
    assert open_dataset(factories.text_table(tmp_path / "reviews.csv")).task == "text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user/angle": 1.5}, r"catalog_0\.catalog, line 3: user/angle is 1\.5, but it must be from -1 to 1"),
        ({"cam/image_array": "x.jpg"}, r"catalog_0\.catalog, line 3: there is no image 'x\.jpg'"),
        ({"cam/image_array": "../images/3.jpg"}, "there is no image"),
        ({"user/throttle": None}, r"catalog_0\.catalog, line 3: Expected `float`, got `null`.*correct or remove it"),
    ],
)
def test_an_invalid_record_is_named(tmp_path, change, message):
    path = tub_v2(tmp_path / "tub")
    lines = (path / "catalog_0.catalog").read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | change)
    (path / "catalog_0.catalog").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path).names("train")
    assert "\n" not in str(caught.value)


def test_a_missing_catalogue_is_named(tmp_path):
    path = tub_v2(tmp_path / "tub")
    (path / "catalog_1.catalog").unlink()
    with pytest.raises(DataError, match=r"manifest\.json, line 5: there is no catalogue 'catalog_1\.catalog'"):
        open_dataset(path).names("train")


def test_a_subset_keeps_numbers_and_units(tmp_path):
    whole = open_dataset(EXAMPLES["image_table"].build(tmp_path / "data", None))
    part = Subset(whole, ["frames/000.png: damaged"])
    assert part.decoding == whole.decoding
    assert np.array_equal(part.values("train"), whole.values("train")[1:])


def test_scenes_have_the_numbers_of_the_car():
    dataset = open_dataset("scene_steering:2")
    values = dataset.values("val")
    assert np.abs(values).max(axis=0) == pytest.approx([6, 1.3], rel=0.15)
    assert np.corrcoef(values.T)[0, 1] < -0.3  # A car that is too far to the right steers to the left.
    sample = dataset.load("val", 5)
    assert sample.image.shape == (120, 160, 3)
    assert np.array_equal(sample.values, values[5])


def test_the_units_of_data_and_model_must_be_equal():
    dataset = open_dataset("scene_steering")
    target_of(dataset, "regress", DecodeContext(("steering",), decoding=type(dataset.decoding)(units=("deg",))))
    with pytest.raises(ConfigError, match="steering is in rad for the model, but in deg in scene_steering"):
        target_of(dataset, "regress", DecodeContext(("steering",), decoding=type(dataset.decoding)(units=("rad",))))


def test_data_show_states_units_and_ranges(capsys):
    assert main(["data", "show", "scene_steering"]) == 0
    assert "steering: -8 to 8 deg" in capsys.readouterr().out
    assert main(["data", "show", "scene_steering", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["values"]["offset"] == {"unit": "m", "low": -1.3, "high": 1.3}
