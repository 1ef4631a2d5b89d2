"""The embedded data set of procedural road scenes with exact boxes around the visible objects."""

from __future__ import annotations

import numpy as np

from orilla.runtime import scenes
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets.dataset import BoxedImage, require_split
from orilla.runtime.evaluation.datasets.scenes import Scenes, seed_of


class SceneBoxes(Scenes):
    """Procedural road scenes with boxes. Objects that are very small or mostly hidden are marked as `crowd`."""

    source = Source("scene_boxes", "Orilla's procedural road scenes with boxes", "Apache-2.0")
    task = "detect"
    classes = scenes.KINDS

    def load(self, split: str, index: int) -> BoxedImage:
        """Load one sample."""
        require_split(self, split)
        drive, time_s = self._drive(split, index), self._time_s(index)
        image, _ = scenes.render(drive, time_s, self.size_hw)
        found = scenes.visible_objects(drive, time_s, self.size_hw)
        boxes = np.array([one.box_xyxy for one in found], np.float32).reshape(-1, 4)
        classes = np.array([self.classes.index(one.kind) for one in found], np.int64)
        return BoxedImage(f"scene_{drive}", image, boxes, classes, np.array([not one.clear for one in found], bool))


def open_dataset(argument: str) -> SceneBoxes:
    """Open `scene_boxes` or `scene_boxes:SEED`."""
    return SceneBoxes(seed_of("scene_boxes", argument))
