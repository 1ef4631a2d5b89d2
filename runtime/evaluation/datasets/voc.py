"""Data set in the Pascal VOC layout: `JPEGImages/`, `Annotations/` with an XML file per image, `ImageSets/Main/`.

The folders may also be named `images/` and `annotations/`, and may lie in split folders or contain split folders. If
there are neither split folders nor a list such as `ImageSets/Main/train.txt`, a hash of the content of each sample
determines its split. The classes are the names in the XML files in alphabetical order. An object that is marked as
difficult counts neither as found nor as missed.

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
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, require_images
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

FOLDERS = (
    ("JPEGImages", "Annotations"),
    *(("images", name) for name in ("annotations", "Annotations", "labels", "xmls", "annotations/xmls")),
)
"""Names of the folders of images and of XML files."""

BOTH = "trainval"
"""Name of the list of the images of train and val. If a data set has no lists of train and val, the images of this list
belong to train."""

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


Key = tuple[str, str]
"""Split of the folder of a sample, or an empty string, and the name of its files without suffix."""


class Voc(Boxed):
    """Images with one XML file each, which contains the boxes."""

    def __init__(self, top: tree.Folder, parts: list[_Part], path: Path) -> None:
        self._top = top
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and XML files in {name}/", "not stated")
        self._images: dict[Key, tree.Folder] = {}
        self._annotations: dict[Key, _Annotation] = {}
        for split, images, xml in parts:
            self._add_images(split, images)
            self._annotations |= {(split, Path(file.name).stem): _read(file) for file in tree.files(xml, (".xml",))}
        names = {one.name for annotation in self._annotations.values() for one in annotation.objects}
        if not names:
            msg = f"no object in the XML files of {readable(parts[0].annotations.name)}/: mark some objects"
            raise DataError(msg)
        self.classes = tuple(sorted(names))

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        single = next((readable(key[1]) for key in self._splits if key not in self._annotations), None)
        if single is not None:
            msg = f"sample {single} of {self.source.name} has no XML file: add it, or remove the sample from the lists"
            raise DataError(msg)
        used = {key: split for key, split in self._splits.items() if key in self._images}
        missing = [readable(key[1]) for key in self._splits if key not in used]
        require_images(missing, len(self._splits), self.source.name)
        self.missing = missing
        return by_split([self._sample(key) for key in used], list(used.values()))

    def notes(self) -> list[str]:
        """Return one line for each kind of correction to boxes, and one line about unused images."""
        unlisted = len(self._annotations.keys() - self._splits.keys())
        single = len(self._images.keys() - self._annotations.keys())
        return [
            *super().notes(),
            *([f"{unlisted} images are not used, because no list in ImageSets/Main names them"] if unlisted else []),
            *([f"{single} images are not used, because they have no XML file"] if single else []),
        ]

    def _add_images(self, split: str, folder: tree.Folder) -> None:
        for file in tree.files(folder, IMAGE_SUFFIXES):
            key = (split, Path(file.name).stem)
            if key in self._images:
                msg = f"two images in {folder.name}/ have the name {readable(key[1])}: remove one, or rename it"
                raise DataError(msg)
            self._images[key] = file

    def _sample(self, key: Key) -> AnnotatedImage:
        annotation, stem = self._annotations[key], readable(key[1])
        rows = [
            Row(f"object {number}", self.classes.index(one.name), one.box_xyxy, one.difficult)
            for number, one in enumerate(annotation.objects, start=1)
        ]
        return AnnotatedImage(stem, self._images[key], f"{stem}.xml", rows, annotation.size_hw)

    @cached_property
    def _splits(self) -> dict[Key, str | None]:
        """Return the split of each sample, as stated by its folder or by the file in `ImageSets/Main` that lists it.

        Samples that no such file lists are omitted, unless there are no such files.
        """
        splits: dict[Key, str | None] = {}
        for split in (*SPLITS, BOTH):
            file = self._top / "ImageSets" / "Main" / f"{split}.txt"
            for line in lines_of(tree.decode_text(tree.read(file), file.name)) if file.is_file() else ():
                if split == BOTH:
                    splits.setdefault(("", line), "train")
                elif line and splits.setdefault(("", line), split) != split:
                    msg = f"sample {line} is in {splits['', line]}.txt and in {split}.txt: remove it from one"
                    raise DataError(msg)
        return splits or {key: key[0] or None for key in self._annotations}


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
    if found := _pair(top):
        images, xml = found
        inner = tree.split_folders(images)
        both = [_Part(split, folder, xml / folder.name) for split, folder in inner.items()]
        return both if both and all(part.annotations.is_dir() for part in both) else [_Part("", images, xml)]
    # Roboflow writes the XML files into the folders of images.
    places = list(tree.split_folders(top).items()) or [("", top)]
    parts = [_Part(split, *(_pair(folder) or (folder, folder))) for split, folder in places]
    return parts if all(part.images != part.annotations or _are_beside(part.images) for part in parts) else []


def _pair(top: tree.Folder) -> tuple[tree.Folder, tree.Folder] | None:
    """Return the folder of images and the folder of XML files in a folder, or None."""
    pairs = ((top / images, top / xml) for images, xml in FOLDERS)
    return next((pair for pair in pairs if pair[0].is_dir() and pair[1].is_dir() and _has_xml(pair[1])), None)


def _has_xml(folder: tree.Folder) -> bool:
    """Return True if a folder, or a split folder in it, contains XML files."""
    return any(tree.files(place, (".xml",)) for place in (folder, *tree.split_folders(folder).values()))


def _are_beside(folder: tree.Folder) -> bool:
    """Return True if a folder contains images, and an XML file for at least one of them."""
    stems = {Path(file.name).stem for file in tree.files(folder, (".xml",))}
    return any(Path(file.name).stem in stems for file in tree.files(folder, IMAGE_SUFFIXES))
