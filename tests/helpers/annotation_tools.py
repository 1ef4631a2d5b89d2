"""Small data sets in the formats of annotation tools: the same boxes in each format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from helpers import factories

Change = Literal["input", "label"] | None
"""The part of the first training sample that a builder changes. If None, the builder changes nothing."""

HEIGHT, WIDTH = 24, 32
"""Size of the images in pixels."""


class Marked(NamedTuple):
    """An image with one marked object."""

    name: str
    label: str
    left: int
    """Left edge. The other edges are `TOP`, `RIGHT` and `BOTTOM`."""


TOP, RIGHT, BOTTOM = 4, 20, 22


def _splits(path: Path, change: Change) -> Iterator[tuple[Path, list[Marked]]]:
    """Write three images into each split folder. Yield the folder with its images."""
    for start, split in enumerate(("train", "valid")):
        marked = []
        for index in range(3):
            own = change if (start, index) == (0, 0) else None
            name = f"{split}{index}.png"
            seed = 999 if own == "input" else 10 * start + index
            factories.write_picture(path / split / name, factories.picture(HEIGHT, WIDTH, seed))
            marked.append(Marked(name, ("cat", "dog")[index % 2], 3 if own == "label" else 2))
        yield path / split, marked


def createml(path: Path, change: Change = None) -> Path:
    """Write a CreateML file in each split folder, as Roboflow does."""
    for folder, marked in _splits(path, change):
        images = []
        for name, label, left in marked:
            centre = {"x": (left + RIGHT) / 2, "y": (TOP + BOTTOM) / 2, "width": RIGHT - left, "height": BOTTOM - TOP}
            images.append({"image": name, "annotations": [{"label": label, "coordinates": centre}]})
        (folder / "_annotations.createml.json").write_text(json.dumps(images))
    return path


def labelme(path: Path, change: Change = None) -> Path:
    """Write a LabelMe file beside each image."""
    for folder, marked in _splits(path, change):
        for name, label, left in marked:
            shape = {"label": label, "points": [[RIGHT, TOP], [left, BOTTOM]], "shape_type": "rectangle", "flags": {}}
            size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
            content: dict[str, Any] = {
                "version": "5.4.1",
                "flags": {},
                "shapes": [shape],
                "imagePath": name,
                "imageData": None,
                **size,
            }
            (folder / name).with_suffix(".json").write_text(json.dumps(content))
    return path


def _region(marked: Marked) -> tuple[dict[str, Any], dict[str, str]]:
    width, height = RIGHT - marked.left, BOTTOM - TOP
    shape = {"name": "rect", "x": marked.left, "y": TOP, "width": width, "height": height}
    return shape, {"class": marked.label}


def via_json(path: Path, change: Change = None) -> Path:
    """Write a VIA file in JSON in each split folder."""
    for folder, marked in _splits(path, change):
        images: dict[str, Any] = {}
        for one in marked:
            shape, attributes = _region(one)
            regions = [{"shape_attributes": shape, "region_attributes": attributes}]
            images[f"{one.name}1234"] = {"filename": one.name, "size": 1234, "regions": regions, "file_attributes": {}}
        (folder / "via_region_data.json").write_text(json.dumps(images))
    return path


def via_csv(path: Path, change: Change = None) -> Path:
    """Write a VIA file in CSV in each split folder."""
    columns = ["filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes"]
    for folder, marked in _splits(path, change):
        with (folder / "via_export_csv.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow([*columns, "region_attributes"])
            for one in marked:
                shape, attributes = _region(one)
                table.writerow([one.name, 1234, "{}", 1, 0, json.dumps(shape), json.dumps(attributes)])
    return path


FORMATS: dict[str, Callable[[Path, Change], Path]] = {
    "createml": createml,
    "labelme": labelme,
    "via as JSON": via_json,
    "via as CSV": via_csv,
}
"""Builders by format."""
