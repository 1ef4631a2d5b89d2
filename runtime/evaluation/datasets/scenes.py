"""The embedded data set of procedural road scenes. Each sample comes from its own drive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orilla.devices.errors import ConfigError
from orilla.devices.names import whole_number
from orilla.runtime import scenes
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets.dataset import Dataset, LabelledImage, Sample, require_split

COUNTS = {"train": 1200, "val": 200}
SEED_SPAN = 1_000_000
"""Number of drives per seed. Each split has its own range of drives, so that no drive is in two splits."""


class Scenes(Dataset):
    """Procedural road scenes. A sample is rendered when it is loaded."""

    source = Source("scenes", "Orilla's procedural road scenes", "Apache-2.0")
    task = "segment"
    classes: tuple[str, ...] = scenes.CLASSES
    counts: ClassVar[Mapping[str, int]] = COUNTS
    """Number of samples of each split."""

    def __init__(self, seed: int = 0, size_hw: tuple[int, int] = (270, 480)) -> None:
        self.seed, self.size_hw = seed, size_hw

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self.counts)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        return tuple(f"scene_{self._drive(split, index)}" for index in range(self.counts[split]))

    def load(self, split: str, index: int) -> Sample:
        """Load one sample."""
        require_split(self, split)
        drive = self._drive(split, index)
        image, labels = scenes.render(drive, self._time_s(index), self.size_hw)
        return LabelledImage(f"scene_{drive}", image, labels)

    def content(self, split: str, index: int) -> bytes:
        """Return the parameters that determine the sample, because rendering all samples would take minutes."""
        return f"scenes v1 {self.size_hw} drive {self._drive(split, index)} at {index % 10}".encode()

    def truth(self, split: str, index: int) -> bytes:
        """Return a constant, because the parameters in `content` determine the labels too."""
        return b"drawn with the picture"

    def is_file(self, split: str, index: int) -> bool:
        """Return False, because the samples are rendered."""
        return False

    def _time_s(self, index: int) -> float:
        """Return the time since the start of the drive."""
        return 0.7 * (index % 10)

    def _drive(self, split: str, index: int) -> int:
        return self.seed * SEED_SPAN + self.splits.index(split) * SEED_SPAN // 2 + index


def open_dataset(argument: str) -> Scenes:
    """Open `scenes` or `scenes:SEED`."""
    return Scenes(seed_of("scenes", argument))


def seed_of(kind: str, argument: str) -> int:
    """Return the seed after the colon of a specification, or 0. Raise `ConfigError` if it is not a whole number."""
    if not argument:
        return 0
    if not whole_number(argument):
        msg = f"{kind}:{argument}: the seed after the colon must be a whole number, 0 or more"
        raise ConfigError(msg)
    return int(argument)
