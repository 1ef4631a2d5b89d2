"""Engine for Coral's Edge TPU (a USB stick), with libedgetpu and a watchdog.

If the stick resets, the engine opens it again. As long as no stick works, the CPU runs the model.
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
from orilla.runtime.engines.session import UNBOUND, Binding
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.stdio import hidden_stderr

T = TypeVar("T")

WATCHDOG_S = 5.0
"""Time limit in seconds for an inference or for opening the stick. The slowest model in Coral's table takes 0.36 s, and
the first inference also sends the weights."""

RETRY_WAITS_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Waiting time in seconds before the stick is opened again after it was lost once, twice, and so on. A USB reset takes
some seconds."""

STEADY = 100
"""If the stick is lost after this number of inferences, the loss counts as the first one again."""

OPERATOR = b"edgetpu-custom-op"
INSTALL = "install libedgetpu1-std (docs/devices.md), and log in again if this user was just added to the group plugdev"


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Settings of the watchdog: the time limit in seconds for each call of the stick, and a clock in seconds."""

    limit_s: float = WATCHDOG_S
    clock: Callable[[], float] = time.monotonic


class EdgeTpuSession:
    """A session that runs a model on the stick, or on the CPU while the stick is absent.

    Args:
        open_stick: Function that opens the model on the stick. It raises `EngineError`.
        open_cpu: Function that opens the model on the CPU. None if the model cannot run on the CPU.
        watchdog: Time limit for each call, and the clock.
    """

    def __init__(
        self,
        open_stick: Callable[[], litert.LiteRTSession],
        open_cpu: Callable[[], litert.LiteRTSession] | None = None,
        watchdog: Watchdog = Watchdog(),
    ) -> None:
        self.counts = {"resets": 0, "reopened": 0, "on_cpu": 0}
        """Number of times that the stick was lost, number of times that it was opened again, and number of inferences
        on the CPU."""
        self.on_event: Callable[[str], None] | None = None
        self._open_stick, self._open_cpu, self._watchdog = open_stick, open_cpu, watchdog
        self._cpu: litert.LiteRTSession | None = None
        self._retry_at: float | None = 0.0
        """Time of the next attempt to open a lost stick. None if no further attempt is made."""
        self._losses, self._steady, self._reported_absence = 0, 0, False
        self._worker = _Worker()
        try:
            self._tpu: litert.LiteRTSession | None = self._opened()
        except BaseException:
            self._worker.stop()
            raise
        self.engine = f"{self._tpu.engine} edgetpu"
        self.inputs, self.outputs = self._tpu.inputs, self._tpu.outputs

    def run(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference."""
        for _ in range(2):  # After a reset, the frame is processed once more on the reopened stick.
            if self._tpu is None and not self._reopen():
                break
            answer = self._try(prepared)
            if answer is not None:
                return answer
        return self._on_cpu(prepared)

    def close(self) -> None:
        """Release the engine."""
        self._worker.stop()
        for session in (self._tpu, self._cpu):
            if session is not None:
                session.close()
        self._tpu = self._cpu = None

    def _try(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]] | None:
        """Return the outputs of the stick, or None if the stick is lost."""
        tpu = self._tpu
        assert tpu is not None
        try:
            answer = self._worker.do(partial(tpu.run, prepared), self._watchdog.limit_s)
        except EngineError as error:
            # libedgetpu keeps the device as long as any object that uses it exists. The session is therefore closed
            # before the stick is opened again.
            tpu.close()
            self._lose(str(error))
            return None
        except TimeoutError:
            self._lose(
                f"no output within {self._watchdog.limit_s:.0f} s; the stick is not used again until this program "
                "restarts"
            )
            self._abandon()
            return None
        self._steady += 1
        if self._steady == STEADY:
            self._losses = 0
        return answer

    def _lose(self, reason: str) -> None:
        self._tpu, self._reported_absence = None, False
        self.counts["resets"] += 1
        self._report(f"Edge TPU lost: {reason}")
        self._schedule_retry()

    def _abandon(self) -> None:
        """Abandon a thread that hangs in the library, together with the device that it holds."""
        self._retry_at = None

    def _schedule_retry(self) -> None:
        wait_s = RETRY_WAITS_S[min(self._losses, len(RETRY_WAITS_S) - 1)]
        self._retry_at = self._watchdog.clock() + wait_s
        self._losses, self._steady = self._losses + 1, 0

    def _reopen(self) -> bool:
        if self._retry_at is None or self._watchdog.clock() < self._retry_at:
            return False
        try:
            self._tpu = self._opened()
        except EngineError as error:
            if not self._reported_absence:
                self._report(f"the CPU takes over: {error}")
                self._reported_absence = True
            if self._retry_at is not None:
                self._schedule_retry()
            return False
        self.counts["reopened"] += 1
        self._report("Edge TPU reopened")
        return True

    def _opened(self) -> litert.LiteRTSession:
        """Open the stick within the watchdog's time limit."""
        try:
            return self._worker.do(self._open_stick, self._watchdog.limit_s)
        except TimeoutError:
            self._abandon()
            msg = f"edgetpu cannot load this variant: the stick did not open within {self._watchdog.limit_s:.0f} s"
            raise EngineError(msg) from None

    def _on_cpu(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        if self._open_cpu is None:
            msg = "the Edge TPU is lost, and there is no model for the CPU"
            raise EngineError(msg)
        if self._cpu is None:
            self._cpu = self._open_cpu()
        self.counts["on_cpu"] += 1
        return self._cpu.run(prepared)

    def _report(self, detail: str) -> None:
        if self.on_event is not None:
            self.on_event(detail)


class _Worker:
    """A thread that calls the stick. A call that never returns can then be abandoned."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="orilla-edgetpu", daemon=True).start()

    def do(self, task: Callable[[], T], seconds: float) -> T:
        """Return the result of a task, or raise its error. Raise `TimeoutError` if the task does not end in time."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks.put((task, answer))
        try:
            result = answer.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise TimeoutError from None
        if isinstance(result, _Failed):
            raise result.error from None
        value: T = result
        return value

    def stop(self) -> None:
        """Stop the thread after its current task."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (entry := self._tasks.get()) is not None:
            task, answer = entry
            try:
                answer.put(task())
            except BaseException as error:  # noqa: BLE001 - `do` raises it again
                # The traceback and the causes are removed, because they refer to the failed session and would keep it
                # alive.
                error.__cause__ = error.__context__ = None
                answer.put(_Failed(error.with_traceback(None)))
            del entry, task, answer


@dataclass(frozen=True, slots=True)
class _Failed:
    """The result of a task that raised an error."""

    error: BaseException


def load(data: bytes, threads: int, binding: Binding = UNBOUND, fallback: bytes | None = None) -> EdgeTpuSession:
    """Open a compiled model on the first free Edge TPU.

    Args:
        data: Content of the model file that `edgetpu_compiler` wrote.
        threads: Number of threads on the CPU.
        binding: Names and pixel values of the bundle.
        fallback: Content of the model file before the compilation. It runs on the CPU while the stick is absent.

    Raises:
        EngineError: The model is not compiled, the library is missing or built for another processor, or no stick is
            found.
    """
    if OPERATOR not in data:
        msg = (
            "edgetpu cannot load this variant: it is not compiled for the Edge TPU; compile the bundle with "
            "`orilla edgetpu` on a machine that has edgetpu_compiler"
        )
        raise EngineError(msg)
    open_cpu = None if fallback is None else partial(litert.load, fallback, threads, binding)
    return EdgeTpuSession(partial(_open, data, threads, binding), open_cpu)


def try_library() -> str:
    """Open and close the first free stick, and return a description of the library for a report.

    Raise `EngineError` on failure.
    """
    _delegate(litert.runtime()[1])
    return f"{edgetpu_library() or LIBRARY} (Edge TPU found)"


def _open(data: bytes, threads: int, binding: Binding) -> litert.LiteRTSession:
    return litert.load(data, threads, binding, delegates=[_delegate(litert.runtime()[1])])


def _delegate(module: Any) -> Any:
    library, path = LIBRARY, edgetpu_library()
    if path is not None:
        library = str(path)
        machine = built_for(path)
        if machine is not None and machine != native():
            msg = (
                f"{path} is built for {machine}, but this Python is built for {native()}: "
                f"install libedgetpu1-std for {native()} (docs/devices.md)"
            )
            raise EngineError(msg)
    try:
        # If `load_delegate` failed, it would leave an unfinished object that prints an error when it is released.
        ctypes.CDLL(library)
        with hidden_stderr():
            return module.load_delegate(library)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip() or "no Edge TPU responds"
        if path is None and "cannot open shared object" in reason:
            reason = f"{library} is not installed"
        msg = f"edgetpu cannot load this variant: {reason}; {INSTALL}"
        raise EngineError(msg) from None
