"""Data set of images with masks in folders with any of the usual names, as in fastai's and Kaggle's versions of CamVid.

A list such as `codes.txt`, `class_dict.csv` or `label_colors.txt` states the classes. Without a list, masks have one
class, the road: 0 is the background, and 255 (or 1) is the road. A file `valid.txt` lists the images that belong to
`val`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.devices.text_files import lines_of
from orilla.runtime.evaluation.datasets import masks, tree
from orilla.runtime.evaluation.datasets.class_list import list_file, read_class_list
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.mask_pairs import MaskLayout, find_masks
from orilla.runtime.evaluation.datasets.masks import MaskImages
from orilla.runtime.evaluation.datasets.pairs import PairsBySplit

VALID = "valid.txt"
"""Name of the file with the names of the images that belong to `val`."""


class MaskFolders(MaskImages):
    """Images with masks in folders with any of the usual names."""

    def __init__(self, layout: MaskLayout, path: Path) -> None:
        self._layout = layout
        name = tree.name_of(layout.top, path)
        file = list_file(_places(layout))
        super().__init__(name, f"images and masks in {name}/", None if file is None else read_class_list(file))
        self.check_masks()

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the mask of each sample. The keys are the splits."""
        found = self._layout.pairs
        if len(found) == 1:  # If there is only one split, divide it.
            found = {"": next(iter(found.values()))}
        if "" not in found:
            return {split: found[split] for split in SPLITS if split in found}
        valid = self._layout.top / VALID
        if valid.is_file():
            lines = lines_of(tree.decode_text(tree.read(valid), VALID))
            names = {Path(line).name for line in lines} | {Path(line).stem for line in lines}
            own = {True: "val", False: "train"}
            splits = [own[file.name in names or Path(file.name).stem in names] for file, _ in found[""]]
        else:
            splits = [tree.split_of(tree.read(file)) for file, _ in found[""]]
        pairs = {split: [*found.get(split, ())] for split in SPLITS}
        for pair, split in zip(found[""], splits, strict=True):
            pairs[split].append(pair)
        return {split: pairs[split] for split in SPLITS if pairs[split]}

    def name_of(self, image: tree.Folder) -> str:
        """Return the stem of the file, or its path if images in different folders have the same name."""
        path = tree.below(self._layout.top, image)
        return readable(Path(path).with_suffix("").as_posix() if self._layout.has_equal_stems else Path(path).stem)

    def notes(self) -> list[str]:
        """Return notes about images without masks, unused folders, and masks whose size differs from their image."""
        return [*self._layout.notes, *super().notes()]


def _places(layout: MaskLayout) -> list[tree.Folder]:
    """Return the folders that may contain the list of classes: the top folder, and the folders inside it."""
    return [layout.top, *tree.folders(layout.top)]


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as images with masks, or None."""
    layout = None if masks.recognise(path) else find_masks(path)
    if layout is None:
        return None
    file = list_file(_places(layout))
    listed = "without a list of classes, masks show the road" if file is None else f"{file.name} lists the classes"
    return f"{layout.reason}; {listed}"


def open_dataset(path: Path) -> MaskFolders:
    """Open the images and masks in a folder or zip."""
    layout = find_masks(path)
    if layout is None:
        msg = (
            f"not a data set: {path} has no images and masks with the same names in folders such as images/ and masks/"
        )
        raise DataError(msg)
    return MaskFolders(layout, path)
