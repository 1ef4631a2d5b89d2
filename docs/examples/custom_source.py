"""Run the loop on a source of your own: `python docs/examples/custom_source.py`."""

import numpy as np

import orilla.runtime
from orilla.runtime.frame import Frame
from orilla.runtime.sources.source import now_ns


class Noise:
    """A live source that produces random frames."""

    live = True
    rate_hz = 30.0

    def __init__(self, count: int) -> None:
        self._left = iter(range(count))
        self._random = np.random.default_rng(0)

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        index = next(self._left, None)
        if index is None:
            return None
        return Frame(index, self._random.integers(0, 256, (240, 320, 3), np.uint8), now_ns())

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


with orilla.runtime.open("road") as model:
    for tick in model.stream(Noise(10), policy="every"):
        print(tick.index, f"{tick.result.fraction:.2f}")
