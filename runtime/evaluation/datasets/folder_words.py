"""The words that occur in the names of data sets' folders: for images, annotations and splits."""

from __future__ import annotations

import re

from orilla.runtime.evaluation.datasets.tree import SPLITS

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""Pattern of a word in the name of a folder or file."""

_IMAGES = """
image images img imgs jpegimages jpeg picture pictures photo photos frame frames rgb original originals raw input inputs
sat camera left leftimg bit
"""

_ANNOTATIONS = """
mask masks label labels labeled labelled annot annots annotation annotations anno ann gt truth groundtruth semantic
semantics seg segmentation segmentations segmentationclass trimap trimaps target targets matte alpha instance instances
trainannot valannot testannot panoptic boxes bbox bboxes xml json txt depth disparity disp flow normals
"""

IMAGES = frozenset(_IMAGES.split())
"""Words in the names of folders that contain only images, in lower case. The annotations are in separate folders."""

ANNOTATIONS = frozenset(_ANNOTATIONS.split())
"""Words in the names of annotation folders, in lower case."""

PARTS = IMAGES | ANNOTATIONS | SPLITS.keys()
"""Words that name a part of a data set, not a class."""


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: `leftImg8bit` has the words left, img and bit."""
    return [word.lower() for word in WORD.findall(name)]


def part_words(name: str) -> set[str]:
    """Return the words of a folder's name if each of them is in `PARTS`, else an empty set.

    Single letters, as in `trainA`, do not count.
    """
    words = {word for word in words_of(name) if len(word) > 1}
    return words if words <= PARTS else set()


def are_parts(names: list[str]) -> bool:
    """Return True if the folder names indicate splits, or images and annotations, instead of classes."""
    known = [words for name in names if (words := part_words(name))]
    if names and len(known) == len(names) and all(words & SPLITS.keys() for words in known):
        return True
    annotations = [words for words in known if words & ANNOTATIONS]
    return bool(annotations) and len(annotations) < len(known)
