"""Data set in the format of the VGG Image Annotator (VIA): a JSON or CSV file with the regions of each image.

The file lies beside the images or in each split folder, such as `via_region_data.json`, `via_project.json` or
`via_export_csv.csv`. A region is a rectangle, a circle, an ellipse, a polygon or a polyline, and is replaced by the box
around it. Its class is the value of its attribute, such as `class` or `name`. If no region has an attribute, all are of
one class.

Source: Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video" (2019), and the files that VIA 1
and VIA 2 write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.annotated import (
    Annotated,
    AnnotatedImages,
    NamedBox,
    around,
    folders_by_split,
)
from orilla.runtime.evaluation.datasets.boxed import Box
from orilla.runtime.evaluation.datasets.delimited import Table
from orilla.runtime.evaluation.datasets.json_files import decode_json, few_json_files, has_form
from orilla.runtime.evaluation.datasets.table_images import find_image, image_places
from orilla.runtime.evaluation.datasets.tables import SUFFIXES, read_table, start_of, table_files

CLASSES = ("class", "label", "name", "type", "category", "object")
"""If a region has several attributes, the one with one of these names (in lower case) states its class."""

ONLY_CLASS = "object"
"""Name of the class of all regions, if none of them has an attribute."""

COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
"""Columns of the CSV file. VIA 1 writes `#filename`."""

Attributes = dict[str, str | int | float | list[float] | dict[str, bool] | None]
"""Attributes of a region by name: its shape and coordinates, or what the user entered."""


class _Region(msgspec.Struct):
    shape_attributes: Attributes
    region_attributes: Attributes


class _Image(msgspec.Struct):
    filename: str
    regions: list[_Region] | dict[str, _Region]


class _Project(msgspec.Struct):
    images: dict[str, _Image] = msgspec.field(name="_via_img_metadata")


class _Part(NamedTuple):
    split: str
    """Split of the file, or an empty string."""
    file: tree.Folder
    folder: tree.Folder
    """Folder in which the images are searched."""


class Via(AnnotatedImages):
    """Images whose regions VIA has stored."""


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised as images with a VIA file, or None."""
    found = _found(path)
    return f"{readable(found[0].file.name)} has the regions of images, as VIA stores them" if found else None


def open_dataset(path: Path) -> Via:
    """Open the images and regions in a folder or zip, or a VIA file beside its images."""
    found = _found(path)
    if not found:
        msg = f"not a data set: {path} has no .json or .csv with the regions of images, as VIA stores them"
        raise DataError(msg)
    images: dict[tuple[str, str], tuple[_Part, _Regions]] = {}
    for part in found:
        for image in _read(part.file):
            # VIA can export the same regions as JSON and as CSV. If several files of a folder list an image, the first
            # one is used.
            images.setdefault((part.split, image.name), (part, image))
    named = any(region.region_attributes for _, image in images.values() for _, region in image.regions)
    return Via((_annotated(part, image, named=named) for part, image in images.values()), path.resolve().stem)


def _annotated(part: _Part, image: _Regions, *, named: bool) -> Annotated:
    """Return an image with its boxes. If `named` is False, all boxes have the same class."""
    file = part.file.name
    boxes = [_box(region, f"{file}, {origin}", origin, named=named) for origin, region in image.regions]
    found = find_image(image_places(part.folder, file), image.name)
    return Annotated(image.name, found, file, boxes, part.split)


class _Regions(NamedTuple):
    """The regions of an image, each with its position in the file."""

    name: str
    regions: Sequence[tuple[str, _Region]]


def _read(file: tree.Folder) -> Iterator[_Regions]:
    """Yield the images of a file with their regions."""
    if file.name.lower().endswith(".json"):
        images = (
            decode_json(file, _Project).images if has_form(file, _Project) else decode_json(file, dict[str, _Image])
        )
        for image in images.values():
            regions = image.regions.values() if isinstance(image.regions, Mapping) else image.regions
            origins = (f"region {number} of {readable(image.filename)}" for number, _ in enumerate(regions, start=1))
            yield _Regions(image.filename, list(zip(origins, regions, strict=True)))
        return
    table = read_table(file)
    columns = _columns(table)
    assert columns is not None
    name, shape, attributes = columns
    rows: dict[str, list[tuple[str, _Region]]] = {}
    for line, fields in table.rows:
        if len(fields) != len(table.header):
            msg = f"{table.name}, line {line} has {len(fields)} fields, but the first line names {len(table.header)}"
            raise DataError(msg)
        found = rows.setdefault(fields[name].strip(), [])
        where = f"{table.name}, line {line}"
        coordinates = _attributes(fields[shape], where)
        if coordinates:  # A row without a shape names an image without regions.
            found.append((f"line {line}", _Region(coordinates, _attributes(fields[attributes], where))))
    yield from (_Regions(image, regions) for image, regions in rows.items())


def _attributes(text: str, where: str) -> Attributes:
    try:
        return msgspec.json.decode(text, type=Attributes)
    except msgspec.MsgspecError as error:
        msg = f"{where}: {readable(text)[:80]!r} is not JSON as VIA writes it: {error}"
        raise DataError(msg) from error


def _box(region: _Region, where: str, origin: str, *, named: bool) -> NamedBox:
    """Return the box of a region. Raise `DataError` if its shape is unknown or its class is missing."""
    shape = region.shape_attributes
    edges = _edges(shape)
    if edges is None:
        msg = f"{where} is a {readable(str(shape.get('name')))[:40]} without a size: mark a rectangle or a polygon"
        raise DataError(msg)
    label = _label(region.region_attributes) if named else ONLY_CLASS
    if not label:
        msg = f"{where}: the attributes {readable(str(region.region_attributes))[:80]} do not state one class: add it"
        raise DataError(msg)
    return NamedBox(origin, label, edges, shape.get("name") != "rect")


def _label(attributes: Attributes) -> str:
    """Return the class of a region, or an empty string if its attributes do not state exactly one."""
    by_name = {name.lower(): value for name, value in attributes.items()}
    value = next(iter(by_name.values())) if len(by_name) == 1 else None
    value = next((by_name[name] for name in CLASSES if name in by_name), value)
    if isinstance(value, dict):  # Check boxes
        chosen = [name for name, is_chosen in value.items() if is_chosen]
        return chosen[0].strip() if len(chosen) == 1 else ""
    return str(value).strip() if isinstance(value, str | int) else ""


def _edges(shape: Attributes) -> Box | None:
    """Return the box around a shape, or None if it is a point or its form is not known."""

    def numbers(*names: str) -> list[float] | None:
        values = [shape.get(name) for name in names]
        found = [float(value) for value in values if isinstance(value, int | float)]
        return found if len(found) == len(names) else None

    if corner := numbers("x", "y", "width", "height"):
        x, y, width, height = corner
        return x, y, x + width, y + height
    radii = numbers("cx", "cy", "rx", "ry") or numbers("cx", "cy", "r", "r")
    if radii:
        x, y, across, down = radii
        # An ellipse can be rotated by `theta`. A box with its largest radius contains it at every angle.
        if shape.get("theta"):
            across = down = max(across, down)
        return x - across, y - down, x + across, y + down
    x_points, y_points = shape.get("all_points_x"), shape.get("all_points_y")
    return around(x_points, y_points) if isinstance(x_points, list) and isinstance(y_points, list) else None


def _columns(table: Table) -> tuple[int, int, int] | None:
    """Return the columns of the image, the shape and the attributes, or None if the table is not from VIA."""
    first = table.with_header([name.strip().lstrip("#") for name in table.header])
    found = [at for name in COLUMNS if (at := first.column(name)) is not None]
    return (found[0], found[1], found[2]) if len(found) == len(COLUMNS) else None


def _is_via(file: tree.Folder) -> bool:
    if file.name.lower().endswith(".json"):
        return has_form(file, _Project) or has_form(file, dict[str, _Image])
    table = start_of(file)
    return table is not None and _columns(table) is not None


def _found(path: Path) -> list[_Part]:
    """Return the VIA files at a path."""
    if path.is_file() and path.suffix.lower() in (".json", *SUFFIXES):
        return [_Part("", path, path.parent)] if _is_via(path) else []
    for top in tree.candidates(path):
        parts = [
            _Part(split, file, folder)
            for split, folder in folders_by_split(top)
            for file in [*few_json_files(folder), *table_files(folder)]
            if _is_via(file)
        ]
        if parts:
            return parts
    return []
