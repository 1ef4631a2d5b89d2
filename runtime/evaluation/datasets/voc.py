"""Data set in the Pascal VOC layout: `JPEGImages/`, `Annotations/` with an XML file per image, `ImageSets/Main/`.

The folders may also be named `images/` and `annotations/`. If there is no list such as `ImageSets/Main/train.txt`, a
hash of the content of each sample determines its split. The classes are the names in the XML files in alphabetical
order. An object that is marked as difficult counts neither as found nor as missed.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit". In this format, pixels
are counted from 1, and right and bottom edges are inclusive.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"), ("images", "Annotations"))
"""Names of the folders of images and of XML files."""

ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding=["']([\w.-]+)["']""")
"""Pattern of the declaration of an XML file that states its encoding."""

EDGES = ("xmin", "ymin", "xmax", "ymax")


class _Object(NamedTuple):
    name: str
    box_xyxy: tuple[float, float, float, float]
    difficult: bool


class _Annotation(NamedTuple):
    objects: list[_Object]
    size_hw: tuple[int, int] | None


class _Part(NamedTuple):
    """A folder of images and a folder of XML files. The two may be the same folder."""

    split: str
    """Split of the folders, or an empty string."""
    images: tree.Folder
    annotations: tree.Folder


class Voc(Boxed):
    """Images with one XML file each, which contains the boxes."""

    def __init__(self, top: tree.Folder, parts: list[_Part], path: Path) -> None:
        self._top = top
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and XML files in {name}/", "not stated")
        self._images: dict[str, tree.Folder] = {}
        self._annotations: dict[str, _Annotation] = {}
        self._parts: dict[str, str] = {}
        for split, images, xml in parts:
            self._images |= {Path(file.name).stem: file for file in tree.files(images, IMAGE_SUFFIXES)}
            found = {Path(file.name).stem: _read(file) for file in tree.files(xml, (".xml",))}
            self._annotations |= found
            self._parts |= dict.fromkeys(found, split)
        names = {one.name for annotation in self._annotations.values() for one in annotation.objects}
        if not names:
            msg = f"no object in the XML files of {readable(parts[0].annotations.name)}/: mark some"
            raise DataError(msg)
        self.classes = tuple(sorted(names))

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        images = self._images
        listed = self._listed() or {stem: split or None for stem, split in self._parts.items()}
        samples = []
        for stem in listed:
            for files, kind in ((images, "image"), (self._annotations, "XML file")):
                if stem not in files:
                    msg = f"sample {readable(stem)} of {self.source.name} has no {kind}: add it, or remove the sample"
                    raise DataError(msg)
            samples.append(self._sample(stem, images[stem]))
        return by_split(samples, list(listed.values()))

    def _sample(self, stem: str, image: tree.Folder) -> AnnotatedImage:
        annotation = self._annotations[stem]
        rows = [
            Row(f"object {number}", self.classes.index(one.name), one.box_xyxy, one.difficult)
            for number, one in enumerate(annotation.objects, start=1)
        ]
        return AnnotatedImage(readable(stem), image, readable(f"{stem}.xml"), rows, annotation.size_hw)

    def _listed(self) -> dict[str, str | None]:
        """Return the split of each sample that a file in `ImageSets/Main` lists.

        The result is empty if there are no such files.
        """
        lists = {split: self._top / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
        splits: dict[str, str | None] = {}
        for split, file in lists.items():
            if file.is_file():
                for line in tree.decode_text(tree.read(file), file.name).split():
                    if splits.setdefault(line, split) != split:
                        msg = f"sample {line} is in {splits[line]}.txt and in {split}.txt: remove it from one"
                        raise DataError(msg)
        return splits


def _read(file: tree.Folder) -> _Annotation:
    """Read an XML file.

    Files with a document type are rejected, because it could define entities that expand to gigabytes.

    Raises:
        DataError: The file is damaged, has a document type, or lacks an element.
    """
    name = readable(file.name)
    data = tree.read(file)
    stated = ENCODING.match(data[:200])
    text = tree.decode_text(data, name, stated[1].decode() if stated else None)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        msg = f"{name} defines a document type or entities, which annotations do not need: remove them"
        raise DataError(msg)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        msg = f"cannot read {name}: {error}"
        raise DataError(msg) from error
    height, width = (root.findtext(f"size/{side}", "0").strip() for side in ("height", "width"))
    size = (int(height), int(width)) if height.isdecimal() and width.isdecimal() else (0, 0)
    objects = [_object(node, f"{name}, object {number}") for number, node in enumerate(root.iter("object"), start=1)]
    return _Annotation(objects, size if all(size) else None)


def _object(node: ElementTree.Element, where: str) -> _Object:
    name = node.findtext("name", "").strip()
    if not name:
        msg = f"{where} has no name"
        raise DataError(msg)
    values = [node.findtext(f"bndbox/{edge}", "").strip() for edge in EDGES]
    try:
        left, top, right, bottom = map(float, values)
    except ValueError as error:
        msg = f"{where}: the edges {', '.join(EDGES)} are {values}, not four numbers"
        raise DataError(msg) from error
    return _Object(name, (left - 1, top - 1, right, bottom), node.findtext("difficult", "0").strip() == "1")


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as images with XML files, or None."""
    found = _found(path)
    if found is None:
        return None
    _, images, annotations = found[1][0]
    beside = images.name == annotations.name
    where = f"{images.name}/ beside the images" if beside else f"{annotations.name}/ for the images in {images.name}/"
    return f"there are .xml files in {where}"


def open_dataset(path: Path) -> Voc:
    """Open the images and XML files in a folder or zip. They may lie inside another folder."""
    found = _found(path)
    if found is None:
        msg = f"not a data set: {path} has no JPEGImages/ and Annotations/ with .xml files"
        raise DataError(msg)
    return Voc(*found, path)


def _found(path: Path) -> tuple[tree.Folder, list[_Part]] | None:
    """Return the folder of the data set, and its folders of images and of XML files."""
    return next(((top, found) for top in tree.candidates(path) if (found := _folders(top))), None)


def _folders(top: tree.Folder) -> list[_Part]:
    for images, files in ((top / images, top / xml) for images, xml in FOLDERS):
        if images.is_dir() and files.is_dir() and tree.files(files, (".xml",)):
            return [_Part("", images, files)]
    # Roboflow writes the XML files into the folders of images.
    places = list(tree.split_folders(top).items()) or [("", top)]
    beside = [_Part(split, folder, folder) for split, folder in places if _are_beside(folder)]
    return beside if len(beside) == len(places) else []


def _are_beside(folder: tree.Folder) -> bool:
    """Return True if a folder contains images, and an XML file for at least one of them."""
    stems = {Path(file.name).stem for file in tree.files(folder, (".xml",))}
    return any(Path(file.name).stem in stems for file in tree.files(folder, IMAGE_SUFFIXES))
