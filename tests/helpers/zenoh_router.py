"""A real Zenoh router or peer in a separate process. It records what it receives, as a node of ROS would."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from helpers.mosquitto import free_port

PROGRAM = """
import json, sys, threading, zenoh
port, mode = sys.argv[1:]
config = zenoh.Config()
config.insert_json5("mode", json.dumps(mode))
config.insert_json5("listen/endpoints", json.dumps([f"tcp/127.0.0.1:{port}"]))
config.insert_json5("scouting/multicast/enabled", "false")
lock = threading.Lock()

def tell(*parts):
    with lock:
        print(json.dumps(parts), flush=True)

def sample(one):
    tell("sample", str(one.key_expr), bytes(one.payload).hex(), bytes(one.attachment).hex())

def token(one):
    tell("PUT" if one.kind == zenoh.SampleKind.PUT else "DELETE", str(one.key_expr))

session = zenoh.open(config)
samples = session.declare_subscriber("*/**", sample)
tokens = session.liveliness().declare_subscriber("@ros2_lv/**", token, history=True)
tell("ready")
sys.stdin.read()
session.close()
"""


class Attachment(NamedTuple):
    """The attachment that `rmw_zenoh_cpp` reads with each message."""

    number: int
    time_ns: int
    gid: bytes

    @classmethod
    def parse(cls, data: bytes) -> Attachment:
        """Convert 33 bytes: two numbers of 64 bits, the length of the identifier, and the identifier."""
        number, time_ns, length, gid = struct.unpack("<qqB16s", data)
        assert length == len(gid)
        return cls(number, time_ns, gid)


class Sample(NamedTuple):
    """A message that was received."""

    key: str
    payload: bytes
    attachment: Attachment

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Return domain, topic, type and hash."""
        domain, *topic, type_name, type_hash = self.key.split("/")
        return domain, "/".join(topic), type_name, type_hash


class Router:
    """A router, or a peer, on a free port."""

    def __init__(self, mode: str = "router") -> None:
        self.port, self._mode = free_port(), mode
        self.samples: list[Sample] = []
        self.tokens: set[str] = set()
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.port), self._mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        assert self._ready.wait(20), "the Zenoh router did not start"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()

    def wait(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (self.tokens, [sample.key for sample in self.samples])
            time.sleep(0.01)

    def on(self, topic: str, count: int = 1) -> list[Sample]:
        """Wait until a topic has this number of messages, and return them."""
        self.wait(lambda: len(self._on(topic)) >= count)
        return self._on(topic)

    def _on(self, topic: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.parts[1] == topic]

    def _read(self, lines: Any) -> None:
        for line in lines:
            if not line.endswith("\n"):
                return  # The process was killed while it wrote.
            kind, *parts = json.loads(line)
            if kind == "sample":
                key, payload, attachment = parts
                data = Attachment.parse(bytes.fromhex(attachment))
                self.samples.append(Sample(key, bytes.fromhex(payload), data))
            elif kind == "PUT":
                self.tokens.add(parts[0])
            elif kind == "DELETE":
                self.tokens.discard(parts[0])
            else:
                self._ready.set()


@contextmanager
def zenoh_router(mode: str = "router") -> Iterator[Router]:
    """Run a router or a peer."""
    router = Router(mode)
    try:
        yield router
    finally:
        router.kill()
