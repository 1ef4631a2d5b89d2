"""Checks that every sink must pass. A test calls each of `CHECKS` with a `SinkCase`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orilla.runtime.frame import Frame, Result, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Sink

SIZES_HW = ((48, 64), (30, 50), (480, 640))
"""Heights and widths in pixels of successive frames. The size changes so that the checks cover this case."""


@dataclass(frozen=True, slots=True)
class SinkCase:
    """A test case for a sink: its specification, and the answers that it receives."""

    spec: str
    """Specification of the sink, as for `--sink`."""
    result: Callable[[tuple[int, int]], Result]
    """Function that returns a result for a frame of this height and width."""
    file: Path | None = None
    """The only file that the sink writes, in an empty folder. None if it writes no file."""

    def open(self) -> Sink:
        """Open the sink for a source with 25 frames per second."""
        return sink_opener(self.spec)(25.0)

    def ticks(self) -> list[Tick]:
        """Return ticks whose frames have different sizes."""
        rng, ticks = np.random.default_rng(1), []
        for index, size_hw in enumerate(SIZES_HW):
            frame = Frame(index, rng.integers(0, 256, (*size_hw, 3), np.uint8), 1_000_000 * index)
            stages_ms = {"capture": 0.0, "prepare": 0.1, "infer": 1.0, "decode": 0.1}
            ticks.append(Tick(frame, self.result(size_hw), stages_ms, 2_000_000 * (index + 1)))
        return ticks


def writes_one_whole_file(case: SinkCase) -> None:
    """Check that the sink accepts frames of different sizes, and that its file appears only when the loop has ended."""
    sink = case.open()
    for tick in case.ticks():
        assert sink.write(tick) is True, "`write` ended the loop"
        assert case.file is None or not case.file.exists(), f"{case.file} exists before the loop has ended"
    sink.close(complete=True)
    if case.file is not None:
        assert [path.name for path in case.file.parent.iterdir()] == [case.file.name]
        assert case.file.stat().st_size > 0, f"{case.file} is empty"


def discards_an_incomplete_file(case: SinkCase) -> None:
    """Check that the sink leaves no file if the loop ended with an error."""
    sink = case.open()
    sink.write(case.ticks()[0])
    sink.close(complete=False)
    if case.file is not None:
        assert not list(case.file.parent.iterdir()), "the sink left a file after an error"


CHECKS: tuple[Callable[[SinkCase], None], ...] = (writes_one_whole_file, discards_an_incomplete_file)
"""The checks that every sink must pass."""
