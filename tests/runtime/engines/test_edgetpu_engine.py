"""The Edge TPU session, with a simulated Coral stick that is reset, unplugged, plugged in again, or hangs."""

import gc
import platform
import struct
import subprocess
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest
from helpers import factories

from orilla.devices import shared_libraries
from orilla.devices.errors import BundleError, EngineError
from orilla.runtime import open as open_model
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import edgetpu, litert, loader
from orilla.runtime.preprocessing.image import prepare
from orilla.runtime.preprocessing.tensor_spec import only

PROBE = Bundle.open("probe")
DATA = PROBE.read(PROBE.manifest.variant("litert_wi8_ai8").file)
COMPILED = DATA + edgetpu.OPERATOR
"""Substitute for a compiled file: the file for the CPU, followed by the name of the Edge TPU operator."""


OPEN_CPU = partial(litert.load, DATA, 1)


class Stick:
    """Simulated Coral stick with a clock. Its sessions work until the test makes them fail."""

    def __init__(self):
        self.plugged, self.broken, self.opened = True, False, 0
        self.hang = threading.Event()
        self.hang.set()
        self.now, self.slow_s, self.breaks_at_once = 100.0, 0.0, False
        self.held_at_opening, self.sessions = [], []

    def session(self, *, open_cpu=OPEN_CPU, limit_s=edgetpu.WATCHDOG_S):
        """Open a session on this stick."""
        return edgetpu.EdgeTpuSession(self.open, open_cpu, edgetpu.Watchdog(limit_s, clock=lambda: self.now))

    def open(self):
        time.sleep(self.slow_s)
        if not self.plugged:
            msg = "no Edge TPU answers"
            raise EngineError(msg)
        gc.collect()
        self.held_at_opening.append(sum(interpreter() is not None for interpreter in self.sessions))
        self.opened, self.broken = self.opened + 1, self.breaks_at_once
        session = litert.load(DATA, 1)
        self.sessions.append(weakref.ref(session._interpreter))
        run, generation = session.run, self.opened

        def watched(prepared):
            self.hang.wait()
            if not self.plugged or self.broken or generation != self.opened:
                msg = "ai_edge_litert failed: Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke."
                raise EngineError(msg)
            return run(prepared)

        session.run = watched
        return session


@pytest.fixture
def stick():
    stick = Stick()
    yield stick
    stick.hang.set()


@pytest.fixture
def messages():
    return []


@pytest.fixture
def session(stick, messages):
    session = stick.session()
    session.on_event = messages.append
    yield session
    session.close()


@pytest.fixture
def impatient(stick, messages):
    """A session with a watchdog that waits only a few seconds, which is enough to open the stick on a busy machine."""
    session = stick.session(limit_s=3.0)
    session.on_event = messages.append
    yield session
    session.close()


PICTURE = prepare(factories.picture(), PROBE.manifest.preprocess)


def run(session):
    return only(session.run(PICTURE))


ANSWER = run(litert.load(DATA, 1))


def test_the_stick_answers_as_the_cpu_does(session):
    assert np.array_equal(run(session), ANSWER)
    assert session.engine.endswith("edgetpu")
    assert session.counts == {"resets": 0, "reopened": 0, "on_cpu": 0}


def test_after_a_reset_the_stick_is_reopened_and_the_frame_is_answered(session, stick, messages):
    stick.broken = True
    assert np.array_equal(run(session), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 1, "on_cpu": 0}
    assert [text.split(":")[0] for text in messages] == ["Edge TPU lost", "Edge TPU reopened"]


def test_the_cpu_answers_while_the_stick_is_unplugged(session, stick, messages):
    stick.plugged = False
    for _ in range(3):
        assert np.array_equal(run(session), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 3}
    stick.plugged = True
    session.run(PICTURE)
    assert session.counts["on_cpu"] == 4  # Orilla does not try to open the stick again immediately.
    stick.now += edgetpu.RETRY_WAITS_S[1]
    session.run(PICTURE)
    assert session.counts == {"resets": 1, "reopened": 1, "on_cpu": 4}
    assert messages == [
        "Edge TPU lost: ai_edge_litert failed: Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke.",
        "the CPU takes over: no Edge TPU answers",
        "Edge TPU reopened",
    ]


def test_a_stick_that_hangs_is_abandoned(impatient, stick, messages):
    session = impatient
    stick.hang.clear()
    began = time.perf_counter()
    assert np.array_equal(run(session), ANSWER)
    assert time.perf_counter() - began < 6
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 1}
    assert messages == ["Edge TPU lost: no output within 3 s; the stick is not used again until this program restarts"]
    stick.hang.set()
    stick.now += 1000
    assert np.array_equal(run(session), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 2}


def test_a_stick_that_hangs_when_it_is_opened_is_abandoned(impatient, stick, messages):
    session = impatient
    stick.broken = True
    stick.slow_s = 7.0
    began = time.perf_counter()
    assert np.array_equal(run(session), ANSWER)
    assert time.perf_counter() - began < 6
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 1}
    assert "the stick did not open within 3 s" in messages[1]


def test_a_lost_device_is_released_before_it_is_reopened(session, stick):
    """If the lost device is not released before the stick is opened again, libedgetpu returns the lost device."""
    stick.broken = True
    session.run(PICTURE)
    assert stick.held_at_opening == [0, 0]


def test_a_stick_that_fails_repeatedly_is_reopened_less_and_less_often(session, stick, messages):
    for _ in range(300):
        stick.broken = stick.breaks_at_once = True
        assert np.array_equal(run(session), ANSWER)
        stick.now += 1
    assert session.counts["resets"] <= 8
    assert len(messages) <= 16


def test_a_wrong_input_is_no_loss(session):
    with pytest.raises(BundleError, match="prepared input"):
        session.run(np.zeros((5, 5, 3), np.uint8))
    assert session.counts["resets"] == 0


def test_without_a_model_for_the_cpu_a_loss_is_an_error(stick):
    session = stick.session(open_cpu=None)
    stick.plugged = False
    with pytest.raises(EngineError, match="there is no model for the CPU"):
        session.run(PICTURE)
    session.close()


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(EngineError, match="not compiled for the Edge TPU; compile the bundle with `orilla edgetpu`"):
        loader.load_bytes("edgetpu", DATA)


@pytest.mark.skipif(shared_libraries.edgetpu_library() is not None, reason="libedgetpu is installed here")
def test_a_missing_library_says_what_to_install():
    with pytest.raises(EngineError, match=r"libedgetpu.so.1 is not installed; install libedgetpu1-std"):
        loader.load_bytes("edgetpu", COMPILED)


def test_a_library_for_another_processor_is_rejected(tmp_path, monkeypatch):
    machine = 183 if platform.machine() == "x86_64" else 62
    library = tmp_path / "libedgetpu.so.1"
    library.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44))
    monkeypatch.setenv(shared_libraries.EDGETPU_VARIABLE, str(library))
    name = {183: "aarch64", 62: "x86_64"}[machine]
    with pytest.raises(EngineError, match=rf"is built for {name}, but this Python is built for {platform.machine()}"):
        loader.load_bytes("edgetpu", COMPILED)


DELEGATE = r"""
#include <stddef.h>
struct delegate { void *data; int (*prepare)(void *, struct delegate *); void *copy_from, *copy_to, *free_buffer;
                  long long flags; void *builder; };
static int prepare(void *context, struct delegate *self) { return 0; }
static struct delegate the_delegate = {0};
struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*error)(const char *)) {
  the_delegate.prepare = prepare;
  return &the_delegate;
}
void tflite_plugin_destroy_delegate(struct delegate *self) {}
"""


def test_a_real_delegate_library_is_loaded(tmp_path, monkeypatch):
    """The library is loaded like libedgetpu. It accepts no operator, so all operators run on the CPU."""
    source, library = tmp_path / "delegate.c", tmp_path / "libdelegate.so"
    source.write_text(DELEGATE)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler here")
    monkeypatch.setenv(shared_libraries.EDGETPU_VARIABLE, str(library))
    session = edgetpu.load(COMPILED, 1, fallback=DATA)
    assert np.abs(run(session) - ANSWER).max() < 0.02
    session.close()


def test_the_loop_reports_the_loss_and_continues(stick):
    events = []
    with open_model("probe") as model:
        model.session.close()
        model.session = stick.session()
        images = [factories.picture(seed=seed) for seed in range(6)]

        def unplug(images):
            for index, image in enumerate(images):
                stick.plugged = index < 3
                yield image
                time.sleep(0.05)

        with model.stream(unplug(images), on_event=events.append) as stream:
            answers = [tick.frame.index for tick in stream]
        assert answers == list(range(6))
        assert model.counts()["resets"] == 1
        assert model.counts()["on_cpu"] >= 1
    assert [event.kind for event in events] == ["engine", "engine"]
    assert 2 <= events[0].index <= 4
