"""Data sets with boxes in the layouts of published sets and annotation tools."""

import json

import cv2
import numpy as np
import pytest

from orilla.devices.errors import DataError
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


def voc(cls="cat"):
    edges = "".join(
        f"<{name}>{value}</{name}>" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    )
    size = "<size><width>200</width><height>100</height></size>"
    return f"<annotation>{size}<object><name>{cls}</name><bndbox>{edges}</bndbox></object></annotation>"


VOC_BOX = [9, 19, 40, 60]  # Pascal VOC counts pixels from 1, and the right and bottom edges are inclusive.


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("{}/1.jpg", "{}/1.xml"),
        ("{}/images/1.jpg", "{}/annotations/1.xml"),
        ("images/{}/1.jpg", "annotations/{}/1.xml"),
        ("images/{}/1.jpg", "labels/{}/1.xml"),
    ],
)
def test_equal_names_in_the_splits_of_voc(image, xml, tmp_path):
    files = {}
    for split, cls in (("train", "cat"), ("valid", "dog")):
        files |= {image.format(split): None, xml.format(split): voc(cls)}
    expected = {"train": {"1": [("cat", VOC_BOX)]}, "val": {"1": [("dog", VOC_BOX)]}}
    assert boxes_of(write(tmp_path, files)) == ("voc", expected)


def test_the_lists_of_voc(tmp_path):
    files = {f"JPEGImages/{name}.jpg": None for name in ("IMG 1", "b", "c", "d", "e")}
    files |= {f"Annotations/{name}.xml": voc() for name in ("IMG 1", "b", "c", "d")}
    files |= {"ImageSets/Main/trainval.txt": "IMG 1\nb\n", "ImageSets/Main/test.txt": "c\n"}
    path = write(tmp_path, files)
    dataset = open_dataset(path)
    assert {split: dataset.names(split) for split in dataset.splits} == {"train": ("IMG 1", "b"), "test": ("c",)}
    assert dataset.notes() == [
        "1 images are not used, because no list in ImageSets/Main names them",
        "1 images are not used, because they have no XML file",
    ]
    write(path, {"ImageSets/Main/train.txt": "IMG 1\n", "ImageSets/Main/val.txt": "b\n"})
    dataset = open_dataset(path)
    assert [dataset.names(split) for split in ("train", "val", "test")] == [("IMG 1",), ("b",), ("c",)]


@pytest.mark.parametrize("name", ["data.yaml", "coco8.yaml"])
def test_polygons_and_floats_of_yolo(name, tmp_path):
    rows = "0 0.125 0.4 0.15 0.4\n1.000000e+00 0.05 0.2 0.2 0.2 0.2 0.6\n0.0 0.05 0.2 0.2 0.2 0.2 0.6 0.05 0.6\n"
    files = {name: "names: [cat, dog]\n", "train/images/a.jpg": None, "train/labels/a.txt": rows}
    path = write(tmp_path, files)
    kind, samples = boxes_of(path)
    assert kind == "yolo"
    assert [cls for cls, _ in samples["train"]["a.jpg"]] == ["cat", "dog", "cat"]
    assert [box for _, box in samples["train"]["a.jpg"]] == [pytest.approx(BOX)] * 3
    dataset = open_dataset(path)
    assert dataset.names("train") == ("a.jpg",)
    assert dataset.notes() == ["2 polygons are replaced by the boxes around them"]


def test_the_folders_of_coco_in_the_layout_of_yolo(tmp_path):
    files = {"coco128.yaml": "path: ../datasets/coco128\ntrain: images/train2017\nnames:\n  0: cat\n"}
    for split in ("train2017", "val2017"):
        files |= {f"images/{split}/{split}.jpg": None, f"labels/{split}/{split}.txt": "0 0.125 0.4 0.15 0.4\n"}
    dataset = open_dataset(write(tmp_path, files))
    assert [dataset.names(split) for split in dataset.splits] == [
        ("train2017/train2017.jpg",),
        ("val2017/val2017.jpg",),
    ]


@pytest.mark.parametrize(
    ("files", "cls"),
    [
        (
            {"a.csv": "filename,x1,y1,x2,y2,class\na.jpg,10,20,40,60,cat\nb.jpg,,,,,\n", "a.jpg": None, "b.jpg": None},
            "cat",
        ),
        ({"a.csv": "ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,.05,.2,.2,.6\n", "a.jpg": None}, "cat"),
        ({"boxes (1).csv": "image,xmin,ymin,xmax,ymax\na.jpg,10,20,40,60\n", "training_images/a.jpg": None}, "object"),
        (
            {"data/a.csv": "path,x_min,y_min,x_max,y_max,label\ndata/x/a.jpg,10,20,40,60,cat\n", "data/x/a.jpg": None},
            "cat",
        ),
    ],
)
def test_tables_of_boxes(files, cls, tmp_path):
    kind, samples = boxes_of(write(tmp_path, files))
    found = {name.removesuffix(".jpg")[-1:]: boxes for name, boxes in together(samples).items()}
    assert kind == "box_table"
    assert found == {"a": [(cls, pytest.approx(BOX))]} | ({"b": []} if "b.jpg" in files else {})


@pytest.mark.parametrize("path", ["/home/me/cat/1.jpg", "C:\\data\\cat\\1.jpg", "../input/cat/1.jpg", "cat/1.jpg"])
def test_paths_of_other_machines_keep_their_folders(path, tmp_path):
    other = path.replace("cat", "dog")
    rows = "".join(f"{name},{cls}\n" for name, cls in ((path, "cat"), (other, "dog")))
    files = {"labels.csv": f"image,label\n{rows}", "images/dog/1.jpg": None, "images/cat/1.jpg": None}
    dataset = open_dataset(write(tmp_path, files))
    loaded = [dataset.load(split, at) for split in dataset.splits for at in range(len(dataset.names(split)))]
    assert sorted((dataset.classes[one.label], int(one.image.mean())) for one in loaded) == [("cat", 2), ("dog", 1)]


def test_the_size_before_a_rotation_is_explained(tmp_path):
    path = write(tmp_path, {"annotations.json": coco(), "a.jpg": None})
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    data = (path / "a.jpg").read_bytes()
    (path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    with pytest.raises(DataError, match=r"states 200x100 .* has 100x200: the image has a rotation in its EXIF data"):
        boxes_of(path)
