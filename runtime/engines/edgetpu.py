"""Engine for Coral's Edge TPU through libedgetpu, with a watchdog.

A stick that is reset or hangs is reopened, or the CPU takes over.
"""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import EngineError
from orilla.devices.shared_libraries import EDGETPU as LIBRARY
from orilla.devices.shared_libraries import built_for, edgetpu_library, native
from orilla.runtime.engines import litert
from orilla.runtime.preprocessing.preprocessor import ModelInput
from orilla.runtime.stdio import hidden_stderr

T = TypeVar("T")

WATCHDOG_S = 5.0
"""Time limit of an inference or an opening, seconds. The slowest model of Coral's table takes 0.36 s, and the first
inference also sends the weights."""

AGAIN_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Waits before the next attempt, by the number of losses without a hundred inferences between them, seconds. A USB
reset takes some seconds."""

STEADY = 100
"""Inferences after which a loss counts as the first one again."""

OPERATOR = b"edgetpu-custom-op"
INSTALL = "install libedgetpu1-std (docs/devices.md), and log in again where the group plugdev is new"


class EdgeTpuSession:
    """A network on the stick, and the same network on the CPU while the stick is absent."""

    def __init__(self, data: bytes, fallback: bytes | None, threads: int) -> None:
        self.counts = {"resets": 0, "reopened": 0, "on_cpu": 0}
        """Number of losses, of reopenings, and of inferences on the CPU."""
        self.on_event: Callable[[str], None] | None = None
        self._data, self._fallback, self._threads = data, fallback, threads
        self._cpu: litert.LiteRTSession | None = None
        self._again_at: float | None = 0.0
        """Time of the next attempt to open a lost stick. None if there is no further attempt."""
        self._losses, self._steady, self._reported_away = 0, 0, False
        self._worker = _Worker()
        try:
            self._tpu: litert.LiteRTSession | None = self._opened()
        except BaseException:
            self._worker.stop()
            raise
        self.engine, self.span = f"{self._tpu.engine} edgetpu", self._tpu.span

    def run(self, prepared: ModelInput) -> NDArray[np.float32]:
        for _ in range(2):  # retry once after a reset, on the reopened stick
            if self._tpu is None and not self._reopen():
                break
            answer = self._try(prepared)
            if answer is not None:
                return answer
        return self._on_cpu(prepared)

    def close(self) -> None:
        self._worker.stop()
        for session in (self._tpu, self._cpu):
            if session is not None:
                session.close()
        self._tpu = self._cpu = None

    def _try(self, prepared: ModelInput) -> NDArray[np.float32] | None:
        """Return the stick's answer. None if the stick is lost; nothing then holds the device."""
        tpu = self._tpu
        assert tpu is not None
        try:
            answer = self._worker.do(partial(tpu.run, prepared), WATCHDOG_S)
        except EngineError as error:
            # libedgetpu keeps the device as long as any object of it exists, so all objects are released before the
            # next attempt.
            tpu.close()
            self._lose(str(error))
            return None
        except TimeoutError:
            self._lose(f"no answer for {WATCHDOG_S:.0f} s; it is not used again until this program restarts")
            self._leave()
            return None
        self._steady += 1
        if self._steady == STEADY:
            self._losses = 0
        return answer

    def _lose(self, why: str) -> None:
        self._tpu, self._reported_away = None, False
        self.counts["resets"] += 1
        self._tell(f"Edge TPU lost: {why}")
        self._wait()

    def _leave(self) -> None:
        """Abandon a thread that hangs in the library, and the device that it holds."""
        self._again_at = None

    def _wait(self) -> None:
        pause = AGAIN_S[min(self._losses, len(AGAIN_S) - 1)]
        self._again_at = time.monotonic() + pause
        self._losses, self._steady = self._losses + 1, 0

    def _reopen(self) -> bool:
        if self._again_at is None or time.monotonic() < self._again_at:
            return False
        try:
            self._tpu = self._opened()
        except EngineError as error:
            if not self._reported_away:
                self._tell(f"the CPU takes over: {error}")
                self._reported_away = True
            if self._again_at is not None:
                self._wait()
            return False
        self.counts["reopened"] += 1
        self._tell("Edge TPU reopened")
        return True

    def _opened(self) -> litert.LiteRTSession:
        """Open the stick under the watchdog."""
        try:
            return self._worker.do(partial(_open, self._data, self._threads), WATCHDOG_S)
        except TimeoutError:
            self._leave()
            msg = f"edgetpu cannot load this variant: it did not open in {WATCHDOG_S:.0f} s"
            raise EngineError(msg) from None

    def _on_cpu(self, prepared: ModelInput) -> NDArray[np.float32]:
        if self._fallback is None:
            msg = "the Edge TPU is lost, and there is no model for the CPU"
            raise EngineError(msg)
        if self._cpu is None:
            self._cpu = litert.load(self._fallback, self._threads)
        self.counts["on_cpu"] += 1
        return self._cpu.run(prepared)

    def _tell(self, what: str) -> None:
        if self.on_event is not None:
            self.on_event(what)


class _Worker:
    """Thread that calls the stick, so that a call that never returns can be abandoned."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="orilla-edgetpu", daemon=True).start()

    def do(self, task: Callable[[], T], seconds: float) -> T:
        """Return the task's result or raise its error. Raises `TimeoutError` if it does not end in time."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks.put((task, answer))
        try:
            result = answer.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise TimeoutError from None
        if isinstance(result, _Failed):
            raise result.error from None
        made: T = result
        return made

    def stop(self) -> None:
        """Stop the thread after its current task."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (taken := self._tasks.get()) is not None:
            task, answer = taken
            try:
                answer.put(task())
            except BaseException as error:  # noqa: BLE001 - raised again by who asked
                # The trace and the causes are removed, because they would hold the failed session.
                error.__cause__ = error.__context__ = None
                answer.put(_Failed(error.with_traceback(None)))
            del taken, task, answer


@dataclass(frozen=True, slots=True)
class _Failed:
    """A task that raised an error."""

    error: BaseException


def load(data: bytes, threads: int, fallback: bytes | None = None) -> EdgeTpuSession:
    """Open a compiled model on the first free Edge TPU.

    Args:
        data: Output of `edgetpu_compiler`.
        threads: Threads of the CPU.
        fallback: The uncompiled model, for the CPU.

    Raises:
        EngineError: The model is not compiled, the library is missing or for another machine, or there is no stick.
    """
    if OPERATOR not in data:
        msg = (
            "edgetpu cannot load this variant: it is not compiled for the Edge TPU; run orilla edgetpu BUNDLE "
            "--out COMPILED.orilla where edgetpu_compiler is"
        )
        raise EngineError(msg)
    return EdgeTpuSession(data, fallback, threads)


def try_library() -> str:
    """Open and close the first free stick. Return the library. Raises `EngineError`."""
    _delegate(litert.runtime()[1])
    return f"{edgetpu_library() or LIBRARY}, which finds an Edge TPU"


def _open(data: bytes, threads: int) -> litert.LiteRTSession:
    return litert.load(data, threads, delegates=[_delegate(litert.runtime()[1])])


def _delegate(module: Any) -> Any:
    library, found = LIBRARY, edgetpu_library()
    if found is not None:
        library = str(found)
        machine = built_for(found)
        if machine is not None and machine != native():
            msg = f"{found} is built for {machine}, this Python for {native()}: {INSTALL} of {native()}"
            raise EngineError(msg)
    try:
        ctypes.CDLL(
            library
        )  # a failure of load_delegate leaves a half-made object that prints an error when it is released
        with hidden_stderr():
            return module.load_delegate(library)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip() or "no Edge TPU responds"
        if found is None and "cannot open shared object" in reason:
            reason = f"{library} is not installed"
        msg = f"edgetpu cannot load this variant: {reason}; {INSTALL}"
        raise EngineError(msg) from None
