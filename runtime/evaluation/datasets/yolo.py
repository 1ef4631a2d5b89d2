"""Data set in the YOLO layout: `images/` and `labels/` with a text file per image.

A line of a label file is `class x y width height`: the index of the class, and the centre and size of the box as
fractions of the image size. A line with a polygon, `class x y x y x y ...`, becomes the box around it. An image with an
empty label file or without one has no objects. The class names are in `classes.txt` (one per line) or under `names` in
`data.yaml` or another YAML file. Splits are folders inside `images/` and `labels/`, or around them.

Source: the label format of Darknet (pjreddie/darknet, public domain), `scripts/voc_label.py`.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable, whole_number
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import (
    AnnotatedImage,
    Boxed,
    Row,
    by_split,
    class_names,
    require_images,
    unique_names,
)
from orilla.runtime.evaluation.datasets.coco import split_in
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")
DARKNET_FOLDERS = ("obj_train_data", "obj", "data/obj", "data")
"""Names of folders that contain both images and label files, as Darknet stores them."""

LISTS = {"train.txt": "train", "valid.txt": "val", "val.txt": "val", "test.txt": "test"}
"""Split of the images that each of Darknet's list files contains."""

BOX = re.compile(rb"[\d.]+(?:e\+?0+)?(?:\s+[-+.\deE]+){4,}")
"""Pattern of a line of a label file."""

FIELDS, MIN_POLYGON = 5, 7
"""Number of values in a line with a box, and the minimum number in a line with a polygon."""

VISIBLE = frozenset(("0", "1", "2", "0.0", "1.0", "2.0", "0.000000", "1.000000", "2.000000"))
"""Values that state whether a keypoint is visible."""

CLASS = re.compile(r"\d+(?:\.0*(?:e\+?0+)?)?")
"""Pattern of the index of a class. Some tools write it as a float."""

SHARE = re.compile(r"0?\.\d+|[01]\.0*")
"""Pattern of a confidence."""

MAX_FRACTION = 2.0
"""Values above this limit are pixels. Values between 1 and this limit are clipped to the image."""

LOOKED_AT = 5
"""Number of label files that are read to recognise the layout."""

YAML = (".yaml", ".yml")
"""Suffixes of YAML files."""

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")
"""Names of the file with the class names. If none of them exists, the only YAML file with the key `names` is used."""

NAMES_KEY = r"^names[ \t]*:"
"""Pattern of the YAML key that contains the class names."""

QUOTED = r"""(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*')"""
"""Regular expression of a quoted name in YAML."""

NUMBER = r"""["']?(\d+)["']?[ \t]*:"""
"""Regular expression of the number of a class in YAML."""

Pair = tuple[str | None, tree.Folder, tree.Folder]
"""Split or None, folder of the images, folder of the label files."""


class Yolo(Boxed):
    """Images with one label file each, which contains the boxes."""

    normalised = True

    def __init__(self, top: tree.Folder, pairs: list[Pair], path: Path) -> None:
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and labels in {name}/", "not stated")
        self._pairs, self._missing, self._polygons = pairs, 0, 0
        self.classes = _names(top, pairs)
        self._lists = _listed(top)

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        missing: list[str] = []
        for split, images, labels in self._pairs:
            found, single = self._in_folder(images, labels)
            missing += single
            samples += found
            splits += [split or self._split_of(Path(sample.name)) for sample in found]
        if not samples:
            msg = f"{self.source.name} has no images in images/"
            raise DataError(msg)
        require_images(missing, len(missing) + len(samples), f"{self._pairs[0][2].name}/")
        self.missing = missing
        return by_split(samples, splits)

    def notes(self) -> list[str]:
        """Return one line for each kind of correction to boxes, and one line about images without a label file."""
        notes = super().notes()
        if self._missing:
            notes.append(f"{self._missing} images have no label file and count as images without objects")
        if self._polygons:
            notes.append(f"{self._polygons} polygons are replaced by the boxes around them")
        return notes

    def _split_of(self, name: Path) -> str | None:
        """Return the split in which a list contains an image, or which its folder states, such as `train2017`."""
        return self._lists.get(name.name) or split_in(str(name.parent))

    def _in_folder(self, images: tree.Folder, labels: tree.Folder) -> tuple[list[AnnotatedImage], list[str]]:
        """Return the samples of one pair of folders, and the names of the label files without an image."""
        files = {
            Path(tree.below(labels, file)).with_suffix("").as_posix(): file
            for file in tree.files_below(labels, (".txt",))
            if file.name not in NAME_FILES
        }
        if labels.name == images.name:  # Other text files may lie beside the images.
            own = {
                Path(tree.below(images, file)).with_suffix("").as_posix()
                for file in tree.files_below(images, IMAGE_SUFFIXES)
            }
            files = {stem: file for stem, file in files.items() if stem in own}
        samples, stems = [], set()
        for image in tree.files_below(images, IMAGE_SUFFIXES):
            below = tree.below(images, image)
            stem = Path(below).with_suffix("").as_posix()
            if stem in stems:
                msg = f"two images in {images.name}/ have the name {readable(stem)}: remove one, or rename it"
                raise DataError(msg)
            stems.add(stem)
            rows = self._rows(files[stem]) if stem in files else []
            self._missing += stem not in files
            annotations = files[stem].name if stem in files else f"{Path(stem).name}.txt"
            samples.append(AnnotatedImage(readable(below), image, readable(annotations), rows))
        return samples, [readable(stem) for stem in sorted(files.keys() - stems)]

    def _rows(self, file: tree.Folder) -> list[Row]:
        """Return the boxes of a label file."""
        rows = []
        for number, line in enumerate(lines_of(tree.decode_text(tree.read(file), readable(file.name))), start=1):
            if line.strip():
                rows.append(self._row(line.split(), f"line {number}", readable(file.name)))
        return rows

    def _row(self, values: list[str], origin: str, name: str) -> Row:
        is_polygon = len(values) >= MIN_POLYGON and len(values) % 2 == 1 and not _has_keypoints(values)
        if len(values) != FIELDS and not is_polygon:
            kind, advice = _kind_of(values)
            msg = f"{name}, {origin} has {len(values)} values, {kind}: expected class, x, y, width and height{advice}"
            raise DataError(msg)
        stated = values[0].partition(".")[0] if CLASS.fullmatch(values[0]) else ""
        if not whole_number(stated) or int(stated) >= len(self.classes):
            msg = f"{name}, {origin}: class {values[0]!r} is unknown: the classes are 0 to {len(self.classes) - 1}"
            raise DataError(msg)
        try:
            numbers = [float(value) for value in values[1:]]
        except ValueError as error:
            amount = "numbers" if is_polygon else "four numbers"
            msg = f"{name}, {origin}: {' '.join(values[1:])[:80]!r} are not {amount}"
            raise DataError(msg) from error
        if max(numbers) > MAX_FRACTION:
            msg = (
                f"{name}, {origin}: {' '.join(values[1:])[:80]!r} are pixels, but YOLO states fractions of the image "
                "size: divide x and width by the width, and y and height by the height"
            )
            raise DataError(msg)
        if is_polygon:
            self._polygons += 1
            across, down = numbers[::2], numbers[1::2]
            return Row(origin, int(stated), (min(across), min(down), max(across), max(down)))
        x, y, width, height = numbers
        return Row(origin, int(stated), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _has_keypoints(values: list[str]) -> bool:
    """Return True if a line consists of a box and of keypoints with visibility."""
    return (len(values) - FIELDS) % 3 == 0 and set(values[FIELDS + 2 :: 3]) <= VISIBLE


def _kind_of(values: list[str]) -> tuple[str, str]:
    """Describe what a line with a wrong number of values probably contains, and what the user can do."""
    count = len(values)
    if count < FIELDS:
        return "too few", ""
    if count == FIELDS + 1:
        kind = "a confidence" if SHARE.fullmatch(values[-1]) else "a track ID"
        return f"and the last one is {kind}, as in the predictions of a model", "; remove the last value of each line"
    if _has_keypoints(values):
        return "a box and keypoints", "; keep the first five values of each line"
    return "a form that is unknown", ""


def _listed(top: tree.Folder) -> dict[str, str]:
    """Return the split of each image that a Darknet list such as `train.txt` contains. The keys are the file names."""
    splits: dict[str, str] = {}
    for place in (top, top / "data"):
        for name, split in LISTS.items():
            file = place / name
            if file.is_file():
                splits |= {Path(line).name: split for line in lines_of(tree.decode_text(tree.read(file), name)) if line}
    return splits


def _names(top: tree.Folder, pairs: list[Pair]) -> tuple[str, ...]:
    """Return the class names. Raises `DataError` if no file states them."""
    places = [top, top / "labels", top / "data", *(labels for _, _, labels in pairs)]
    file = next((file for place in places for name in NAME_FILES if (file := place / name).is_file()), None)
    if file is not None:
        return class_names(tree.read(file), file.name)
    yaml = next((file for name in YAML_FILES if (file := top / name).is_file()), None)
    if yaml is None:
        with_names = [file for file in tree.files(top, YAML) if re.search(NAMES_KEY.encode(), tree.read(file), re.M)]
        yaml = with_names[0] if len(with_names) == 1 else None
    if yaml is None:
        msg = f"{top.name or top} has no classes.txt: add it, with one class name per line"
        raise DataError(msg)
    return unique_names(names_in_yaml(tree.decode_text(tree.read(yaml), yaml.name), yaml.name), yaml.name)


def names_in_yaml(text: str, file: str) -> list[str]:
    """Return the class names under the key `names` of a YAML file: a list, or a mapping from numbers to names.

    Only this part of YAML is read: `names: [a, b]`, `names: {0: a, 1: b}`, lines `- a`, and lines `0: a`.

    Raises:
        DataError: There is no such key, or the numbers are not 0, 1, 2 and so on.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = re.search(NAMES_KEY + r"(.*(?:\n(?:[ \t\-\]}#].*|$))*)", text, re.MULTILINE)
    if found is None:
        msg = f"{file} has no key names: list the classes, as in names: [cat, dog]"
        raise DataError(msg)
    body = re.sub(rf"({QUOTED})|(?:^|(?<=\s))#.*", lambda part: part[1] or "", found[1], flags=re.MULTILINE).strip()
    if body.startswith(("[", "{")):
        number = NUMBER if body.startswith("{") else "()"
        items = re.findall(rf"\s*(?:{number})?\s*({QUOTED}|[^,]+)", body[1:].rstrip("]}"))
    else:
        items = re.findall(rf"^[ \t]*(?:-|{NUMBER})[ \t]*({QUOTED}|.+)", body, re.MULTILINE)
    pairs = [(number, _unquoted(name.strip())) for number, name in items if name.strip()]
    numbers = [int(number) for number, _ in pairs if number]
    if numbers and numbers != list(range(len(pairs))):
        msg = f"{file}: the numbers of the classes under names must be 0, 1, 2 and so on, in this order"
        raise DataError(msg)
    return [name for _, name in pairs]


def _unquoted(name: str) -> str:
    """Return the text of a name in YAML, which may be quoted."""
    if len(name) < 2 or name[0] not in "\"'" or name[-1] != name[0]:
        return name
    inner = name[1:-1]
    return (inner.replace("''", "'") if name[0] == "'" else re.sub(r"\\(.)", r"\1", inner)).strip()


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised, or None.

    It is recognised if it contains images and text files with boxes, with or without splits.
    """
    found = _found(path)
    if found is None:
        return None
    _, images, labels = found[1][0]
    return f"there are images in {images.name or 'the folder'}/ and text files with boxes in {labels.name or 'it'}/"


def open_dataset(path: Path) -> Yolo:
    """Open the images and label files in a folder or zip. They may lie inside another folder."""
    found = _found(path)
    if found is None:
        msg = f"not a data set: {path} has no images/ and labels/ with .txt files"
        raise DataError(msg)
    top, pairs = found
    return Yolo(top, pairs, path)


def _found(path: Path) -> tuple[tree.Folder, list[Pair]] | None:
    """Return the folder of the data set, and its pairs of folders."""
    for top in tree.candidates(path):
        images, labels = top / "images", top / "labels"
        if images.is_dir() and labels.is_dir():
            inner = tree.split_folders(images)
            pairs = [(split, folder, labels / folder.name) for split, folder in inner.items()]
            complete = pairs and all(pair[2].is_dir() for pair in pairs)
            found: list[Pair] = [*pairs] if complete else [(None, images, labels)]
        else:
            around = tree.split_folders(top).items()
            both = [(split, folder / "images", folder / "labels") for split, folder in around]
            found = [pair for pair in both if pair[1].is_dir() and pair[2].is_dir()]
        if any(tree.has_files_below(folder, (".txt",)) for _, _, folder in found):
            return top, found
        beside = [pair for pair in _beside(top) if _has_boxes(pair[2])]
        if beside:
            return top, beside
    return None


def _beside(top: tree.Folder) -> list[Pair]:
    """Return the folders that may contain images with their label files beside them, as Darknet expects them."""
    around: list[Pair] = [(split, folder, folder) for split, folder in tree.split_folders(top).items()]
    inside: list[Pair] = [(None, top / name, top / name) for name in DARKNET_FOLDERS if (top / name).is_dir()]
    return around or inside or [(None, top, top)]


def _has_boxes(folder: tree.Folder) -> bool:
    """Return True if a folder contains an image with a label file beside it."""
    stems = {Path(file.name).stem for file in tree.files(folder, IMAGE_SUFFIXES)}
    labels = [file for file in tree.files(folder, (".txt",)) if Path(file.name).stem in stems]
    lines = [line for file in labels[:LOOKED_AT] for line in tree.read(file)[:200].splitlines()[:1]]
    return bool(labels) and all(BOX.fullmatch(line.strip()) for line in lines)
