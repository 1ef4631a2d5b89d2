"""Open a data set by its name or path, with a reader from the table `READERS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, runtime_checkable

from orilla.devices.errors import ConfigError, DataError, OrillaError, neighbour, unknown_name
from orilla.devices.gate import only_our_errors
from orilla.devices.plugins import ModuleRegistry, Modules, report
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions, split_options, with_options

if TYPE_CHECKING:
    from orilla.runtime.evaluation.datasets.dataset import Dataset


class ReaderRow(NamedTuple):
    """A row in the table of readers."""

    description: str
    """Layout of the files, or pattern of the name."""
    module: str
    """Name of the module that implements `EmbeddedReader`, `FileReader` or `OptionReader`: relative to the package
    `datasets`, or the full name for a plug-in."""
    general: bool = False
    """True if the layout is so general that files of other layouts may match it. Before such a reader is used, layouts
    that are known but cannot be read are rejected."""


DESCRIPTIONS = {
    "scenes": "procedural road scenes; scenes:SEED gives other scenes",
    "scene_boxes": "the same scenes with boxes around vehicles, trees and buildings; scene_boxes:SEED gives others",
    "scene_steering": "images from a car, with the steering that keeps the lane; scene_steering:SEED gives others",
    "no_road": "computer-generated frames without a road, as of a covered camera; no_road:SEED gives others",
    "camvid": "road scenes in the SegNet layout: train/ trainannot/ val/ valannot/",
    "kitti": "KITTI road: training/image_2 and training/gt_image_2 (um_, umm_, uu_)",
    "kitti_semantics": "KITTI semantics: training/image_2 and training/semantic",
    "cityscapes": "Cityscapes: leftImg8bit/ and gtFine/ with labelIds",
    "ade20k": "ADE20K: images/training, annotations/training and objectInfo150.txt",
    "masks": "images/ and masks/ with equal file names, below train/ val/ test/ or without splits",
    "coco": "COCO: annotations.json with the images, one such file per split, or a JSON file beside its images",
    "yolo": "YOLO: images/ and labels/ with a .txt per image, and classes.txt or data.yaml",
    "voc": "Pascal VOC: JPEGImages/ and Annotations/ with an .xml per image",
    "createml": "CreateML: _annotations.createml.json, or a JSON file of this form, beside its images",
    "labelme": "LabelMe: a .json with shapes beside each image",
    "via": "VGG Image Annotator: a .json or .csv with the regions of images, beside them",
    "voc_masks": "Pascal VOC's masks: JPEGImages/ and SegmentationClass/, optionally with labelmap.txt",
    "mask_folders": "images and masks in other folders, as in images/ labels/ codes.txt or train/ train_labels/",
    "box_table": "a .csv with the columns filename, class, xmin, ymin, xmax, ymax (or bbox), such as _annotations.csv",
    "donkeycar": "donkeycar tubs: catalog_*.catalog and images/, or record_*.json beside the images",
    "image_labels": "a .csv with a column of image files and a column of classes, such as label, and the images",
    "image_table": "a .csv with a column of image files and columns of numbers, as in steering [deg], and the images",
    "mnist": "MNIST, Fashion-MNIST or KMNIST: Keras' .npz, or a folder of the idx files",
    "emnist": "EMNIST: emnist-NAME-train-images-idx3-ubyte and its other idx files",
    "cifar": "CIFAR-10 or CIFAR-100, the Python version or the binary version",
    "imdb": "IMDB reviews: Keras' imdb.npz next to imdb_word_index.json",
    "image_arrays": "an .npz with x_train, y_train, x_test and y_test, or train_images, train_labels, ...",
    "pixel_tables": "a .csv with a class and the pixels of a square image in each row, as Kaggle offers MNIST",
    "flat_files": "images in one folder, named by their class, as in cat.0.jpg",
    "folders": "one folder of images per class, below train/ val/ test/ or without splits",
    "arrays": "an .npz with an array x, one sample per row, and optionally y (only for export and verify)",
    "texts": "one folder of .txt files per class, or a .csv with the columns text and label",
}
"""Description of each kind of data set that is part of Orilla, by name. The module with this name in the folder
`datasets` is the reader. The readers are tried in this order, from the most specific to the most general."""

GENERAL = ("folders", "arrays", "texts")
"""Kinds whose layout is so general that files of other layouts may match it."""

READERS = ModuleRegistry(
    "kind of data set",
    "orilla.datasets",
    {name: ReaderRow(description, name, name in GENERAL) for name, description in DESCRIPTIONS.items()},
    Modules(("open_dataset",), "orilla.runtime.evaluation.datasets"),
)
"""Kinds of data sets by name. Packages add kinds in the group `orilla.datasets`, which are tried last."""


class EmbeddedReader(Protocol):
    """A module that opens a data set which is part of Orilla and has no path."""

    def open_dataset(self, argument: str) -> Dataset:
        """Open the data set `KIND:ARGUMENT`; the argument may be empty. Raises `ConfigError` if it is invalid."""


@runtime_checkable
class FileReader(Protocol):
    """A module that opens one kind of data set from files."""

    def recognise(self, path: Path) -> str | bool | None:
        """Return the reason why a path is recognised as this kind of data set, or True if no reason is given.

        Return None or False if the path is not recognised.
        """

    def open_dataset(self, path: Path) -> Dataset:
        """Open a data set. Raises `DataError` if the files are not a data set of this kind, or are damaged."""


@runtime_checkable
class OptionReader(Protocol):
    """A module that opens one kind of data set from files, and takes options such as the names of columns."""

    OPTIONS: tuple[str, ...]
    """Names of the options that the reader understands. See `ReadOptions`."""

    def recognise(self, path: Path, options: ReadOptions) -> str | bool | None:
        """Return the reason why a path is recognised as this kind of data set. See `FileReader.recognise`."""

    def open_dataset(self, path: Path, options: ReadOptions) -> Dataset:
        """Open a data set. See `FileReader.open_dataset`."""


class Reading(NamedTuple):
    """The kind of data set as which Orilla reads the files."""

    kind: str
    reason: str
    """Reason why the files are read as this kind."""
    others: tuple[str, ...] = ()
    """Other kinds that match the files, with the most specific first. General kinds are omitted."""


def open_dataset(spec: str | Path) -> Dataset:
    """Open a data set by name or path.

    Args:
        spec: `scenes[:SEED]`; a path, whose kind is recognised by its content; `KIND:PATH`; or the name of a data set
            that `orilla data get` has downloaded. Options may follow a path, as in `reviews.csv?text-column=review`.

    Raises:
        ConfigError: The name or an option is unknown.
        DataError: The path does not exist or is not a data set.
    """
    place, kind, options = _resolved(str(spec))
    with only_our_errors(place):
        if not kind:
            kind = _recognised(Path(place), options)[0].kind
        return _open(kind, place, options)


def reading_of(spec: str | Path) -> Reading:
    """Return the kind as which `open_dataset` reads a data set, and the reason.

    Raise the same errors as `open_dataset`.
    """
    place, kind, options = _resolved(str(spec))
    if kind:
        return Reading(kind, "the specification states it")
    first, *rest = _recognised(Path(place), options)
    others = tuple(reading.kind for reading in rest if READERS[first.kind].general or not READERS[reading.kind].general)
    return first._replace(others=others)


def _resolved(spec: str) -> tuple[str, str, ReadOptions]:
    """Return the path or argument in a specification, the kind if it is stated, and the options.

    Raises:
        ConfigError: The name or an option is unknown.
        DataError: The path does not exist.
    """
    text, options = split_options(spec)
    kind, rest = _kind_and_rest(text)
    if kind:
        return rest, kind, options
    try:
        if Path(text).exists():
            return text, "", options
    except OSError as error:
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise DataError(msg) from error
    return str(_published_path(text)), "", options


def path_of(spec: str) -> Path | None:
    """Return the path in a data set's specification, or None if the specification is a name."""
    spec, _ = split_options(spec)
    kind, rest = _kind_and_rest(spec)
    return Path(rest) if not (kind and _is_embedded(kind)) and Path(rest).exists() else None


def absolute(spec: str) -> str:
    """Return a specification of the same data set that does not depend on the working folder."""
    path = path_of(spec)
    if path is None:
        return spec
    text, options = split_options(spec)
    kind, _ = _kind_and_rest(text)
    return with_options(f"{kind}:{path.resolve()}" if kind else str(path.resolve()), options)


def _kind_and_rest(spec: str) -> tuple[str, str]:
    """Split the specification of a data set into the kind of data set and the path or argument.

    The kind is empty if the specification does not state it.
    """
    kind, colon, rest = spec.partition(":")
    is_kind = kind in READERS.built_in or READERS.package(kind) is not None
    if is_kind and (colon or _is_embedded(kind)):
        return kind, rest
    return "", spec


def _is_embedded(kind: str) -> bool:
    """Return True if data sets of this kind are part of Orilla and have no path."""
    return not isinstance(_reader(kind), FileReader)


def _published_path(name: str) -> Path:
    """Return the path of a published data set that was downloaded.

    Raise an error that explains why any other name cannot be opened.
    """
    from orilla.runtime.evaluation.datasets import download

    published = download.published()
    path = download.downloaded(name) if name in published else None
    if path is not None:
        return path
    if Path(name).suffix or "/" in name:
        msg = f"no such data set: {name}{neighbour(Path(name))}"
        raise DataError(msg)
    if name in published:
        msg = f"data set {name} is not downloaded: run orilla data get {name}, or give the path of its file"
        raise DataError(msg)
    if name in READERS:
        msg = f"the data set {name} is not part of Orilla: give the path of its folder or zip"
        raise DataError(msg)
    raise unknown_name(name, [*READERS, *published], kind="data set")


def _recognised(path: Path, options: ReadOptions) -> list[Reading]:
    """Return the kinds that match a path, at least one, with the most specific first.

    Raises:
        ConfigError: An option has no effect on this kind of data set.
        DataError: No reader recognises the path, or its layout is known but cannot be read.
    """
    from orilla.runtime.evaluation.datasets.unsupported import contents_of, refuse_unsupported, wanted

    found = _readings(path, options)
    if options.stated and not found and (without := _readings(path, NO_OPTIONS)):
        names = " and ".join(f"`{name}`" for name in options.stated)
        msg = f"{names} cannot be used for a data set of kind {without[0].kind}: leave it out"
        raise ConfigError(msg)
    if all(READERS[reading.kind].general for reading in found):
        refuse_unsupported(path, recognised=bool(found))
    if found:
        return found
    msg = f"not a data set: {path}: {contents_of(path)}. Orilla reads {'; '.join(wanted(path))}; see docs/training.md"
    raise DataError(msg)


def _readings(path: Path, options: ReadOptions) -> list[Reading]:
    """Return the kinds whose readers recognise a path."""
    found = []
    for kind, row in READERS.items():
        try:
            reader = _reader(kind)
        except ConfigError as error:  # Skip a broken plug-in.
            report(str(error))
            continue
        if isinstance(reader, OptionReader):
            reason = reader.recognise(path, options) if set(options.stated) <= set(reader.OPTIONS) else None
        elif isinstance(reader, FileReader):
            reason = None if options.stated else reader.recognise(path)
        else:
            continue
        if reason:
            found.append(Reading(kind, row.description if reason is True else reason))
    return found


def _open(kind: str, rest: str, options: ReadOptions) -> Dataset:
    """Open a data set whose kind is known. `rest` is its path, or the argument of an embedded kind."""
    reader = _reader(kind)
    known = reader.OPTIONS if isinstance(reader, OptionReader) else ()
    if unknown := [name for name in options.stated if name not in known]:
        msg = f"`{unknown[0]}` cannot be used for a data set of kind {kind}: leave it out"
        raise ConfigError(msg)
    if not isinstance(reader, FileReader | OptionReader):
        return reader.open_dataset(rest)
    path = Path(rest)
    if not path.exists():
        msg = f"no such data set: {path}{neighbour(path)}"
        raise DataError(msg)
    try:
        return reader.open_dataset(path, options) if isinstance(reader, OptionReader) else reader.open_dataset(path)
    except OrillaError:
        raise
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error


def _reader(kind: str) -> EmbeddedReader | FileReader | OptionReader:
    return cast("EmbeddedReader | FileReader | OptionReader", READERS.module(kind))
