"""Find images and their masks in folders with any of the usual names.

The folders of images and of masks are next to each other, or one contains the other: `images/` and `labels/`, `train/`
and `train_labels/`, `images/train/` and `masks/train/`, `train/img/` and `train/gt/`. Or the masks are in the folder of
the images, as in `1.jpg` and `1_mask.png`. The name of a mask is that of its image, possibly with an ending such as
`_mask` or `_L`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.pairs import PairsBySplit
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

ENDING = re.compile(
    r"(?:[_.\- ]gt(?:fine|coarse))?[_.\- ]?(?:masks?|labels?|label_?ids|gt|ground_?truth|seg|segmentation|annotations?|"
    r"matte|trimap|target|(?<=[_.\-])[PLlm])$",
    re.IGNORECASE,
)
"""Pattern for endings of mask names, compared without the suffix."""

IMAGE_ENDING = re.compile(r"[_.\- ](?:sat|image|img|rgb|photo|frame|leftimg8bit|original)$", re.IGNORECASE)
"""Pattern for endings of image names."""

_MASK_WORDS = """
mask masks label labels labeled labelled annot annots annotation annotations anno ann gt truth groundtruth semantic
semantics seg segmentation segmentations segmentationclass trimap trimaps target targets matte
"""

MASK_WORDS = frozenset(_MASK_WORDS.split())
"""Words in the names of mask folders."""

LESS_LIKELY = frozenset(
    {"instance", "instances", "inst", "panoptic", "color", "colour", "rgb", "depth", "preview", "edge"}
)
"""Words in the names of folders that are used as mask folders only if there is no other one."""

MAX_FOLDERS = 40
"""Maximum number of folders with images. A data set with more probably has class folders or one folder per scene."""

MAX_DEPTH = 4
"""Maximum depth of folders that are searched."""

MIN_MATCHED = 0.9
"""Minimum share of masks that must have an image."""

MAX_COLOURS, FEW_COLOURS = 256, 32
"""Maximum number of different colours in a mask. Photographs have more. The second number applies if the folder's name
does not indicate masks."""

COMPARED = 3
"""Number of image-mask pairs that are opened to compare their sizes and colours."""


@dataclass(frozen=True, slots=True)
class MaskLayout:
    """Images with masks that were found in folders."""

    top: tree.Folder
    """Folder that contains the folders of images and masks. A list of classes is expected in it."""
    pairs: PairsBySplit
    """Image and mask of each sample. The split is empty if the folders do not state it."""
    reason: str
    """One line that names the folders of images and masks."""
    notes: tuple[str, ...]
    """Images without masks, and masks without images."""

    @property
    def has_equal_stems(self) -> bool:
        """Return True if two images have the same name in different folders."""
        names = [image.name for found in self.pairs.values() for image, _ in found]
        return len(set(names)) < len(names)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder with images."""

    folder: tree.Folder
    name: str
    """Path relative to the top folder."""
    split: str
    is_masks: bool
    files: dict[str, tree.Folder]
    """Files by stem. An image and its mask have the same stem, because endings such as `_mask` are removed."""


def find_masks(path: Path) -> MaskLayout | None:
    """Return the images with masks in a folder or zip, or None if there are none.

    The result is also None if several sibling folders contain images with masks but cannot be joined. A single one of
    them would be only a part of the data.
    """
    candidates = tree.candidates(path)
    for place, top in enumerate(candidates):
        found = _between_folders(top) or _beside(top)
        if found is not None:
            others = [folder for folder in candidates[place + 1 :] if not tree.is_below(folder, top)]
            return None if any(_between_folders(folder) for folder in others) else found
    return None


def _image_folders(top: tree.Folder) -> list[_Folder]:
    """Return the folders below `top` that contain images. The list is empty if there are too many."""
    found: list[tuple[tree.Folder, tuple[str, ...]]] = []
    for folder, parts in _walk(top, ()):
        if tree.files(folder, IMAGE_SUFFIXES):
            found.append((folder, parts))
            if len(found) > MAX_FOLDERS:
                return []
    # Ignore the names of folders that contain all other folders, such as `semantic_dataset` in
    # `semantic_dataset/images`.
    levels = zip(*(parts[:-1] for _, parts in found), strict=False)
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, levels)))
    return [_described(folder, parts, shared) for folder, parts in found]


def _described(folder: tree.Folder, parts: tuple[str, ...], shared: int) -> _Folder:
    """Return a folder with its role.

    The role follows from the words in its path, except in the first `shared` parts.
    """
    words = {word for part in parts[shared:] for word in words_of(part)}
    all_words = [word for part in parts for word in words_of(part)]
    split = next((tree.SPLITS[word] for word in all_words if word in tree.SPLITS), "")
    return _with_stems(_Folder(folder, "/".join(parts), split, bool(MASK_WORDS & words), {}))


def _with_stems(folder: _Folder) -> _Folder:
    """Return a folder with its files. The keys are the stems that images share with their masks."""
    files = tree.files(folder.folder, IMAGE_SUFFIXES)
    ending = ENDING if folder.is_masks else IMAGE_ENDING
    stems = {ending.sub("", Path(file.name).stem): file for file in files}
    if len(stems) < len(files):
        stems = {Path(file.name).stem: file for file in files}
    return replace(folder, files=stems)


def _walk(folder: tree.Folder, parts: tuple[str, ...]) -> Iterator[tuple[tree.Folder, tuple[str, ...]]]:
    if parts:
        yield folder, parts
    if len(parts) < MAX_DEPTH:
        for child in tree.folders(folder):
            yield from _walk(child, (*parts, child.name))


def _between_folders(top: tree.Folder) -> MaskLayout | None:
    """Return images and masks in different folders below `top`, or None."""
    folders = _by_content(_image_folders(top))
    masks = [folder for folder in folders if folder.is_masks]
    if not masks:
        return None
    pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {}
    used: list[tuple[_Folder, _Folder]] = []
    for images in (folder for folder in folders if not folder.is_masks):
        partner = _partner(images, masks)
        if partner is not None:
            used.append((images, partner))
            common = sorted(images.files.keys() & partner.files.keys())
            pairs.setdefault(images.split, []).extend((images.files[stem], partner.files[stem]) for stem in common)
    if not pairs or not _are_masks([pair for found in pairs.values() for pair in found], are_named=True):
        return None
    reason = ", ".join(f"{images.name}/ with {partner.name}/" for images, partner in used)
    return MaskLayout(top, {**pairs}, f"images have masks: {reason}", tuple(_unmatched(folders, used)))


def _by_content(folders: list[_Folder]) -> list[_Folder]:
    """Return a folder of images and one of masks.

    Masks are recognised by few colours, and by the images' names and sizes.
    """
    if len(folders) != 2 or any(folder.is_masks for folder in folders):
        return folders
    for images, masks in (folders, folders[::-1]):
        pairs = [(file, masks.files[stem]) for stem, file in images.files.items() if stem in masks.files]
        is_complete = len(pairs) == len(images.files) == len(masks.files)
        if is_complete and _are_masks(pairs, FEW_COLOURS) and not _are_masks([pair[::-1] for pair in pairs]):
            return [images, _with_stems(replace(masks, is_masks=True))]
    return folders


def _partner(images: _Folder, masks: list[_Folder]) -> _Folder | None:
    """Return the folder of masks for a folder of images, or None.

    Folders such as `Tile 1/masks` and `Tile 2/masks` may contain equal names, so the path decides first.
    """
    parts = set(images.name.split("/"))
    fitting = []
    for index, folder in enumerate(masks):
        common = len(images.files.keys() & folder.files.keys())
        if folder.split == images.split and common >= MIN_MATCHED * min(len(folder.files), len(images.files)):
            is_less_likely = bool(LESS_LIKELY & set(words_of(folder.name)))
            fitting.append((is_less_likely, -len(parts & set(folder.name.split("/"))), -common, index))
    return masks[min(fitting)[-1]] if fitting else None


def _unmatched(folders: list[_Folder], used: list[tuple[_Folder, _Folder]]) -> Iterator[str]:
    """Yield a note about each folder with images that are not used."""
    for images, partner in used:
        without_mask = len(images.files.keys() - partner.files.keys())
        without_image = len(partner.files.keys() - images.files.keys())
        if without_mask:
            yield f"{images.name}/ has {without_mask} images that are not used, because they have no mask"
        if without_image:
            yield f"{partner.name}/ has {without_image} masks that are not used, because they have no image"
    names = {folder.name for pair in used for folder in pair}
    for folder in folders:
        if folder.name not in names:
            yield f"{folder.name}/ has {len(folder.files)} images that are not used"


def _beside(top: tree.Folder) -> MaskLayout | None:
    """Return images and masks in the same folder, or None.

    The folder is `top`, or one of its split folders. If these have no masks, all folders in `top` are joined, because a
    data set may have one folder per class or per patient.
    """
    notes: tuple[str, ...] = ()
    pairs = _pairs_beside([*tree.split_folders(top).items()] or [("", top)])
    if not pairs and len(folders := tree.folders(top)) > 1:
        pairs = _pairs_beside([("", folder) for folder in folders])
        notes = (
            f"the images of {len(folders)} folders are joined, so a split may contain images of each folder: to keep "
            "folders apart, move them into the folders train, val and test",
        )
    if not pairs or not _are_masks([pair for found in pairs.values() for pair in found], are_named=True):
        return None
    first = next(iter(pairs.values()))[0]
    return MaskLayout(top, {**pairs}, f"images have masks beside them: {first[0].name} and {first[1].name}", notes)


def _pairs_beside(places: list[tuple[str, tree.Folder]]) -> dict[str, list[tuple[tree.Folder, tree.Folder]]]:
    """Return, for each split, the images and masks that are in the same folder. Each folder is given with its split."""
    pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {}
    for split, folder in places:
        stems = {Path(file.name).stem: file for file in tree.files(folder, IMAGE_SUFFIXES)}
        masks = {stem: short for stem in stems if (short := ENDING.sub("", stem)) and short != stem}
        images = {IMAGE_ENDING.sub("", stem): file for stem, file in stems.items() if stem not in masks}
        found = [(images[short], stems[stem]) for stem, short in masks.items() if short in images]
        if masks and len(found) >= MIN_MATCHED * len(masks) and len(found) >= MIN_MATCHED * len(images):
            pairs.setdefault(split, []).extend(found)
    return pairs


def _are_masks(
    pairs: list[tuple[tree.Folder, tree.Folder]], most_colours: int = MAX_COLOURS, *, are_named: bool = False
) -> bool:
    """Return True if some masks have few colours and the size of their images.

    If `are_named` is True, the names show that the files are masks. A different size is then an error that is reported
    later.
    """
    for image_file, mask_file in pairs[:: max(1, len(pairs) // COMPARED)][:COMPARED]:
        try:
            image, mask = tree.decoded(image_file), tree.decoded(mask_file, cv2.IMREAD_UNCHANGED)
        except DataError:
            return False
        if image.shape[:2] != mask.shape[:2] and not are_named:
            return False
        colours = len(np.unique(mask.reshape(-1, mask.shape[2] if mask.ndim == 3 else 1), axis=0))
        if colours > most_colours:
            return False
    return bool(pairs)
