"""Data sets with boxes: COCO, YOLO, Pascal VOC and the scenes."""

import json

import numpy as np
import pytest
from helpers import factories
from helpers.datasets import BOXES, EXAMPLES, SIZE_HW, coco_document, voc_xml

from orilla.devices.errors import DataError
from orilla.runtime import scenes
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.yolo import names_in_yaml
from orilla.runtime.evaluation.targets import truth_of

IN_FILES = ["coco", "coco with a file per split", "yolo", "yolo with splits outside", "voc"]


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize("zipped", [False, True])
def test_all_formats_state_the_same_boxes(name, zipped, tmp_path):
    path = EXAMPLES[name].build(tmp_path / "in" / "data", None)
    dataset = open_dataset(factories.zip_folder(path, tmp_path / "data.zip") if zipped else path)
    assert (dataset.task, dataset.classes, dataset.splits) == ("detect", ("cat", "dog"), ("train", "val"))
    assert len(dataset.names("train")) == 3
    for split in dataset.splits:
        first, empty, _ = (dataset.load(split, index) for index in range(3))
        assert first.boxes_xyxy == pytest.approx(np.array(BOXES, np.float32), abs=1e-4)
        assert first.classes.tolist() == [0, 1]
        assert not first.crowd.any()
        assert empty.boxes_xyxy.shape == (0, 4)
    assert dataset.notes() == []
    assert truth_of(first).value.boxes_xyxy is first.boxes_xyxy


def coco_with(tmp_path, change, rows=((0, 5, 6, 25, 30),)):
    """Write a data set of one image. `change` is a function that modifies its annotation file."""
    factories.write_picture(tmp_path / "a.png", factories.picture(*SIZE_HW, 1))
    document = coco_document({"a.png": list(rows)})
    change(document)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    return open_dataset(tmp_path)


def load_only(dataset):
    return dataset.load(dataset.splits[0], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"].append(dict(d["annotations"][0])), "has two annotations with the id 1"),
        (lambda d: d["images"].append(dict(d["images"][0])), "has two images with the id 10"),
        (lambda d: d["categories"].append({"id": 3, "name": "x"}), "has two categories with the id 3"),
        (lambda d: d["categories"].append({"id": 9, "name": "cat"}), "names the class cat twice"),
        (lambda d: d["annotations"][0].update(category_id=5), "annotation 1: no category has the id 5"),
        (lambda d: d["annotations"][0].update(image_id=5), "annotation 1: no image has the id 5"),
        (
            lambda d: d["annotations"][0].update(bbox=[100, 0, 5, 5]),
            r"annotation 1: box \[100, 0, 105, 5\] of a.png lies",
        ),
        (lambda d: d["annotations"][0].update(bbox=[5, 5, -3, 5]), "has a negative size"),
        (lambda d: d["annotations"][0].update(bbox=[float("nan"), 5, 3, 5]), "cannot read annotations.json: JSON is"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1 has a bbox of 3 numbers: give bbox as"),
        (lambda d: d["images"][0].update(file_name="../a\0.png"), "1 of 1 annotated images do not exist"),
        (lambda d: d["images"][0].update(width=61), "states 61x40 pixels for a.png, but the image has 60x40"),
        (lambda d: d["images"][0].update(width=40, height=60), "has 60x40: width and height are exchanged"),
    ],
)
def test_an_invalid_annotation_file_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message) as caught:
        load_only(coco_with(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_boxes_that_exceed_the_image_are_clipped_and_counted(tmp_path):
    rows = ((0, -10, 6, 25, 30), (1, 5, 5, 20, 300), (1, -0.5, 0, 60.5, 40), (0, 7, 7, 7, 9))
    dataset = coco_with(tmp_path, lambda document: None, rows)
    sample = load_only(dataset)
    assert sample.boxes_xyxy.tolist() == [[0, 6, 25, 30], [5, 5, 20, 40], [0, 0, 60, 40]]
    assert sample.classes.tolist() == [0, 1, 1]
    assert dataset.notes() == ["2 boxes exceed their image and are clipped", "1 boxes have no area and are left out"]


def test_a_crowd_is_kept_as_such(tmp_path):
    dataset = coco_with(tmp_path, lambda document: document["annotations"][0].update(iscrowd=1))
    assert load_only(dataset).crowd.tolist() == [True]


def test_annotations_without_numbers_or_sizes_are_accepted(tmp_path):
    def strip(document):
        del document["annotations"][0]["id"], document["images"][0]["width"]

    dataset = coco_with(tmp_path, strip, ((0, -10, 6, 25, 30),))
    assert load_only(dataset).boxes_xyxy.tolist() == [[0, 6, 25, 30]]
    assert dataset.notes() == []  # The file states no image size, so `notes` cannot report the clipped box.


def test_another_json_file_is_not_a_data_set(tmp_path):
    (tmp_path / "other.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="not a data set"):
        open_dataset(tmp_path / "other.json")


def test_files_of_two_splits_need_the_same_categories(tmp_path):
    path = EXAMPLES["coco with a file per split"].build(tmp_path / "data", None)
    file = path / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text().replace('"dog"', '"wolf"'))
    with pytest.raises(DataError, match="have different categories"):
        open_dataset(path)


def test_images_without_a_label_file_have_no_objects_and_are_counted(tmp_path):
    path = EXAMPLES["yolo"].build(tmp_path / "data", None)
    (path / "labels" / "train" / "train2.txt").unlink()
    dataset = open_dataset(path)
    assert len(dataset.load("train", 2).classes) == 0
    assert dataset.notes() == ["1 images have no label file and count as images without objects"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]\n", ["cat", "dog"]),
        ("names: ['traffic light', \"dog\"]  # classes\nnc: 2\n", ["traffic light", "dog"]),
        ("nc: 2\nnames:\n  0: cat\n  1: traffic light # red\ntrain: x\n", ["cat", "traffic light"]),
        ("names:\n- cat\n- dog\nval: y\n", ["cat", "dog"]),
        ("names:\n  - 'cat'\n  - dog\n", ["cat", "dog"]),
        ("names: {0: cat, 1: dog}\n", ["cat", "dog"]),
        ("names:\n  '0': cat\n  '1': dog\n", ["cat", "dog"]),
        ("names: {'0': cat, '1': dog}\n", ["cat", "dog"]),
        ("names: ['driver''s cab', \"a \\\"b\\\"\", men's shoe]\n", ["driver's cab", 'a "b"', "men's shoe"]),
        ("names: [C#, F#]  # notes\n", ["C#", "F#"]),
        ("names: [\n  'cat',\n  'dog'\n]\nval: y\n", ["cat", "dog"]),
    ],
)
def test_class_names_in_yaml(text, names):
    assert names_in_yaml(text, "data.yaml") == names


def test_a_difficult_object_is_neither_right_nor_wrong(tmp_path):
    path = EXAMPLES["voc"].build(tmp_path / "data", None)
    xml = voc_xml([(0, *BOXES[0])]).replace("<difficult>0", "<difficult>1")
    (path / "Annotations" / "val0.xml").write_text(xml)
    assert open_dataset(path).load("val", 0).crowd.tolist() == [True]


def test_boxes_of_scenes_enclose_the_visible_vehicles():
    """If a vehicle hides no other vehicle, its box encloses exactly the labelled pixels of the class."""
    checked = 0
    for seed in range(40):
        _, labels = scenes.render(seed, 1.4, (135, 240))
        found = scenes.visible_objects(seed, 1.4, (135, 240))
        vehicles = [one for one in found if one.kind == "vehicle"]
        mask = np.zeros(labels.shape, bool)
        for one in vehicles:
            left, top, right, bottom = one.box_xyxy
            mask[top:bottom, left:right] = True
        marked = labels == scenes.CLASSES.index("vehicle")
        assert not (marked & ~mask).any()
        if len(vehicles) == 1:
            left, top, right, bottom = vehicles[0].box_xyxy
            rows, columns = np.nonzero(marked)
            assert (left, top, right, bottom) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            checked += 1
    assert checked > 3


def test_scenes_have_objects_of_all_kinds():
    dataset = open_dataset("scene_boxes")
    samples = [dataset.load("val", index) for index in range(10)]
    assert set(np.concatenate([sample.classes for sample in samples]).tolist()) == {0, 1, 2}
    assert np.array_equal(samples[0].image, open_dataset("scenes").load("val", 0).image)
    assert dataset.digest("val") != open_dataset("scene_boxes:1").digest("val")


@pytest.mark.real_data
def test_penn_fudan_has_the_same_boxes_in_both_formats(data_root):
    file = data_root / "detection" / "pennfudan.zip"
    coco, yolo = open_dataset(file), open_dataset(f"yolo:{file}")
    for dataset in (coco, yolo):
        assert (dataset.task, dataset.classes) == ("detect", ("person",))
        assert {split: len(dataset.names(split)) for split in dataset.splits} == {"train": 136, "val": 34}
    boxes = 0
    for index in range(34):
        one, other = coco.load("val", index), yolo.load("val", index)
        assert np.array_equal(one.image, other.image)
        assert one.boxes_xyxy == pytest.approx(other.boxes_xyxy, abs=0.51)
        boxes += len(one.classes)
    assert boxes > 60


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("0 0.5 0.5 0.2 0.3 0.87", "has 6 values, and the last one is a confidence, as in the predictions of a model"),
        ("0 0.5 0.5 0.2 0.3 17", "has 6 values, and the last one is a track ID, .*; remove the last value of each"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.5", "has 8 values, a form that is unknown"),
        ("0 0.1 0.1 0.5 0.1 0.5 x", "'0.1 0.1 0.5 0.1 0.5 x' are not numbers"),
        ("0.5 0.1 0.1 0.5 0.1", "class '0.5' is unknown"),
        ("0 0.5 0.5 0.2 0.3 0.4 0.4 2 0.6 0.6 0", "has 11 values, a box and keypoints: .*; keep the first five values"),
        ("0 0.5 0.5", "has 3 values, too few: expected class, x, y, width and height"),
        ("0 16 12 8 6", "'16 12 8 6' are pixels, but YOLO states fractions of the image size: divide x and width by"),
        ("1 2 3 20 22", "'2 3 20 22' are pixels, but YOLO"),
    ],
)
def test_yolo_lines_that_are_not_boxes_of_fractions_are_named(line, match, tmp_path):
    EXAMPLES["yolo"].build(tmp_path / "a", None)
    (tmp_path / "a" / "labels" / "train" / "train0.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(DataError, match=f"train0.txt, line 2.*{match}") as caught:
        open_dataset(tmp_path / "a").names("train")
    assert "\n" not in str(caught.value)
