"""The embedded data set: procedural road scenes, no two samples of the same drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orilla.devices.errors import ConfigError
from orilla.runtime import scenes
from orilla.runtime.datasets.labelled import LabelledImage, Source, require_split, text_digest
from orilla.runtime.names import whole_number

COUNTS = {"train": 1200, "val": 200}
SEED_SPAN = 1_000_000
"""Drives of one data set; each split takes its own range, so that none is in two."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """Draws each sample when it is asked for."""

    seed: int = 0
    size_hw: tuple[int, int] = (270, 480)
    source: ClassVar[Source] = Source("scenes", "Orilla's procedural road scenes", "Apache-2.0")
    classes: ClassVar[tuple[str, ...]] = scenes.CLASSES
    ignore: ClassVar[int] = 255

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(COUNTS)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(f"scene_{self._drive(split, index)}" for index in range(COUNTS[split]))

    def load(self, split: str, index: int) -> LabelledImage:
        require_split(self, split)
        drive = self._drive(split, index)
        image, labels = scenes.render(drive, 0.7 * (index % 10), self.size_hw)
        return LabelledImage(f"scene_{drive}", image, labels)

    def digest(self, split: str) -> str:
        return text_digest("scenes v1", self.seed, self.size_hw, split, COUNTS[split])

    def _drive(self, split: str, index: int) -> int:
        return self.seed * SEED_SPAN + self.splits.index(split) * SEED_SPAN // 2 + index


def open_dataset(argument: str) -> Scenes:
    """`scenes` or `scenes:SEED`."""
    if not argument:
        return Scenes()
    if not whole_number(argument):
        raise ConfigError(f"scenes:{argument}: the seed after the colon must be a whole number, 0 or more")
    return Scenes(seed=int(argument))
