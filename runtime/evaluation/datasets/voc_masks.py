"""Data set of masks in the Pascal VOC layout: `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/`.

Without a list of classes, the values of a mask are those of Pascal VOC: 0 is the background, 1 to 20 are the classes,
and 255 is ignored. CVAT writes `labelmap.txt` with the colour of each class, and labelme writes `class_names.txt`.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit".
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_list import list_file, parse_class_list, read_class_list
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.masks import MaskImages
from orilla.runtime.evaluation.datasets.pairs import PairsBySplit
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

_CLASSES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant
sheep sofa train tvmonitor
"""

MASKS = ("SegmentationClass", "SegmentationClassPNG")
"""Names of the folder of masks. labelme writes the second one."""


class VocMasks(MaskImages):
    """Images with masks whose values or colours are the classes."""

    def __init__(self, top: tree.Folder, masks: tree.Folder, path: Path) -> None:
        self._top, self._masks = top, masks
        name = tree.name_of(top, path)
        file = list_file([top])
        listed = parse_class_list("\n".join(_CLASSES.split()), "Pascal VOC") if file is None else read_class_list(file)
        super().__init__(name, f"images and masks in {name}/", listed)

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the mask of each sample. The keys are the splits."""
        masks = {Path(file.name).stem: file for file in tree.files(self._masks, (".png", ".bmp"))}
        images = {Path(file.name).stem: file for file in tree.files(self._top / "JPEGImages", IMAGE_SUFFIXES)}
        listed = self._listed_stems() or dict.fromkeys(sorted(masks))
        pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {split: [] for split in SPLITS}
        for stem, split in listed.items():
            for files, kind in ((images, "image in JPEGImages/"), (masks, f"mask in {self._masks.name}/")):
                if stem not in files:
                    msg = f"sample {stem} of {self.source.name} has no {kind}: add it, or remove the sample"
                    raise DataError(msg)
            pairs[split or tree.split_of(tree.read(images[stem]))].append((images[stem], masks[stem]))
        return {split: pairs[split] for split in SPLITS if pairs[split]}

    def _listed_stems(self) -> dict[str, str | None]:
        """Return the split of each sample that a file in `ImageSets/Segmentation` lists."""
        splits: dict[str, str | None] = {}
        for split in SPLITS:
            file = self._top / "ImageSets" / "Segmentation" / f"{split}.txt"
            if file.is_file():
                splits |= dict.fromkeys(tree.decode_text(tree.read(file), file.name).split(), split)
        return splits


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as masks in the Pascal VOC layout, or None."""
    found = _found(path)
    return None if found is None else f"there are folders JPEGImages/ and {found[1].name}/ of Pascal VOC"


def open_dataset(path: Path) -> VocMasks:
    """Open the images and masks in a folder or zip. They may lie inside another folder."""
    found = _found(path)
    if found is None:
        msg = f"not a data set: {path} has no JPEGImages/ and SegmentationClass/ with masks"
        raise DataError(msg)
    dataset = VocMasks(*found, path)
    dataset.check_masks()
    return dataset


def _found(path: Path) -> tuple[tree.Folder, tree.Folder] | None:
    """Return the folder of the data set, and the folder of its masks."""
    for top in tree.candidates(path):
        if (top / "JPEGImages").is_dir():
            for name in MASKS:
                if (top / name).is_dir() and tree.files(top / name, (".png", ".bmp")):
                    return top, top / name
    return None
