"""Over a source: what a model, several together and a cascade have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError
from orilla.runtime.engines.session import Recoverable, Session
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.loop import CameraLoop, Work
from orilla.runtime.loop.policy import LIVE, RECORDED, Policy
from orilla.runtime.loop.recording import Recording
from orilla.runtime.loop.stream import Stream, Watch
from orilla.runtime.preprocessing.image import Image, check_image
from orilla.runtime.sources.registry import open_source, open_texts
from orilla.runtime.sources.source import Source

Pictures = Iterable[NDArray[np.uint8]]

Given = Source | str | int | Path | Pictures
"""An opened source; what `open_source` opens; or pictures, `[H,W,3]` uint8 BGR each."""


class Runner(ABC):
    """Answers the frames of a source. Close it, or use it in a `with` block."""

    name: str
    """In messages."""
    kind: Literal["picture", "text", "tensor"]
    """What it takes."""

    @abstractmethod
    def work(self) -> Work:
        """What is done with each frame, with buffers of its own, for one loop."""

    @abstractmethod
    def close(self) -> None:
        """Frees the engine's memory."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Variant and engine of each model, by name."""

    def listen(self, tell: Callable[[str], None]) -> None:
        """Has `tell`, a method, called in the inferring thread with what happens to an accelerator, while there is its
        object."""
        method = WeakMethod(tell)

        def pass_on(what: str) -> None:
            if (told := method()) is not None:
                told(what)

        for session in self.sessions():
            if isinstance(session, Recoverable):
                session.on_event = pass_on

    def counts(self) -> dict[str, int]:
        """How often an accelerator was lost, opened again, or replaced by the CPU; empty where there is none."""
        found: dict[str, int] = {}
        for session in self.sessions():
            if isinstance(session, Recoverable):
                for name, count in session.counts.items():
                    found[name] = found.get(name, 0) + count
        return found

    @abstractmethod
    def sessions(self) -> Sequence[Session]:
        """Return the session of each model."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return what the user should know of each model's tuning, one line each; empty where there is nothing."""

    def __call__(self, image: Image) -> Tick:
        """Answers one picture, `[H,W,3]` uint8 BGR.

        Raises:
            DataError: a picture of another shape or type.
        """
        check_image(image)
        captured_ns, work, times = time.monotonic_ns(), self.work(), [time.perf_counter_ns()]
        prepared = work.prepare(image)
        times.append(time.perf_counter_ns())
        output = work.infer(prepared)
        times.append(time.perf_counter_ns())
        result = work.decode(output, image)
        times.append(time.perf_counter_ns())
        stages = {
            name: (end - start) / 1e6
            for name, (start, end) in zip(("prepare", "infer", "decode"), pairwise(times), strict=True)
        }
        return Tick(Frame(0, image, captured_ns), result, stages, time.monotonic_ns())

    def stream(
        self,
        source: Given,
        *,
        policy: str | Policy | None = None,
        on_event: Callable[[Event], None] | None = None,
        record: str | Path | None = None,
    ) -> Stream:
        """Answers the frames of a source, while the caller works on the last answer.

        Args:
            source: an opened source, what `open_source` takes (of a text model, a text file or `-`), or pictures: an
                array `[N,H,W,3]`, a list, a generator.
            policy: `latest`, `every`, `rate:HZ` or `deadline:MS` (see `Policy`); `latest` of a live source and `every`
                of a recording where None. With `latest` and `deadline` a recording is played at its own rate.
            on_event: is called, in the capturing thread, when the camera is lost or back, a frame is bad or frames
                change their size, and in the inferring one when an accelerator is lost or back; where None these are
                warnings of the logger `orilla`. The loop holds it: what refers to the stream itself keeps the stream
                running until it is closed.
            record: a file that arrivals, times, drops and results are written to, for `orilla replay`.

        Returns:
            An iterator over `Tick`, also for `async for`. Errors of the source come where the answer to the frame
            would have come.

        Raises:
            SourceError: no such source.
            ConfigError: a policy that this source can't have.
        """
        chosen = Policy.parse(policy) if isinstance(policy, str) else policy
        opened = self.open_source(source)
        try:
            if chosen is None:
                chosen = Policy.parse(LIVE if opened.live else RECORDED)
            if chosen.plays and not opened.live:
                from orilla.runtime.sources.paced import Paced

                opened = Paced(opened)
            recording = Recording.create(record, chosen, opened, self.describe()) if record is not None else None
            loop = CameraLoop(opened, self.work(), chosen, on_event=on_event, recorder=recording)
            self.listen(loop.engine_event)
        except BaseException:
            opened.close()
            raise
        return Stream(loop, recording)

    def watch(self, source: Given, on_tick: Callable[[Tick], object], **options: Any) -> Watch:
        """Calls `on_tick` with each answer, in a thread of its own; takes what `stream` takes.

        Returns:
            The running watch: `stop()`, `wait()`, or a `with` block that stops it.
        """
        return Watch(self.stream(source, **options), on_tick).start()

    def open_source(self, spec: Given) -> Source:
        """Opens a source of what is taken: pictures, or texts; raises `SourceError`, `ConfigError`."""
        if self.kind == "tensor":
            msg = f"{self.name} is a model of arrays: call it with arrays, it has no sources"
            raise ConfigError(msg)
        if isinstance(spec, str | Integral | Path):
            return open_texts(str(spec)) if self.kind == "text" else open_source(str(spec))
        if isinstance(spec, np.ndarray) and spec.ndim < 4:
            msg = f"a source of pictures is [N,H,W,3], got {list(spec.shape)}: call the model with one"
            raise ConfigError(msg)
        if isinstance(spec, Source):
            return spec
        if hasattr(spec, "read"):
            lacks = [name for name in ("live", "rate_hz", "close") if not hasattr(spec, name)]
            msg = f"{type(spec).__name__} is no source: it lacks {', '.join(lacks)}"
            raise ConfigError(msg)
        if not isinstance(spec, Iterable):
            msg = f"{spec!r} is no source: give a camera number, a URL, a path or pictures"
            raise ConfigError(msg)
        if self.kind == "text":
            from orilla.runtime.sources.text_lines import Texts

            return Texts(spec)
        from orilla.runtime.sources.arrays import Arrays

        return Arrays(spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
