"""Checks that every sink must pass. A test calls each of `CHECKS` with a `SinkCase`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Event, Frame, Result, Tick
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.sink_thread import SinkThread

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
        return sink_opener(self.spec).open(Setup(25.0))

    def ticks(self) -> list[Tick]:
        """Return ticks whose frames have different sizes."""
        rng, ticks = np.random.default_rng(1), []
        for index, size_hw in enumerate(SIZES_HW):
            frame = Frame(index, rng.integers(0, 256, (*size_hw, 3), np.uint8), 1_000_000 * index)
            stages_ms = {"capture": 0.0, "prepare": 0.1, "infer": 1.0, "decode": 0.1}
            ticks.append(Tick(frame, self.result(size_hw), stages_ms, 2_000_000 * (index + 1)))
        return ticks


def writes_frames_of_every_size(case: SinkCase) -> None:
    """Check that the sink accepts events and frames of different sizes, and that it writes no other file."""
    sink = case.open()
    for tick in case.ticks():
        assert sink.write(tick) is True, "`write` ended the loop"
        sink.event(Event("corrupt", tick.index, tick.delivered_ns, "frame 1 cannot be used"))
    sink.close()
    if case.file is not None:
        assert [path.name for path in case.file.parent.iterdir()] == [case.file.name]
        assert case.file.stat().st_size > 0, f"{case.file} is empty"


def keeps_what_was_written(case: SinkCase) -> None:
    """Check that the sink's file is not empty if the loop ends after the first frame."""
    sink = case.open()
    sink.write(case.ticks()[0])
    sink.close()
    if case.file is not None:
        assert case.file.stat().st_size > 0, f"{case.file} is empty"


def replaces_no_file(case: SinkCase) -> None:
    """Check that the sink does not replace a file that already exists."""
    if case.file is None:
        return
    case.file.write_bytes(b"content")
    message = ""
    try:
        case.open().close()
    except OutputError as error:
        message = str(error)
    assert str(case.file) in message, f"no error stated that {case.file} already exists"
    assert case.file.read_bytes() == b"content"


def ends_in_a_thread(case: SinkCase) -> None:
    """Check that a sink in its own thread writes every tick of a recorded source."""
    events: list[Event] = []
    opener = sink_opener(case.spec)
    if opener.main_thread:
        return
    sink = SinkThread(opener, Setup(25.0), events.append)
    ticks = case.ticks()
    for tick in ticks:
        assert sink.write(tick)
    counts = sink.close()
    assert (counts.written, counts.dropped, counts.failed) == (len(ticks), 0, None), (counts, events)


CHECKS: tuple[Callable[[SinkCase], None], ...] = (
    writes_frames_of_every_size,
    keeps_what_was_written,
    replaces_no_file,
    ends_in_a_thread,
)
"""The checks that every sink must pass."""
