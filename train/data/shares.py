"""The share of each data set in an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shares:
    """Draws the samples of an epoch from several data sets."""

    parts: NDArray[np.int64]
    """Index of the data set to which each training sample belongs, `[N]`."""
    shares: Sequence[float | None]
    """Share of each data set in the samples of an epoch. If it is None, each sample is used once in an epoch."""

    @property
    def counts(self) -> list[int]:
        """Return the number of samples of each data set in an epoch."""
        sizes = np.bincount(self.parts, minlength=len(self.shares))
        used = [None if size == 0 else share for size, share in zip(sizes, self.shares, strict=True)]
        stated = sum(share for share in used if share is not None)
        once = sum(int(size) for size, share in zip(sizes, used, strict=True) if share is None)
        total = once / (1 - stated)
        return [
            int(size) if share is None else max(1, round(share * total))
            for size, share in zip(sizes, used, strict=True)
        ]

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the indices of the samples of one epoch, in random order.

        A sample is drawn again only after all samples of its data set were drawn.
        """
        drawn = []
        for number, count in enumerate(self.counts):
            own = np.flatnonzero(self.parts == number)
            rounds = -(-count // len(own)) if len(own) else 0
            drawn += [rng.permutation(own) for _ in range(rounds)][: rounds - 1] if rounds else []
            if rounds:
                drawn.append(rng.permutation(own)[: count - (rounds - 1) * len(own)])
        return rng.permutation(np.concatenate(drawn))


def split_share(spec: str) -> tuple[str, float | None]:
    """Split `DATA=SHARE` into the data set and its share, which is None if it is not stated.

    Raises:
        ConfigError: The share is not above 0 and below 1.
    """
    data, mark, text = spec.rpartition("=")
    if not mark or "?" in data:
        return spec, None
    try:
        share = float(text)
    except ValueError:
        return spec, None
    if not 0 < share < 1:
        msg = f"{spec}: the share of a data set must be above 0 and below 1"
        raise ConfigError(msg)
    return data, share


def check_shares(shares: Sequence[float | None]) -> None:
    """Raise `ConfigError` if the shares leave no room for the data sets without a share."""
    stated = [share for share in shares if share is not None]
    if sum(stated) >= 1 or len(stated) == len(shares) > 0:
        msg = f"the shares {' + '.join(map(str, stated))} leave nothing for the data sets without a share: reduce them"
        raise ConfigError(msg)
