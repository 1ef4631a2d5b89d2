"""Recognise layouts that Orilla cannot read, and describe the content of files with an unknown layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.folder_words import ANNOTATIONS, PARTS, are_parts, part_words, words_of
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

MAX_NAMED = 6
"""Maximum number of files and folders that a message lists."""

CLASS_FOLDERS = "one folder of images per class (train/cat/1.jpg)"
MASKS = "images with masks (images/ and masks/ with equal names, and classes.txt or class_dict.csv)"
BOXES = "images with boxes (COCO, YOLO, Pascal VOC, CreateML, LabelMe, VIA)"
TEXTS = "texts (a .csv with the columns text and label, or one folder of .txt files per class)"
ARRAYS = "arrays (an .npz with x and y)"


class Layout(NamedTuple):
    """A layout that is known but cannot be read."""

    title: str
    found: Callable[[tree.Folder], bool]
    """Function that returns True if a folder has this layout."""
    advice: str
    is_certain: bool = False
    """True if the files are rejected even if a reader of a general kind recognises them."""


def _has(*suffixes: str) -> Callable[[tree.Folder], bool]:
    """Return a function that tests whether a folder contains files with one of these endings."""
    return lambda top: any(
        file.name.lower().endswith(suffixes) and not file.name.startswith(".") for file in top.iterdir()
    )


def _below(names: Sequence[str], *suffixes: str) -> Callable[[tree.Folder], bool]:
    """Return a function that tests whether one of these folders contains files with one of these endings."""
    return lambda top: any((top / name).is_dir() and _has(*suffixes)(top / name) for name in names)


def _splits_have(*suffixes: str) -> Callable[[tree.Folder], bool]:
    """Return a function that tests whether a folder or its split folders contain files with one of these endings."""
    return lambda top: any(_has(*suffixes)(folder) for folder in (top, *tree.split_folders(top).values()))


def _are_pairs(top: tree.Folder) -> bool:
    """Return True if a folder with images has a name for annotations, and lies next to folders of images or splits.

    Examples are `images` and `masks`, or `train` and `masks`.
    """
    folders = [folder for folder in tree.folders(top) if part_words(folder.name)]
    are_splits = all(
        tree.WITH_FILLERS.fullmatch(folder.name) or part_words(folder.name) <= tree.SPLITS.keys() for folder in folders
    )
    with_images = [folder.name for folder in folders if tree.has_files_below(folder, IMAGE_SUFFIXES)]
    return not are_splits and are_parts(with_images)


def _has_other_annotations(top: tree.Folder) -> bool:
    """Return True if a folder contains a folder of images, and a folder without images whose name means annotations."""
    known = [folder for folder in tree.folders(top) if part_words(folder.name)]
    with_images = [folder for folder in known if tree.has_files_below(folder, IMAGE_SUFFIXES)]
    others = [folder for folder in known if folder not in with_images]
    return bool(with_images) and any(part_words(folder.name) & ANNOTATIONS for folder in others)


def _is_flat(top: tree.Folder) -> bool:
    """Return True if all split folders contain images, but no folders of classes."""
    splits = tree.split_folders(top).values()
    return bool(splits) and all(tree.files(folder, IMAGE_SUFFIXES) and not tree.folders(folder) for folder in splits)


def _are_only_images(top: tree.Folder) -> bool:
    return bool(tree.files(top, IMAGE_SUFFIXES)) and not tree.folders(top)


UNSUPPORTED = (
    Layout("TFRecord", _splits_have(".tfrecord", ".tfrecords", ".record"), "export it as COCO, YOLO or Pascal VOC"),
    Layout(
        "Supervisely",
        _below(("ann",), ".json"),
        "export it as COCO, Pascal VOC, or as images/ and masks/",
        is_certain=True,
    ),
    Layout("WebDataset", _splits_have(".tar"), f"unpack the archives to {CLASS_FOLDERS}"),
    Layout("a packed archive", _has(".tar.gz", ".tgz", ".7z", ".rar"), "unpack it"),
    Layout("Parquet", _splits_have(".parquet", ".arrow"), "export it as .csv, or as folders of images"),
    Layout("Matlab", _has(".mat"), "store its arrays as .npz, or its images in folders"),
    Layout("HDF5", _has(".h5", ".hdf5"), "store its arrays as .npz, or its images in folders"),
    Layout("images with annotation images", _are_pairs, f"convert it to {MASKS}", is_certain=True),
    Layout("images with annotations in an unknown format", _has_other_annotations, f"convert it to {MASKS} or {BOXES}"),
    Layout("images in split folders without labels", _is_flat, f"move them to {CLASS_FOLDERS}"),
    Layout("images without labels", _are_only_images, f"move them to {CLASS_FOLDERS}"),
)
"""Layouts that are rejected with a reason, unless a reader of a specific layout recognises the files."""

FILES = {
    **dict.fromkeys((".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "an archive that is not a zip: unpack it"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet: export it as .csv"),
    **dict.fromkeys((".parquet", ".arrow", ".feather"), "a table in a binary format: export it as .csv"),
    **dict.fromkeys((".pkl", ".pickle"), "a Python pickle, which can run code: store its arrays as .npz"),
    **dict.fromkeys((".mat", ".h5", ".hdf5", ".npy"), "a file of arrays: store them as .npz with x and y"),
    **dict.fromkeys((".tfrecord", ".tfrecords", ".record"), "TFRecord: export it as COCO, YOLO or folders of images"),
    **dict.fromkeys((".txt", ".jsonl", ".ndjson"), f"not a table: Orilla reads {TEXTS}"),
    ".json": "JSON in an unknown format: Orilla reads COCO, CreateML and VIA",
}
"""Description and advice for files. The keys are the suffixes."""


def refuse_unsupported(path: Path, *, recognised: bool) -> None:
    """Raise `DataError` if a path has a layout that is known but cannot be read.

    `recognised` is True if a general reader recognises the path.
    """
    if path.is_file() and tree.root(path) is None:
        if recognised:
            return
        known = FILES.get(path.suffix.lower())
        if known is not None:
            msg = f"not a data set: {path} is {known}"
            raise DataError(msg)
        return
    for top in tree.candidates(path):
        for layout in UNSUPPORTED:
            if (layout.is_certain or not recognised) and layout.found(top):
                msg = (
                    f"not a data set: {path} is {layout.title}, which Orilla does not read: {contents_of(path)}. "
                    f"Please {layout.advice}; see docs/training.md"
                )
                raise DataError(msg)


def contents_of(path: Path) -> str:
    """Return a description of what a folder or zip contains, for messages."""
    top = tree.root(path)
    if top is None:
        empty = path.is_file() and not path.stat().st_size
        return "the file is empty" if empty else f"it is a file of type {path.suffix or 'without a suffix'}"
    parts = _files_of(top)
    for folder in tree.folders(top):
        inside = _files_of(folder) or [f"{child.name}/" for child in tree.folders(folder)]
        parts.append(f"{readable(folder.name)}/ ({', '.join(map(readable, inside[:3])) or 'empty'})")
    more = f" and {len(parts) - MAX_NAMED} more" if len(parts) > MAX_NAMED else ""
    return f"it contains {', '.join(parts[:MAX_NAMED])}{more}" if parts else "it is empty"


def _files_of(folder: tree.Folder) -> list[str]:
    """Return the number of files of each type in a folder, or the name of the file if there is only one."""
    names = [file.name for file in folder.iterdir() if not file.name.startswith(".") and file.is_file()]
    counts = Counter(Path(name).suffix.lower() for name in names)
    texts = []
    for suffix, count in counts.most_common():
        name = next(name for name in names if Path(name).suffix.lower() == suffix)
        texts.append(readable(name) if count == 1 else f"{count} {readable(suffix) or 'files without a suffix'}")
    return texts


def wanted(path: Path) -> list[str]:
    """Return the supported layouts that are most similar to the content of a path."""
    if tree.root(path) is None:
        return [TEXTS, ARRAYS, "folders and zips of images"]
    names = [file.name.lower() for top in tree.candidates(path) for file in top.iterdir()]
    has_images = any(name.endswith(IMAGE_SUFFIXES) for name in names)
    has_roles = any(set(words_of(Path(name).name)) & PARTS for name in names)
    if has_images or has_roles:
        return [CLASS_FOLDERS, MASKS, BOXES]
    return [CLASS_FOLDERS, MASKS, BOXES, TEXTS, ARRAYS]
