"""Divide samples into those for training, choices and reporting, separated by content."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.card import DataCard, SplitCard
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of

HELD_OUT = 0.1
"""Share of training samples that is held out if a data set has a `test` but no `val`."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Samples by purpose."""

    train: tuple[Item, ...]
    choose: tuple[Item, ...]
    """Samples for early stopping, best weights and search; empty if nothing is chosen."""
    report: tuple[Item, ...]
    leaks_dropped: int = 0

    @property
    def reported(self) -> str:
        return self.report[0][0]


def split(
    dataset: Dataset,
    *,
    hold_out: str | None = None,
    drop_leaks: bool = False,
    skipped: frozenset[Item] = frozenset(),
    limit: int | None = None,
) -> Splits:
    """Divide a data set.

    The reported split is `test` if it exists, else `val`; choices use `val` if that is another split.

    Args:
        dataset: The data set.
        hold_out: Training samples for choices: a share, sequence names separated by commas, or `none`. The default is a
            tenth if there is a `test` without a `val`, and none if the reported split is `val`.
        drop_leaks: True removes training samples that occur in another split. False raises an error for them.
        skipped: Samples that cannot be used.
        limit: Maximum number of samples per split, evenly spread.

    Raises:
        ConfigError: `hold_out` selects no samples.
        DataError: A split is missing or empty, or shares samples with another.
    """
    if "train" not in dataset.splits or not {"val", "test"} & set(dataset.splits):
        msg = (
            f"data set {dataset.source.name} has the splits {', '.join(dataset.splits)}: it needs train and val or test"
        )
        raise DataError(msg)
    items = {name: _usable(dataset, name, skipped) for name in dataset.splits}
    reported = "test" if "test" in items else "val"
    train, choose = items["train"], items["val"] if reported == "test" and "val" in items else ()
    if hold_out is None and reported == "test" and "val" not in items:
        hold_out = str(HELD_OUT)
    if hold_out is not None and hold_out != "none":
        train, choose = _held_out(dataset, train, hold_out)
    elif hold_out == "none":
        choose = ()
    train, choose, report = (_limited(part, limit) for part in (train, choose, items[reported]))
    train, choose, dropped = _without_leaks(dataset, train, choose, report, drop=drop_leaks)
    if not train or not report:
        msg = f"data set {dataset.source.name} has no usable sample in {'train' if not train else reported}"
        raise DataError(msg)
    return Splits(train, choose, report, dropped)


def data_card(datasets: Sequence[Dataset], dataset: Dataset, splits: Splits, skipped: Sequence[str]) -> DataCard:
    """Return the description of the data for a card."""
    parts = [("train", splits.train), ("choose", splits.choose), (splits.reported, splits.report)]
    cards = tuple(SplitCard(name, len(part), digest_of(dataset, part)) for name, part in parts if part)
    return DataCard(tuple(one.source for one in datasets), cards, tuple(skipped), splits.leaks_dropped)


def _usable(dataset: Dataset, name: str, skipped: frozenset[Item]) -> tuple[Item, ...]:
    return tuple(item for item in ((name, i) for i in range(len(dataset.names(name)))) if item not in skipped)


def _limited(items: tuple[Item, ...], limit: int | None) -> tuple[Item, ...]:
    if limit is None or limit >= len(items):
        return items
    return tuple(items[index * len(items) // limit] for index in range(limit))


def _held_out(dataset: Dataset, train: tuple[Item, ...], wanted: str) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    try:
        share = float(wanted)
    except ValueError:
        chosen = _sequences(dataset, train, {name.strip() for name in wanted.split(",")})
    else:
        if not 0 < share < 1:
            msg = f"--hold-out {wanted}: a share must be above 0 and below 1"
            raise ConfigError(msg)
        # Samples are chosen by content, so a held-out sample stays held out when others are added, and equal samples
        # stay together.
        places = {item: _place(dataset, item) for item in train}
        chosen = {item for item, place in places.items() if place < share}
        if not chosen:  # with few samples, at least one
            chosen = set(sorted(places, key=places.__getitem__)[: math.ceil(share * len(places))])
    choose = tuple(item for item in train if item in chosen)
    rest = tuple(item for item in train if item not in chosen)
    if not choose or not rest:
        msg = f"--hold-out {wanted} selects {len(choose)} of {len(train)} training samples: give another share"
        raise ConfigError(msg)
    return rest, choose


def _sequences(dataset: Dataset, train: tuple[Item, ...], wanted: set[str]) -> set[Item]:
    if dataset.task != "segment":
        msg = f"--hold-out {', '.join(sorted(wanted))}: give a share of the training samples, or none"
        raise ConfigError(msg)
    names = dataset.names("train")
    sequences = {item: names[item[1]].partition("_")[0] for item in train}
    unknown = sorted(wanted - set(sequences.values()))
    if unknown:
        known = ", ".join(sorted(set(sequences.values()))[:10])
        msg = f"--hold-out {unknown[0]}: neither a share of the training samples nor one of the sequences {known}"
        raise ConfigError(msg)
    return {item for item, sequence in sequences.items() if sequence in wanted}


def _place(dataset: Dataset, item: Item) -> float:
    digest = hashlib.sha256(b"hold out" + dataset.fingerprint(*item)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _without_leaks(
    dataset: Dataset, train: tuple[Item, ...], choose: tuple[Item, ...], report: tuple[Item, ...], *, drop: bool
) -> tuple[tuple[Item, ...], tuple[Item, ...], int]:
    def prints(items: tuple[Item, ...]) -> list[bytes]:
        return [dataset.fingerprint(*item) for item in items]

    of_train, of_choose, of_report = prints(train), prints(choose), prints(report)
    kept_choose, leaked_choose = _apart(choose, of_choose, set(of_report))
    kept_train, leaked_train = _apart(train, of_train, set(of_report) | set(of_choose))
    leaked = leaked_train + leaked_choose
    if leaked and not drop:
        part, index = leaked[0]
        msg = (
            f"{len(leaked)} training samples of {dataset.source.name} also occur in another split, the first is "
            f"{dataset.names(part)[index]}: remove them, or add --drop-leaks"
        )
        raise DataError(msg)
    return kept_train, kept_choose, len(leaked)


def _apart(
    items: tuple[Item, ...], prints: list[bytes], others: set[bytes]
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    kept = tuple(item for item, one in zip(items, prints, strict=True) if one not in others)
    return kept, tuple(item for item, one in zip(items, prints, strict=True) if one in others)
