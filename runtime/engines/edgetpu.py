"""Coral's Edge TPU by libedgetpu, watched: a stick that is reset or hangs is opened again, or the CPU goes on."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.elf import EDGETPU as LIBRARY
from orilla.devices.elf import built_for, find_library, native
from orilla.devices.errors import EngineError
from orilla.runtime.engines import litert
from orilla.runtime.native import hidden_stderr
from orilla.runtime.session import Prepared

LIBRARY_VARIABLE = "ORILLA_EDGETPU"
"""Environment variable that names another library, for one that is not where the loader looks."""

WATCHDOG_S = 5.0
"""An inference that takes longer hangs; the slowest model of Coral's own table takes 0.36 s, and the first inference
sends the weights."""

AGAIN_S = 10.0
"""A stick that could not be opened again is tried again after so long; a USB reset takes some seconds."""

OPERATOR = b"edgetpu-custom-op"
INSTALL = "install libedgetpu1-std (docs/devices.md), and log in again where the group plugdev is new"


class EdgeTpuSession:
    """A network on the stick, and the same on the CPU for as long as the stick is away."""

    def __init__(self, data: bytes, fallback: bytes | None, threads: int) -> None:
        self.counts = {"resets": 0, "reopened": 0, "on_cpu": 0}
        """What happened so far: the stick lost, opened again, and inferences that the CPU did."""
        self.on_event: Callable[[str], None] | None = None
        self._data, self._fallback, self._threads = data, fallback, threads
        self._cpu: litert.LiteRTSession | None = None
        self._again_at = 0.0
        tpu = _open(data, threads)
        self.engine, self.span = f"{tpu.engine} edgetpu", tpu.span
        self._tpu: litert.LiteRTSession | None = tpu
        self._worker = _Worker()

    def run(self, prepared: Prepared) -> NDArray[np.float32]:
        if self._tpu is None and time.monotonic() >= self._again_at:
            self._reopen()
        for _ in range(2):  # once more after a reset, on the stick that was opened again
            if self._tpu is None:
                break
            tpu = self._tpu
            try:
                return self._worker.do(lambda tpu=tpu: tpu.run(prepared), WATCHDOG_S)  # type: ignore[misc]
            except EngineError as error:
                self._lose(str(error))
                self._reopen()
            except TimeoutError:
                self._lose(f"no answer for {WATCHDOG_S:.0f} s")
                self._worker = _Worker()  # the old one, and the interpreter it waits in, are lost
        return self._on_cpu(prepared)

    def close(self) -> None:
        self._worker.stop()
        if self._cpu is not None:
            self._cpu.close()
        self._tpu = self._cpu = None

    def _lose(self, why: str) -> None:
        self._tpu = None
        self._again_at = time.monotonic() + AGAIN_S
        self.counts["resets"] += 1
        self._tell(f"Edge TPU lost: {why}")

    def _reopen(self) -> None:
        try:
            self._tpu = _open(self._data, self._threads)
        except EngineError as error:
            self._again_at = time.monotonic() + AGAIN_S
            if self._cpu is None:
                self._tell(f"the CPU goes on: {error}")
            return
        self.counts["reopened"] += 1
        self._tell("Edge TPU opened again")

    def _on_cpu(self, prepared: Prepared) -> NDArray[np.float32]:
        if self._fallback is None:
            raise EngineError("the Edge TPU is lost, and there is no model for the CPU to go on with")
        if self._cpu is None:
            self._cpu = litert.load(self._fallback, self._threads)
        self.counts["on_cpu"] += 1
        return self._cpu.run(prepared)

    def _tell(self, what: str) -> None:
        if self.on_event is not None:
            self.on_event(what)


class _Worker:
    """A thread that inferences are done in, so that one which never ends can be left behind."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="orilla-edgetpu", daemon=True).start()

    def do(self, task: Callable[[], NDArray[np.float32]], seconds: float) -> NDArray[np.float32]:
        """The task's result or error; `TimeoutError` where it does not end in time."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks.put((task, answer))
        try:
            result = answer.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise TimeoutError from None
        if isinstance(result, BaseException):
            raise result
        made: NDArray[np.float32] = result
        return made

    def stop(self) -> None:
        """Ends the thread, when it has done what it does."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (taken := self._tasks.get()) is not None:
            task, answer = taken
            try:
                answer.put(task())
            except BaseException as error:  # noqa: BLE001 - raised again by who asked
                answer.put(error)
            del taken, task, answer


def load(data: bytes, threads: int, fallback: bytes | None = None) -> EdgeTpuSession:
    """Opens a compiled model on the first Edge TPU that is free.

    Args:
        data: as `edgetpu_compiler` wrote it.
        fallback: what it was compiled from, for the CPU.

    Raises:
        EngineError: the model is not compiled, the library is missing or of another machine, or there is no stick.
    """
    if OPERATOR not in data:
        raise EngineError(
            "edgetpu cannot load this variant: it is not compiled for the Edge TPU; run orilla edgetpu BUNDLE "
            "--out COMPILED.orilla where edgetpu_compiler is"
        )
    return EdgeTpuSession(data, fallback, threads)


def _open(data: bytes, threads: int) -> litert.LiteRTSession:
    _, module = litert.runtime()
    library = os.environ.get(LIBRARY_VARIABLE) or LIBRARY
    found = Path(library) if os.path.dirname(library) else find_library(library)  # noqa: PTH120
    machine = built_for(found) if found is not None else None
    if machine is not None and machine != native():
        raise EngineError(f"{found} is built for {machine}, this Python for {native()}: {INSTALL} of {native()}")
    try:
        ctypes.CDLL(library)  # load_delegate's own failure leaves a half-made object that complains at its end
        with hidden_stderr():
            delegate = module.load_delegate(library)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip() or "no Edge TPU answers"
        if found is None and "cannot open shared object" in reason:
            reason = f"{library} is not installed"
        raise EngineError(f"edgetpu cannot load this variant: {reason}; {INSTALL}") from error
    return litert.load(data, threads, delegates=[delegate])
