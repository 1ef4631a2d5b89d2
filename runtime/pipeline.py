"""The camera loop: capture, inference and the caller's own work overlap, each in its own thread.

Capture (with preparation) and inference run in threads of their own, results are taken in the caller's; the
native calls they spend their time in release the GIL. A live source is never queued: inference always takes the newest
frame, and the ones it had no time for are counted.
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
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.preprocess import Image, Preprocess, Preprocessor
from orilla.runtime.session import Session
from orilla.runtime.sources.source import Ring, Source
from orilla.runtime.tasks.segment import Segmentation

AHEAD = 2
"""Items that may wait between two threads."""

BUFFERS = 2 * AHEAD + 4
"""Frames in flight: those that wait, and one in each hand: capture, inference, the caller, and the one it keeps."""

Decode = Callable[[NDArray[np.float32], Frame], Segmentation]


@dataclass(slots=True)
class _Prepared:
    frame: Frame
    image: Image
    stages_ms: dict[str, float]


@dataclass(slots=True)
class _Failure:
    error: BaseException


def run(source: Source, preprocess: Preprocess, session: Session, decode: Decode) -> Iterator[Tick]:
    """Runs the loop over `source` until it ends, the caller stops asking, or an error; all threads end with it.

    Raises:
        SourceError: the source broke off; every frame before it was answered.
    """
    loop = _Loop(source, preprocess, session, decode)
    loop.start()
    try:
        yield from loop.ticks()
    finally:
        loop.stop()


class _Loop:
    def __init__(self, source: Source, preprocess: Preprocess, session: Session, decode: Decode) -> None:
        self._source, self._session, self._decode = source, session, decode
        self._preprocessor = Preprocessor(preprocess)
        self._ring = Ring(BUFFERS)
        self._prepared: Channel[_Prepared | _Failure] = Channel(1 if source.live else AHEAD, newest=source.live)
        self._done: Channel[Tick | _Failure] = Channel(AHEAD)
        self._threads = [
            threading.Thread(
                target=self._guard, args=(self._capture, self._prepared), name="orilla-capture", daemon=True
            ),
            threading.Thread(target=self._guard, args=(self._infer, self._done), name="orilla-infer", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._prepared.close()
        self._done.close()
        for thread in self._threads:
            thread.join()

    def ticks(self) -> Iterator[Tick]:
        while True:
            try:
                item = self._done.get()
            except Closed:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item

    @staticmethod
    def _guard(work: Callable[[], None], following: Channel[Any]) -> None:
        """Runs a thread's work; its error travels down the loop, behind the frames that came before it."""
        try:
            work()
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            try:
                following.put(_Failure(error))
            except Closed:
                return
        finally:
            following.close()

    def _capture(self) -> None:
        height, width = self._preprocessor.spec.size_hw
        while True:
            started = time.perf_counter_ns()
            frame = self._source.read()
            if frame is None:
                return
            taken = time.perf_counter_ns()
            image = self._preprocessor(frame.image, self._ring.take((height, width, 3)))
            stages = {"capture": (taken - started) / 1e6, "prepare": (time.perf_counter_ns() - taken) / 1e6}
            self._prepared.put(_Prepared(frame, image, stages))

    def _infer(self) -> None:
        while True:
            item = self._prepared.get()
            if isinstance(item, _Failure):
                raise item.error
            started = time.perf_counter_ns()
            output = self._session.run(item.image)
            inferred = time.perf_counter_ns()
            result = self._decode(output, item.frame)
            item.stages_ms["infer"] = (inferred - started) / 1e6
            item.stages_ms["decode"] = (time.perf_counter_ns() - inferred) / 1e6
            done_ns = time.monotonic_ns()
            self._done.put(Tick(item.frame, result, item.stages_ms, done_ns, self._prepared.dropped))
