"""Data sets in the formats of annotation tools, with shapes, classes and errors as these tools write them."""

import json

import pytest
from helpers import annotation_tools, factories

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.registry import open_dataset, reading_of


def boxes(path):
    """Return the class and the box of each object by image."""
    dataset = open_dataset(path)
    loaded = [dataset.load(split, at) for split in dataset.splits for at in range(len(dataset.names(split)))]
    return {
        one.name: [(dataset.classes[cls], box) for cls, box in zip(one.classes, one.boxes_xyxy.tolist(), strict=True)]
        for one in loaded
    }


def image(folder, name="a.png"):
    factories.write_picture(folder / name, factories.picture(100, 200, 1))
    return folder


@pytest.mark.parametrize("build", annotation_tools.FORMATS.values(), ids=annotation_tools.FORMATS)
def test_every_format_gives_the_same_boxes(build, tmp_path):
    expected = {
        f"{split}{index}.png": [(("cat", "dog")[index % 2], [2, 4, 20, 22])]
        for split in ("train", "valid")
        for index in range(3)
    }
    assert boxes(build(tmp_path, None)) == expected


def via(folder, *regions, name="a.png"):
    content = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in regions]
    (image(folder) / "via.json").write_text(json.dumps({f"{name}9": {"filename": name, "regions": content}}))
    return folder


RECT = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (RECT, [10, 20, 40, 60]),
        ({"name": "circle", "cx": 50, "cy": 40, "r": 10.5}, [39.5, 29.5, 60.5, 50.5]),
        ({"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10}, [30, 30, 70, 50]),
        ({"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10, "theta": 1.2}, [30, 20, 70, 60]),
        ({"name": "polygon", "all_points_x": [5, 50, 9], "all_points_y": [8, 4, 60]}, [5, 4, 50, 60]),
    ],
)
def test_the_shapes_of_via(shape, box, tmp_path):
    assert boxes(via(tmp_path, (shape, {"class": "cat"}))) == {"a.png": [("cat", box)]}


@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({"name": "balloon"}, "balloon"),
        ({"id": "7", "Label": "ball"}, "ball"),
        ({"type": {"cat": True, "dog": False}}, "cat"),
        ({"class": 3}, "3"),
        ({}, "object"),
    ],
)
def test_the_classes_of_via(attributes, label, tmp_path):
    assert boxes(via(tmp_path, (RECT, attributes))) == {"a.png": [(label, [10, 20, 40, 60])]}


def test_a_project_of_via_with_regions_by_number(tmp_path):
    """VIA 1 stores the regions of an image as an object whose keys are numbers."""
    region = {"shape_attributes": RECT, "region_attributes": {"name": "cat"}}
    images = {"a.png9": {"filename": "a.png", "regions": {"0": region}}}
    (image(tmp_path) / "project.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": images}))
    assert boxes(tmp_path) == {"a.png": [("cat", [10, 20, 40, 60])]}
    assert boxes(tmp_path / "project.json") == {"a.png": [("cat", [10, 20, 40, 60])]}


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([({"name": "point", "cx": 3, "cy": 4}, {"class": "cat"})], r"via\.json, region 1 of a\.png is a point"),
        ([(RECT, {"class": "cat"}), (RECT, {"id": 1, "colour": "red"})], r"region 2 .* do not state one class"),
        ([(RECT, {"class": {"cat": True, "dog": True}})], "do not state one class"),
        ([], "no image of .* has a box"),
        ([({**RECT, "x": 250}, {"class": "cat"})], "lies outside the image"),
    ],
)
def test_what_via_does_not_state(regions, message, tmp_path):
    with pytest.raises(DataError, match=message):
        boxes(via(tmp_path, *regions))


def labelme(folder, *shapes, path="a.png"):
    content = {"shapes": list(shapes), "imagePath": path, "imageHeight": 100, "imageWidth": 200}
    (image(folder) / "a.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ({"points": [[40, 20], [10, 60]], "shape_type": "rectangle"}, [10, 20, 40, 60]),
        ({"points": [[5, 8], [50, 4], [9, 60]], "shape_type": "polygon"}, [5, 4, 50, 60]),
        ({"points": [[5, 8], [50, 4], [9, 60]]}, [5, 4, 50, 60]),
        ({"points": [[50, 40], [53, 44]], "shape_type": "circle"}, [45, 35, 55, 45]),
    ],
)
def test_the_shapes_of_labelme(shape, box, tmp_path):
    path = labelme(tmp_path, {"label": "cat", **shape}, path="..\\images\\a.png")
    assert reading_of(path).kind == "labelme"
    assert boxes(path) == {"a.png": [("cat", box)]}
    stated = shape.get("shape_type") == "rectangle"
    assert open_dataset(path).notes() == (
        [] if stated else ["shapes other than rectangles are replaced by the boxes around them: 1"]
    )


def test_a_point_of_labelme_is_refused(tmp_path):
    path = labelme(tmp_path, {"label": "cat", "points": [[5, 8]], "shape_type": "point"})
    with pytest.raises(DataError, match=r"a\.json, shape 1 \(cat\) is a point of 1 point: mark a rectangle"):
        boxes(path)


def test_a_damaged_file_of_labelme_is_never_left_out(tmp_path):
    rectangle = {"label": "cat", "points": [[5, 8], [9, 12]], "shape_type": "rectangle"}
    labelme(tmp_path, rectangle)
    (tmp_path / "settings.json").write_text('{"theme": "dark"}')
    assert len(boxes(tmp_path)) == 1
    image(tmp_path, "b.png")
    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text()[:50])
    with pytest.raises(DataError, match=r"cannot read b\.json"):
        boxes(tmp_path)


def test_an_image_of_another_size(tmp_path):
    path = labelme(tmp_path, {"label": "cat", "points": [[5, 8], [9, 12]], "shape_type": "rectangle"})
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace("200", "300"))
    with pytest.raises(DataError, match=r"a\.json states 300x100 pixels for a\.png, but the image has 200x100"):
        boxes(path)


def yolo(folder, count, missing):
    (folder / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("cat\n")
    (folder / "labels").mkdir()
    for number in range(count):
        (folder / "labels" / f"{number:02}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        if number >= missing:
            image(folder / "images", f"{number:02}.png")


def coco(folder, count, missing):
    listed = [{"id": number, "file_name": f"{number:02}.png"} for number in range(count)]
    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [10, 20, 30, 40]} for n in range(count)]
    for number in range(missing, count):
        image(folder, f"{number:02}.png")
    content = {"images": listed, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "annotations.json").write_text(json.dumps(content))


def voc(folder, count, missing):
    (folder / "Annotations").mkdir(parents=True)
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    for number in range(count):
        text = f"<annotation><object><name>cat</name>{box}</object></annotation>"
        (folder / "Annotations" / f"{number:02}.xml").write_text(text)
        if number >= missing:
            image(folder / "JPEGImages", f"{number:02}.png")


def table(folder, count, missing):
    for number in range(missing, count):
        image(folder, f"{number:02}.png")
    rows = "".join(f"{number:02}.png,cat,1,1,9,9\n" for number in range(count))
    (folder / "boxes.csv").write_text(f"filename,class,xmin,ymin,xmax,ymax\n{rows}")


@pytest.mark.parametrize("build", [yolo, coco, voc, table])
def test_annotations_without_their_images(build, tmp_path):
    """A few missing images are omitted with a note.

    If many are missing, the annotations probably belong to other images.
    """
    few, many = tmp_path / "few", tmp_path / "many"
    build(few, 20, 2)
    dataset = open_dataset(few)
    assert sum(len(dataset.names(split)) for split in dataset.splits) == 18
    assert next(note for note in dataset.notes() if "no file" in note).startswith(
        "annotations of 2 images are not used, because there is no file such as 00"
    )
    build(many, 20, 3)
    with pytest.raises(DataError, match="3 of 20 annotated images do not exist, such as 00"):
        open_dataset(many).names("train")


@pytest.mark.parametrize(
    "text",
    [
        'image_id,width,height,bbox,source\na,200,100,"[10.0, 20.0, 30.0, 40.0]",x\n',
        "image,bbox\na.png,10 20 30 40\n",
        "filename,label,x,y,w,h\na.png,object,10,20,30,40\n",
        "filename,x,y,width,height\na.png,10,20,30,40\n",
        "filename,class,x_center,y_center,width,height\na.png,object,25,40,30,40\n",
        "filename,class,left,top,box_width,box_height,width,height\na.png,object,10,20,30,40,200,100\n",
        "filename,class,x_center,y_center,width,height\na.png,object,0.125,0.4,0.15,0.4\n",
    ],
)
def test_tables_with_other_forms_of_boxes(text, tmp_path):
    (image(tmp_path) / "boxes.csv").write_text(text)
    assert reading_of(tmp_path).kind == "box_table"
    ((label, box),) = next(iter(boxes(tmp_path).values()))
    assert label == "object"
    assert box == pytest.approx([10, 20, 40, 60])


@pytest.mark.parametrize("cell", ["10 20 30", '"[10, 20, a, 4]"', "[]x"])
def test_a_list_that_is_no_box(cell, tmp_path):
    (image(tmp_path) / "boxes.csv").write_text(f"filename,bbox\na.png,{cell}\n")
    with pytest.raises(DataError, match=r"boxes\.csv, line 2: the edges of the box are not four numbers"):
        boxes(tmp_path)
