"""The Edge TPU's session with a simulated stick: reset, absent, back again, hanging."""

import gc
import platform
import struct
import subprocess
import threading
import time
import weakref

import numpy as np
import pytest
from helpers import factories

from orilla.devices import shared_libraries
from orilla.devices.errors import BundleError, EngineError
from orilla.runtime import open as open_model
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import edgetpu, litert, loader
from orilla.runtime.preprocessing.image import prepare

PROBE = Bundle.open("probe")
DATA = PROBE.read(PROBE.manifest.variant("litert_wi8_ai8").file)
COMPILED = DATA + edgetpu.OPERATOR
"""Output of a compiler: here the CPU's file, which the interpreter accepts because of its beginning."""


real_sleep = time.sleep


class Stick:
    """Simulated stick. Its sessions work until the test changes that."""

    def __init__(self, monkeypatch):
        self.plugged, self.broken, self.opened = True, False, 0
        self.hang = threading.Event()
        self.hang.set()
        self.now, self.slow_s, self.breaks_at_once = 100.0, 0.0, False
        self.held_at_opening, self.sessions = [], []
        monkeypatch.setattr(edgetpu, "_open", self.open)
        monkeypatch.setattr(edgetpu.time, "monotonic", lambda: self.now)

    def open(self, data, threads):
        real_sleep(self.slow_s)
        if not self.plugged:
            msg = "no Edge TPU answers"
            raise EngineError(msg)
        gc.collect()
        self.held_at_opening.append(sum(one() is not None for one in self.sessions))
        self.opened, self.broken = self.opened + 1, self.breaks_at_once
        session = litert.load(DATA, threads)
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
def stick(monkeypatch):
    stick = Stick(monkeypatch)
    yield stick
    stick.hang.set()


@pytest.fixture
def message():
    return []


@pytest.fixture
def session(stick, message):
    session = edgetpu.load(COMPILED, 1, fallback=DATA)
    session.on_event = message.append
    yield session
    session.close()


PICTURE = prepare(factories.picture(), PROBE.manifest.preprocess)
ANSWER = litert.load(DATA, 1).run(PICTURE)


def test_it_answers_as_the_cpu_does(session):
    assert np.array_equal(session.run(PICTURE), ANSWER)
    assert session.engine.endswith("edgetpu")
    assert session.counts == {"resets": 0, "reopened": 0, "on_cpu": 0}


def test_after_a_reset_it_is_opened_again_and_the_frame_is_answered(session, stick, message):
    stick.broken = True
    assert np.array_equal(session.run(PICTURE), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 1, "on_cpu": 0}
    assert [text.split(":")[0] for text in message] == ["Edge TPU lost", "Edge TPU reopened"]


def test_while_it_is_unplugged_the_cpu_goes_on_and_it_comes_back(session, stick, message):
    stick.plugged = False
    for _ in range(3):
        assert np.array_equal(session.run(PICTURE), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 3}
    stick.plugged = True
    session.run(PICTURE)
    assert session.counts["on_cpu"] == 4  # it is not retried immediately
    stick.now += edgetpu.AGAIN_S[1]
    session.run(PICTURE)
    assert session.counts == {"resets": 1, "reopened": 1, "on_cpu": 4}
    assert message == [
        "Edge TPU lost: ai_edge_litert failed: Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke.",
        "the CPU takes over: no Edge TPU answers",
        "Edge TPU reopened",
    ]


def test_one_that_hangs_is_left_behind(session, stick, monkeypatch, message):
    monkeypatch.setattr(edgetpu, "WATCHDOG_S", 0.1)
    stick.hang.clear()
    began = time.perf_counter()
    assert np.array_equal(session.run(PICTURE), ANSWER)
    assert time.perf_counter() - began < 5
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 1}
    assert message == ["Edge TPU lost: no answer for 0 s; it is not used again until this program restarts"]
    stick.hang.set()
    stick.now += 1000
    assert np.array_equal(session.run(PICTURE), ANSWER)
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 2}


def test_an_opening_that_hangs_is_left_behind(session, stick, monkeypatch, message):
    monkeypatch.setattr(edgetpu, "WATCHDOG_S", 0.1)
    stick.broken = True
    stick.slow_s = 0.5
    began = time.perf_counter()
    assert np.array_equal(session.run(PICTURE), ANSWER)
    assert time.perf_counter() - began < 5
    assert session.counts == {"resets": 1, "reopened": 0, "on_cpu": 1}
    assert "it did not open in 0 s" in message[1]


def test_what_was_lost_is_let_go_before_it_is_opened_again(session, stick):
    """Libedgetpu returns the old, dead device if it is opened while the old one is held."""
    stick.broken = True
    session.run(PICTURE)
    assert stick.held_at_opening == [0, 0]


def test_one_that_fails_again_and_again_is_asked_less_and_less(session, stick, message):
    for _ in range(300):
        stick.broken = stick.breaks_at_once = True
        assert np.array_equal(session.run(PICTURE), ANSWER)
        stick.now += 1
    assert session.counts["resets"] <= 8
    assert len(message) <= 16


def test_a_wrong_input_is_no_loss(session):
    with pytest.raises(BundleError, match="prepared input"):
        session.run(np.zeros((5, 5, 3), np.uint8))
    assert session.counts["resets"] == 0


def test_without_a_model_for_the_cpu_a_loss_is_an_error(stick):
    session = edgetpu.load(COMPILED, 1)
    stick.plugged = False
    with pytest.raises(EngineError, match="there is no model for the CPU"):
        session.run(PICTURE)
    session.close()


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(EngineError, match="not compiled for the Edge TPU; run orilla edgetpu"):
        loader.load_bytes("edgetpu", DATA)


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(edgetpu, "LIBRARY", "libedgetpu-nowhere.so.1")
    with pytest.raises(EngineError, match=r"libedgetpu-nowhere.so.1 is not installed; install libedgetpu1-std"):
        loader.load_bytes("edgetpu", COMPILED)


def test_a_library_of_another_architecture_is_told(tmp_path, monkeypatch):
    other = 183 if platform.machine() == "x86_64" else 62
    library = tmp_path / "libedgetpu.so.1"
    library.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, other) + bytes(44))
    monkeypatch.setenv(shared_libraries.EDGETPU_VARIABLE, str(library))
    name = {183: "aarch64", 62: "x86_64"}[other]
    with pytest.raises(EngineError, match=rf"is built for {name}, this Python for {platform.machine()}"):
        loader.load_bytes("edgetpu", COMPILED)


DELEGATE = r"""
#include <stddef.h>
struct delegate { void *data; int (*prepare)(void *, struct delegate *); void *copy_from, *copy_to, *free_buffer;
                  long long flags; void *builder; };
static int prepare(void *context, struct delegate *self) { return 0; }
static struct delegate one = {0};
struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*error)(const char *)) {
  one.prepare = prepare;
  return &one;
}
void tflite_plugin_destroy_delegate(struct delegate *self) {}
"""


def test_a_real_delegate_library_is_loaded(tmp_path, monkeypatch):
    """The library accepts no operator, so everything stays on the CPU. It is loaded like libedgetpu."""
    source, library = tmp_path / "delegate.c", tmp_path / "libdelegate.so"
    source.write_text(DELEGATE)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler here")
    monkeypatch.setenv(shared_libraries.EDGETPU_VARIABLE, str(library))
    session = edgetpu.load(COMPILED, 1, fallback=DATA)
    assert np.abs(session.run(PICTURE) - ANSWER).max() < 0.02
    session.close()


def test_the_loop_tells_of_it_and_goes_on(stick, tmp_path, monkeypatch):
    events = []
    with open_model("probe") as model:
        model.session.close()
        model.session = edgetpu.load(COMPILED, 1, fallback=DATA)
        images = [factories.picture(seed=seed) for seed in range(6)]

        def unplug(images):
            for place, image in enumerate(images):
                stick.plugged = place < 3
                yield image
                time.sleep(0.05)

        with model.stream(unplug(images), on_event=events.append) as stream:
            answers = [tick.frame.index for tick in stream]
        assert answers == list(range(6))
        assert model.counts()["resets"] == 1
        assert model.counts()["on_cpu"] >= 1
    assert [event.kind for event in events] == ["engine", "engine"]
    assert 2 <= events[0].index <= 4
