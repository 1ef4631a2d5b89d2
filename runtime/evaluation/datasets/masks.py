"""Data set of images with masks, in the folders `images/` and `masks/`, with or without split folders.

If there is no list of classes, a mask marks one class, the road: 0 is the background, and 255 (or 1) is the road. If
some masks have both 1 and 255, then 1 is the road in all masks, and 255 is ignored.
`classes.txt` has one class name per line. The values of a mask are then line numbers, counted from 0, and 255 is
ignored.

If each name is followed by three numbers, as in `road 128 64 128`, masks are colour images, and the numbers are the
colours of the classes as red, green and blue. Pixels of a class named `void`, `ignore` or `unlabelled` are ignored.
"""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, MissingExtraError
from orilla.devices.gate import only_our_errors
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_list import LOSSY, ClassList, list_file, read_class_list
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit, pair_up
from orilla.runtime.evaluation.datasets.places import splits_by_place
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES
from orilla.runtime.preprocessing.image_orientation import orientation_of, turned

COLOUR_TYPE, PALETTE = 25, 3
"""Offset of the colour type in a PNG, and its value for a palette. Source: PNG specification, IHDR."""

PROBED = 40
"""Number of masks, spread evenly, that are read to find out which values the masks of a data set have."""

THREE_VALUES = {0, 1, 255}
"""Values of a mask of one class in which 255 marks unlabelled pixels."""

BINARY = ("background", "road")

COMPARED = 3
"""Number of masks that are opened to detect a missing list of classes and wrong mask sizes."""

WANTED = (
    "add class_dict.csv with the columns name,r,g,b for colour masks, or classes.txt with one class name per line "
    "for masks of values, whose first line names value 0"
)


class MaskImages(Pairs):
    """Base class of data sets with a mask for each image.

    Args:
        name: Name of the data set.
        title: Description of the data set.
        listed: The classes. None if masks have only one class.
    """

    def __init__(self, name: str, title: str, listed: ClassList | None) -> None:
        self.source = Source(name, title, "not stated")
        self._listed = listed
        self.classes = BINARY if listed is None else listed.classes

    def check_masks(self) -> None:
        """Probe some evenly spaced masks.

        Raise `DataError` if all differ in size from their images, or need a class list.

        A single mask may be damaged, which is reported later.
        """
        pairs = [pair for found in self.pairs.values() for pair in found]
        probed = pairs[:: max(1, len(pairs) // COMPARED)][:COMPARED]
        self.check_sizes(probed)
        kinds = {self._unusual(mask) for _, mask in probed} if self._listed is None else set()
        if kinds and None not in kinds:
            msg = f"the mask {readable(probed[0][1].name)} has {kinds.pop()}, but there is no list of classes: {WANTED}"
            raise DataError(msg)

    def _unusual(self, file: tree.Folder) -> str | None:
        """Describe the content that shows that a mask has several classes, or return None."""
        try:
            labels = self.read_labels(file)
        except DataError:
            return None
        if labels.ndim == 3:
            return "colours"
        values = set(np.unique(labels).tolist())
        return None if values <= THREE_VALUES else f"the value {max(values)}"

    @cached_property
    def marks_unlabelled(self) -> bool:
        """Return True if masks of one class have three values: 0, 1 for the class, and 255 for unlabelled pixels.

        Some masks of such a data set have only 0 and 255, so several masks are read.
        """
        files = [mask for pairs in self.pairs.values() for _, mask in pairs]
        chosen = files[:: max(1, len(files) // PROBED)][:PROBED]
        return self._listed is None and any(self._values_of(file) == THREE_VALUES for file in chosen)

    def _values_of(self, file: tree.Folder) -> set[int]:
        """Return the values of a mask. They are empty if it is damaged, which is reported when it is loaded."""
        try:
            return set(np.unique(self.read_labels(file)).tolist())
        except DataError:
            return set()

    def read_labels(self, path: tree.Folder) -> NDArray[np.uint8]:
        """Return the values `[H,W]` of a mask, or the classes if the list of classes states their colours."""
        mask = super().read_labels(path)
        listed = self._listed
        if listed is None or listed.palette is None:
            return self._flat(mask, path) if mask.ndim == 3 else mask
        if listed.palette.is_index(mask):
            return listed.labels(mask, path.name, self.ignore)
        return listed.palette.labels(mask, path.name, self.ignore)

    def _flat(self, colours: NDArray[np.uint8], path: tree.Folder) -> NDArray[np.uint8]:
        """Return one value for each pixel of a colour mask.

        If the mask has a palette, as in Pascal VOC, the palette indices are the classes. A black and white mask of one
        class is read by its colours, because programs order the palette differently.
        """
        grey = all(np.array_equal(colours[..., 0], colours[..., channel]) for channel in (1, 2))
        if grey and self._listed is None:
            return colours[..., 0]
        flat = _indices(path, colours)
        return flat[..., 0] if grey and flat.ndim == 3 else flat

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        if self._listed is not None:
            return labels if self._listed.palette is not None else self._listed.labels(labels, name, self.ignore)
        values = set(np.unique(labels).tolist())
        if self.marks_unlabelled and values <= THREE_VALUES:
            return labels
        if not (values <= {0, 255} or values <= {0, 1}):
            value = sorted(values - {0, 255})[0]
            lossy = LOSSY if name.lower().endswith((".jpg", ".jpeg")) else ""
            msg = f"value {value} in mask {name}: without classes.txt, masks have 0 and 255, or 0 and 1{lossy}"
            raise DataError(msg)
        return (labels > 0).astype(np.uint8)


class Masks(MaskImages):
    """Pairs of an image and a mask with the same stem."""

    def __init__(self, top: tree.Folder, path: Path) -> None:
        self._top = top
        name, file = tree.name_of(top, path), list_file([top])
        super().__init__(name, f"images and masks in {name}/", None if file is None else read_class_list(file))

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        parents = tree.split_folders(self._top)
        pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {}
        for split, parent in parents.items() or [("", self._top)]:
            if not (parent / "images").is_dir():
                msg = (
                    f"{parent.name}/ has no images/, but other splits have images/ and masks/: add both, or move "
                    f"{parent.name}/"
                )
                raise DataError(msg)
            found = pair_up(parent / "images", parent / "masks")
            by_place = None if split else splits_by_place([Path(image.name).stem for image, _ in found])
            for index, (image, mask) in enumerate(found):
                own = by_place[index] if by_place else split or tree.split_of(tree.read(image))
                pairs.setdefault(own, []).append((image, mask))
        return {split: pairs[split] for split in SPLITS if split in pairs}


def _indices(path: tree.Folder, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the palette indices of a PNG, or `colours` for other images.

    OpenCV decodes palette indices into colours.
    """
    data = tree.read(path)
    if not (data.startswith(b"\x89PNG") and data[COLOUR_TYPE] == PALETTE):
        return colours
    try:
        from PIL import Image
    except ImportError as error:
        msg = "pillow"
        raise MissingExtraError(msg, "train") from error
    with only_our_errors(path), Image.open(io.BytesIO(data)) as image:
        return np.asarray(turned(np.asarray(image, np.uint8), orientation_of(data)))


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised, or None.

    It is recognised if it contains `images/` and `masks/`, with or without splits.
    """
    top = _top(path)
    if top is None:
        return None
    file = list_file([top])
    listed = "without classes.txt" if file is None else f"{file.name} names the classes"
    return f"there are folders images/ and masks/, {listed}"


def open_dataset(path: Path) -> Masks:
    """Open the images and masks in a folder or zip. They may lie inside another folder."""
    top = tree.required(_top(path), path, "has no images/ and masks/ folders")
    dataset = Masks(top, path)
    dataset.check_masks()
    return dataset


def _top(path: Path) -> tree.Folder | None:
    """Return the folder with images and masks. None if there are several, because another reader joins them."""
    found = [candidate for candidate in tree.candidates(path) if _has_pairs(candidate)]
    others = [folder for folder in found[1:] if not tree.is_below(folder, found[0])]
    return found[0] if found and not others else None


def _has_pairs(folder: tree.Folder) -> bool:
    """Return True if a folder, or one of its splits, has images and masks.

    A split without them is reported when the samples are listed. Another reader joins the folders inside `images/`.
    """
    places = [(parent / "images", parent / "masks") for parent in tree.split_folders(folder).values() or [folder]]
    is_flat = all(
        tree.files(images, IMAGE_SUFFIXES) or not tree.folders(images) for images, _ in places if images.is_dir()
    )
    return is_flat and any(images.is_dir() and masks.is_dir() for images, masks in places)
