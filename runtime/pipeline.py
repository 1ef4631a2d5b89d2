"""The camera loop: capture, inference and the caller's own work overlap, each in its own thread.

Capture (with preparation) and inference run in threads of their own, answers are taken in the caller's; the
native calls they spend their time in release the GIL. A live source is never queued: inference always takes the newest
frame, the caller always gets the newest answer, and the frames that were passed over are counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.channel import Channel, Closed
from orilla.runtime.feed import Feed, Raw
from orilla.runtime.frame import Frame, Line, Result, Tick
from orilla.runtime.pool import Pool
from orilla.runtime.session import Prepared
from orilla.runtime.sources.source import Source

AHEAD = 2
"""Items that may wait between two threads, where every frame counts."""

PATIENCE_S = 5.0
"""How long the end of a loop waits for a thread that hangs in a driver."""

Infer = Callable[[Prepared], NDArray[np.float32]]
Decode = Callable[[NDArray[np.float32], Raw], Result]


@dataclass(slots=True)
class _Prepared:
    frame: Frame | Line
    input: Prepared
    stages_ms: dict[str, float]


@dataclass(slots=True)
class _Answer:
    frame: Frame | Line
    result: Result
    stages_ms: dict[str, float]
    dropped: int


def run(source: Source, feed: Feed, infer: Infer, decode: Decode) -> Iterator[Tick]:
    """Runs the loop over `source`, and closes it, when it ends, the caller stops asking, or an error comes.

    Raises:
        SourceError: the source broke off; every frame before it was answered.
    """
    loop = _Loop(source, feed, infer, decode)
    loop.start()
    try:
        yield from loop.ticks()
    finally:
        loop.stop()


class _Loop:
    def __init__(self, source: Source, feed: Feed, infer: Infer, decode: Decode) -> None:
        self._source, self._run, self._decode = source, infer, decode
        self._feed = feed
        ahead = 1 if source.live else AHEAD
        self._prepared: Channel[_Prepared] = Channel(ahead, newest=source.live)
        self._answers: Channel[_Answer] = Channel(ahead, newest=source.live)
        self._threads = [
            threading.Thread(target=_guard, args=(self._capture, self._prepared), name="orilla-capture", daemon=True),
            threading.Thread(target=_guard, args=(self._infer, self._answers), name="orilla-infer", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._prepared.close()
        self._answers.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if not self._threads[0].is_alive():
            # A driver that hangs in a read must not have its device taken away: that would crash the process.
            self._source.close()

    def ticks(self) -> Iterator[Tick]:
        while True:
            try:
                answer = self._answers.get()
            except Closed:
                return
            dropped = answer.dropped + self._answers.dropped_before
            yield Tick(answer.frame, answer.result, answer.stages_ms, time.monotonic_ns(), dropped)

    def _capture(self) -> None:
        pool = Pool()
        while True:
            started = time.perf_counter_ns()
            frame = self._source.read()
            if frame is None:
                return
            taken = time.perf_counter_ns()
            prepared = self._feed(frame.raw, None if self._feed.is_text else pool.take(self._feed.shape))
            stages = {"capture": (taken - started) / 1e6, "prepare": (time.perf_counter_ns() - taken) / 1e6}
            self._prepared.put(_Prepared(frame, prepared, stages))
            del frame, prepared  # or their buffers would be held until the next frame has been read

    def _infer(self) -> None:
        while True:
            item = self._prepared.get()
            started = time.perf_counter_ns()
            output = self._run(item.input)
            inferred = time.perf_counter_ns()
            result = self._decode(output, item.frame.raw)
            item.stages_ms["infer"] = (inferred - started) / 1e6
            item.stages_ms["decode"] = (time.perf_counter_ns() - inferred) / 1e6
            self._answers.put(_Answer(item.frame, result, item.stages_ms, self._prepared.dropped_before))
            del item


def _guard(work: Callable[[], None], following: Channel[Any]) -> None:
    """Runs a thread's work; its error travels down the loop, behind the frames that came before it."""
    try:
        work()
    except Closed:
        following.close()
    except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
        following.close(error)
    else:
        following.close()
