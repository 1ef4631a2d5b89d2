"""Divide a data set, without overlap, into samples for training, for choosing an epoch and for reported metrics."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.card import DataCard, SplitCard
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of
from orilla.runtime.tasks.registry import task_of

Items = tuple[Item, ...]

HELD_OUT = 0.1
"""Share of the training samples that is held out if a data set has a `test` split but no `val` split."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The samples of a data set, grouped by their use."""

    train: Items
    choose: Items
    """Held-out samples whose metrics determine the best epoch, the early stopping and the result of the search. Empty
    if no samples are held out."""
    report: Items
    """Samples of the reported split, whose metrics the card contains."""
    leaks_dropped: int = 0

    @property
    def reported(self) -> str:
        """Name of the split whose metrics the card reports."""
        return self.report[0][0]

    @property
    def watched(self) -> tuple[Items, str]:
        """Samples that are evaluated between epochs, and the prefix of their metrics."""
        return (self.choose, "choose") if self.choose else (self.report, self.reported)


def split(
    dataset: Dataset,
    *,
    hold_out: str | None = None,
    drop_leaks: bool = False,
    skipped: frozenset[Item] = frozenset(),
    limit: int | None = None,
) -> Splits:
    """Divide a data set. The reported split is `test` if there is one, else `val`.

    Args:
        dataset: The data set, with a `train` split and at least one of `val` and `test`.
        hold_out: The training samples to hold out: a share, sequence names separated by commas, or `none`. If None,
            the default depends on the splits. With both `val` and `test`, the `val` split is used instead of held-out
            training samples. With only `test`, a tenth of the training samples is held out. With only `val`, none are.
        drop_leaks: If True, drop training samples that are also in another split. If False, raise an error for them.
        skipped: Samples to omit.
        limit: The maximum number of samples of each split. The samples are spread evenly over the split.

    Raises:
        ConfigError: `hold_out` selects no sample.
        DataError: A split is missing or empty, or the training samples are also in another split.
    """
    if "train" not in dataset.splits or not {"val", "test"} & set(dataset.splits):
        missing = "neither a val nor a test split" if "train" in dataset.splits else "no train split"
        msg = f"data set {dataset.source.name} has {missing}: its splits are {', '.join(dataset.splits)}"
        raise DataError(msg)
    items = {name: _usable(dataset, name, skipped) for name in dataset.splits}
    reported = "test" if "test" in items else "val"
    train, choose = items["train"], items["val"] if reported == "test" and "val" in items else ()
    if hold_out is None and reported == "test" and "val" not in items:
        hold_out = str(HELD_OUT)
    if hold_out is not None and hold_out != "none":
        train, choose = _hold_out(dataset, train, hold_out)
    elif hold_out == "none":
        choose = ()
    splits = Splits(_limited(train, limit), _limited(choose, limit), _limited(items[reported], limit))
    splits = _without_leaks(dataset, splits, drop_leaks=drop_leaks)
    if not splits.train or not splits.report:
        empty = reported if splits.train else "train"
        msg = f"data set {dataset.source.name} has no usable sample in its {empty} split"
        raise DataError(msg)
    return splits


def data_card(datasets: Sequence[Dataset], dataset: Dataset, splits: Splits, skipped: Sequence[str]) -> DataCard:
    """Return the card's record of the data.

    Args:
        datasets: The data sets that were combined.
        dataset: The combined data set.
        splits: The samples by use.
        skipped: The name of each skipped sample, with the reason.
    """
    used = [("train", splits.train), ("choose", splits.choose), (splits.reported, splits.report)]
    cards = tuple(SplitCard(name, len(items), digest_of(dataset, items)) for name, items in used if items)
    return DataCard(tuple(part.source for part in datasets), cards, tuple(skipped), splits.leaks_dropped)


def _usable(dataset: Dataset, name: str, skipped: frozenset[Item]) -> Items:
    return tuple(item for item in ((name, i) for i in range(len(dataset.names(name)))) if item not in skipped)


def _limited(items: Items, limit: int | None) -> Items:
    if limit is None or limit >= len(items):
        return items
    return tuple(items[index * len(items) // limit] for index in range(limit))


def _hold_out(dataset: Dataset, train: Items, hold_out: str) -> tuple[Items, Items]:
    """Return the remaining and the held-out training samples.

    From a recording, the last samples are held out. From other data sets, samples are selected by their content.
    """
    try:
        share = float(hold_out)
    except ValueError:
        chosen = _sequences(dataset, train, {name.strip() for name in hold_out.split(",")})
    else:
        if not 0 < share < 1:
            msg = f"hold_out={hold_out}: a share must be above 0 and below 1"
            raise ConfigError(msg)
        if dataset.in_time_order:  # Neighbouring images of a recording are almost equal, so hold out a block of images.
            start = len(train) - max(1, round(share * len(train)))
            return _both_used(train[:start], train[start:], hold_out)
        # The content of a sample decides whether it is held out. Added samples therefore do not change the decision for
        # the others, and identical samples stay together.
        positions = {item: _position(dataset, item) for item in train}
        chosen = {item for item, position in positions.items() if position < share}
        if not chosen:  # With only a few samples, the selection may be empty.
            chosen = set(sorted(positions, key=positions.__getitem__)[: math.ceil(share * len(positions))])
    choose = tuple(item for item in train if item in chosen)
    remaining = tuple(item for item in train if item not in chosen)
    return _both_used(remaining, choose, hold_out)


def _both_used(remaining: Items, choose: Items, hold_out: str) -> tuple[Items, Items]:
    """Return both groups of training samples. Raise `ConfigError` if one is empty."""
    if not choose or not remaining:
        count = len(choose) + len(remaining)
        msg = f"hold_out={hold_out} selects {len(choose)} of {count} training samples: choose a different fraction"
        raise ConfigError(msg)
    return remaining, choose


def _sequences(dataset: Dataset, train: Items, requested: set[str]) -> set[Item]:
    """Return the training samples of the requested sequences."""
    if not task_of(dataset.task).labels_pixels:
        advice = f"{dataset.source.name} has no sequences; choose a fraction such as 0.1, or none"
        msg = f"hold_out={','.join(sorted(requested))}: {advice}"
        raise ConfigError(msg)
    names = dataset.names("train")
    sequences = {item: names[item[1]].partition("_")[0] for item in train}
    unknown = sorted(requested - set(sequences.values()))
    if unknown:
        known = ", ".join(sorted(set(sequences.values()))[:10])
        advice = f"there is no such sequence; choose a fraction such as 0.1, or one of {known}"
        msg = f"hold_out={unknown[0]}: {advice}"
        raise ConfigError(msg)
    return {item for item, sequence in sequences.items() if sequence in requested}


def _position(dataset: Dataset, item: Item) -> float:
    """Return a number from 0 to 1 that depends only on the content of a sample."""
    digest = hashlib.sha256(b"hold out" + dataset.fingerprint(*item)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _without_leaks(dataset: Dataset, splits: Splits, *, drop_leaks: bool) -> Splits:
    fingerprints = {item: dataset.fingerprint(*item) for item in (*splits.train, *splits.choose, *splits.report)}
    reported = {fingerprints[item] for item in splits.report}
    chosen = {fingerprints[item] for item in splits.choose}
    choose = tuple(item for item in splits.choose if fingerprints[item] not in reported)
    train = tuple(item for item in splits.train if fingerprints[item] not in reported | chosen)
    kept = {*train, *choose}
    leaks = [item for item in (*splits.train, *splits.choose) if item not in kept]
    if leaks and not drop_leaks:
        part, index = leaks[0]
        msg = (
            f"{len(leaks)} training samples of {dataset.source.name} are also in another split, for example "
            f"{dataset.names(part)[index]}: remove them, or set drop_leaks=True"
        )
        raise DataError(msg)
    return Splits(train, choose, splits.report, len(leaks))
