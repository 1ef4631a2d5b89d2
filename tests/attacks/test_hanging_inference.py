"""An inference that never ends, because its accelerator hangs, does not prevent a program from ending."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import orilla.runtime
from orilla.devices.errors import ConfigError, EngineError
from orilla.runtime import model as model_module
from orilla.runtime.composite import together
from orilla.runtime.frame import Frame
from orilla.runtime.loop import loop as loop_module
from orilla.runtime.model import Model

LIMIT_S = 60.0
"""Time after which a test fails. It is long, because the machine may be busy."""

HANG = """
import sys, time
from orilla.devices import signals
from orilla.runtime import model
from orilla.runtime.engines import litert
from orilla.runtime.loop import loop

model.CLOSE_S = loop.JOIN_TIMEOUT_S = 0.3
signals.AGAIN_S = 0.0
load = litert.load

class Hanging:
    def __init__(self, session):
        self.session, self.count = session, 0

    def __getattr__(self, name):
        return getattr(self.session, name)

    def run(self, prepared):
        self.count += 1
        if self.count == 3:
            HOW
        return self.session.run(prepared)

litert.load = lambda *words, **options: Hanging(load(*words, **options))
from orilla.runtime.cli import main
sys.exit(main())
"""
SLEEPS = """
            print("hangs", flush=True)
            time.sleep(10_000)"""
DEAF = """
            import ctypes, threading
            library = ctypes.CDLL(None)
            # This function of C waits for its own lock for ever, and no signal interrupts it.
            lock = (ctypes.c_char * 64)()
            library.pthread_mutex_lock(lock)
            # Another thread says so a moment later, when the main thread is already waiting.
            threading.Timer(0.5, print, ["hangs"], {"flush": True}).start()
            library.pthread_mutex_lock(lock)"""


class Hanging:
    """A session whose inference waits until the test ends it."""

    def __init__(self, model: Model) -> None:
        self._session = model.session
        self.engine = self._session.engine
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        self.begun, self.end, self.closed = threading.Event(), threading.Event(), threading.Event()

    def run(self, prepared):
        self.begun.set()
        assert self.end.wait(LIMIT_S)
        return self._session.run(prepared)

    def close(self):
        self._session.close()
        self.closed.set()


@pytest.fixture
def image():
    return np.zeros((20, 30, 3), np.uint8)


def test_close_returns_and_the_engine_is_released_later(tiny_bundle: Path, image, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_module, "CLOSE_S", 0.1)
    model = orilla.runtime.open(tiny_bundle)
    session = model.session = Hanging(model)
    thread = threading.Thread(target=model, args=(image,), daemon=True)
    thread.start()
    assert session.begun.wait(LIMIT_S)
    with pytest.raises(EngineError, match="does not end"):
        model.close()
    model.close()
    with pytest.raises(ConfigError, match="is closed"):
        model._check_open()
    assert not session.closed.is_set()
    session.end.set()
    thread.join(LIMIT_S)
    assert session.closed.is_set()


def test_the_other_models_are_closed(tiny_bundle: Path, image, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_module, "CLOSE_S", 0.1)
    first, second = orilla.runtime.open(tiny_bundle), orilla.runtime.open(tiny_bundle)
    session = first.session = Hanging(first)
    thread = threading.Thread(target=first, args=(image,), daemon=True)
    thread.start()
    assert session.begun.wait(LIMIT_S)
    with pytest.raises(EngineError, match="does not end"):
        together(a=first, b=second).close()
    with pytest.raises(ConfigError, match="is closed"):
        second(image)
    session.end.set()
    thread.join(LIMIT_S)


def test_a_live_loop_reports_an_inference_that_hangs(tiny_bundle: Path, image, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop_module, "STALL_S", 0.0)
    monkeypatch.setattr(loop_module, "JOIN_TIMEOUT_S", 0.1)
    reported = threading.Event()
    events = []

    class Camera:
        live, rate_hz = True, None
        index = 0

        def read(self):
            self.index += 1
            if self.index > 1:
                session.begun.wait(LIMIT_S)
            return Frame(self.index, image, self.index)

        def close(self):
            pass

    def note(event):
        events.append(event)
        reported.set()

    with orilla.runtime.open(tiny_bundle) as model:
        session = model.session = Hanging(model)
        with model.stream(Camera(), on_event=note, guard=False) as stream:
            stream.take()
            assert session.begun.wait(LIMIT_S)
            assert reported.wait(LIMIT_S)
            session.end.set()
    assert events[0].kind == "engine"
    assert "has not ended" in events[0].detail


def interrupted(how: str, number: signal.Signals, *words: str, times: int = 1) -> tuple[int, str]:
    """Send a signal to a command as soon as its inference hangs. Return its exit code and standard error."""
    command = [sys.executable, "-c", HANG.replace("HOW", how), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # If a shell runs pytest in the background, SIGINT is ignored, and the command would inherit this setting.
    with subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        try:
            for _ in range(times):
                process.send_signal(number)
                with_pause(process)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    return process.returncode, errors


def with_pause(process: subprocess.Popen[str]) -> None:
    """Wait a moment, because the kernel delivers equal signals only once if they arrive together."""
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_loop(tiny_bundle: Path, number: signal.Signals, tmp_path: Path):
    out = tmp_path / "answers.jsonl"
    words = ["run", str(tiny_bundle), "--source", "scenes", "--policy", "every", "--sink", f"jsonl:{out}"]
    code, errors = interrupted(SLEEPS, number, *words)
    assert code == 2
    assert errors.splitlines()[-1].startswith("orilla: tiny.orilla: the inference on")
    assert len(out.read_text().splitlines()) == 2


def test_the_second_signal_ends_a_command_whose_main_thread_hangs(tiny_bundle: Path):
    """`orilla verify` runs inferences in the main thread, in which Python handles signals."""
    words = ["verify", str(tiny_bundle), "--variant", "litert_fp32"]
    code, errors = interrupted(DEAF, signal.SIGINT, *words, times=2)
    assert code == 128 + signal.SIGINT
    assert "ended at once" in errors


def test_one_signal_is_enough_while_the_main_thread_responds(tiny_bundle: Path):
    code, errors = interrupted(SLEEPS, signal.SIGTERM, "verify", str(tiny_bundle), "--variant", "litert_fp32")
    assert code == 130
    assert errors == ""
