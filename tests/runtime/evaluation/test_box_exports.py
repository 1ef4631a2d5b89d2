"""Data sets of boxes as published sets and the exports of annotation tools have them."""

import json

import cv2
import numpy as np
import pytest

from orilla.runtime.evaluation.datasets.registry import open_dataset, reading_of

BOX = [10, 20, 40, 60]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def write(folder, files):
    """Write texts, and an image of 200x100 pixels for each name of an image. Return the folder."""
    for number, (name, text) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            cv2.imwrite(str(path), np.full((100, 200, 3), number, np.uint8))
        else:
            path.write_text(text, encoding="utf-8")
    return folder


def boxes_of(path):
    """Return the kind, and for each split the name, the boxes and the class names of each image."""
    dataset = open_dataset(path)
    samples = {}
    for split in dataset.splits:
        loaded = (dataset.load(split, index) for index in range(len(dataset.names(split))))
        samples[split] = {
            one.name: [
                (dataset.classes[cls], box) for cls, box in zip(one.classes, one.boxes_xyxy.tolist(), strict=True)
            ]
            for one in loaded
        }
    return reading_of(path).kind, samples


def together(samples):
    return {name: found for split in samples.values() for name, found in split.items()}


def coco(name="a.jpg", categories=CATEGORIES, image_id=1, **annotation):
    row = {"id": 1, "image_id": image_id, "category_id": 1, "bbox": [10, 20, 30, 40], "iscrowd": 0} | annotation
    image = {"id": image_id, "file_name": name, "width": 200, "height": 100}
    return json.dumps({"images": [image], "annotations": [row], "categories": categories})


@pytest.mark.parametrize(
    "files",
    [
        {"annotations/instances_default.json": coco(), "images/a.jpg": None},
        {"annotations/instances_default.json": coco(), "images/default/a.jpg": None},
        {"result.json": coco("images\\a.jpg"), "images/a.jpg": None},
        {"labels.json": coco(), "data/a.jpg": None},
        {"labels.json": coco(), "data/a.jpg": None, "other.json": "{}"},
        {"annotations.json": coco(image_id="x/a"), "a.jpg": None},
        {"annotations.json": coco(iscrowd=None), "a.jpg": None},
        {"annotations.json": coco().replace("200", "200.0"), "a.jpg": None},
        {"annotations.json": coco(bbox=None, segmentation=[[10, 20, 40, 20, 40, 60]]), "a.jpg": None},
        {"annotations.json": coco(bbox=[], segmentation=[[10, 20, 40, 20], [40, 60]]), "a.jpg": None},
    ],
)
def test_one_file_of_coco(files, tmp_path):
    kind, samples = boxes_of(write(tmp_path, files))
    assert kind == "coco"
    assert [*together(samples).values()] == [[("cat", BOX)]]


@pytest.mark.parametrize(
    ("place", "images"),
    [
        ("annotations/{}.json", "{}/{}.jpg"),
        ("annotations/instances_{}.json", "images/{}/{}.jpg"),
        ("annotations/person_keypoints_{}2017.json", "{}2017/{}.jpg"),
        ("{}.json", "{}2017/{}.jpg"),
        ("{}.json", "{}/images/{}.jpg"),
    ],
)
def test_one_file_of_coco_per_split(place, images, tmp_path):
    files = {}
    for split in ("train", "val"):
        files |= {place.format(split): coco(f"{split}.jpg"), images.format(split, split): None}
    files["annotations/captions_train2017.json"] = '{"images": [], "annotations": []}'
    expected = {split: {f"{split}.jpg": [("cat", BOX)]} for split in ("train", "val")}
    assert boxes_of(write(tmp_path, files)) == ("coco", expected)


def test_the_path_of_a_file_of_coco_in_annotations(tmp_path):
    write(tmp_path, {"annotations/instances_val2017.json": coco(), "val2017/a.jpg": None})
    assert boxes_of(tmp_path / "annotations" / "instances_val2017.json")[1] == {"val": {"a.jpg": [("cat", BOX)]}}


@pytest.mark.parametrize("name", ["pothole", "objects"])
def test_the_supercategory_that_roboflow_adds_is_no_class(name, tmp_path):
    categories = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "pothole", "supercategory": name},
    ]
    path = write(tmp_path, {"train/_annotations.coco.json": coco(categories=categories), "train/a.jpg": None})
    assert open_dataset(path).classes == ("pothole",)
    assert boxes_of(path)[1] == {"train": {"a.jpg": [("pothole", BOX)]}}
