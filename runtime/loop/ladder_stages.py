"""The stages of a loop with a degradation ladder. They answer each frame on the current rung."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, Protocol

from orilla.devices.errors import DataError, InvalidOutputError
from orilla.runtime.frame import Result
from orilla.runtime.loop.ladder import Climber, Ladder
from orilla.runtime.loop.stages import RungInput, StageTimer
from orilla.runtime.preprocessing.input_kind import RawInput


class RungStages(Protocol):
    """The stages of one rung."""

    def prepare(self, raw: RawInput) -> Any:
        """Convert a frame into the network's input."""

    def compute(self, prepared: Any, raw: RawInput, timer: StageTimer) -> Any:
        """Run the network and decode its outputs."""

    def finish(self, result: Any, timer: StageTimer) -> Result:
        """Add the parts of a result that depend on earlier frames, such as track IDs."""


class OpenRung(NamedTuple):
    """A rung whose model is loaded."""

    stages: RungStages
    close: Callable[[], None]
    """Function that releases the model."""


class Rung(NamedTuple):
    """One rung of a ladder."""

    name: str
    open: Callable[[], OpenRung]
    """Function that loads the model."""
    comparable: bool = True
    """True if the rung has the same input as the first rung."""


def _ignore(detail: str) -> None:
    del detail


class LadderStages:
    """Stages that answer each frame on the current rung, and change the rung according to the age of the frames.

    The next rung is loaded in advance, in a separate thread, so a step takes no time. Rungs stay loaded until `close`.
    A frame is answered on the rung that prepared it. Objects are tracked by the first rung's stages, so they keep their
    track IDs.

    Args:
        settings: Settings of the ladder.
        rungs: The rungs, starting with the best.
        first: The first rung, which is loaded. It is not closed.
        clock: Monotonic clock in nanoseconds, on which frames are stamped.
    """

    def __init__(
        self,
        settings: Ladder,
        rungs: Sequence[Rung],
        first: RungStages,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings, self._rungs, self._clock = settings, list(rungs), clock
        self._climber = Climber(settings)
        self._opened: list[OpenRung] = [OpenRung(first, lambda: None)]
        self._lock = threading.Lock()
        self._loading = self._closed = False
        self.report: Callable[[str], None] = _ignore
        """Function that receives one line of text whenever the rung changes, or cannot be loaded."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the rungs, starting with the best."""
        return tuple(rung.name for rung in self._rungs)

    def prepare(self, raw: RawInput) -> RungInput:
        """Return the input of the current rung's network for a frame."""
        rung = self._climber.rung
        if not self._loading and rung + 1 == len(self._opened) < len(self._rungs):
            self._loading = True
            threading.Thread(target=self._load, args=(raw,), name="orilla-ladder", daemon=True).start()
        return RungInput(rung, self._opened[rung].stages.prepare(raw), comparable=self._rungs[rung].comparable)

    def answer(self, prepared: RungInput, raw: RawInput, timer: StageTimer) -> Result:
        """Answer a frame on the rung that prepared it, and change the rung if necessary."""
        result = self._opened[prepared.rung].stages.compute(prepared.input, raw, timer)
        finished = self._opened[0].stages.finish(result, timer)
        timer.rung = self._rungs[prepared.rung].name
        if prepared.rung == self._climber.rung and timer.frame_ns is not None:
            now_ns = self._clock()
            work_ms = sum(timer.stages_ms.get(name, 0.0) for name in ("prepare", "infer", "decode"))
            step = self._climber.observe(now_ns, (now_ns - timer.frame_ns) / 1e6, work_ms)
            if step and 0 <= prepared.rung + step < len(self._opened):
                self._step(step, now_ns)
        return finished

    def close(self) -> None:
        """Release the models of all rungs except the first."""
        with self._lock:
            self._closed = True
            opened, self._opened = self._opened[1:], self._opened[:1]
        with ExitStack() as models:
            for rung in opened:
                models.callback(rung.close)

    def _step(self, step: int, now_ns: int) -> None:
        p90_ms, deadline_ms = self._climber.p90_ms, self._settings.deadline_ms
        self._climber.moved(step, now_ns)
        place = f"{self._rungs[self._climber.rung].name}, rung {self._climber.rung + 1} of {len(self._rungs)}"
        reason = f"answers are {p90_ms:.0f} ms old (p90), and the deadline is {deadline_ms:g} ms"
        self.report(f"{'stepped down' if step > 0 else 'stepped up'} to {place}: {reason}")

    def _load(self, raw: RawInput) -> None:
        """Load the next rung, and let it answer one frame, because the first inference is slower."""
        rung = self._rungs[len(self._opened)]
        try:
            opened = rung.open()
            with suppress(DataError, InvalidOutputError):
                opened.stages.compute(opened.stages.prepare(raw), raw, StageTimer())
        except Exception as error:  # noqa: BLE001 - the loop goes on with the rungs that are loaded
            del self._rungs[len(self._opened) :]
            self.report(f"cannot load {rung.name}: {error}; the loop continues without this rung and the next ones")
            return
        with self._lock:
            if not self._closed:
                self._opened.append(opened)
                self._loading = False
                return
        opened.close()
