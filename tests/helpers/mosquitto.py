"""A real MQTT broker, mosquitto, and a subscriber that records what it receives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXECUTABLE = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a TCP port that no program uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """A broker on a free port. It keeps its messages when it is started again.

    Args:
        folder: Empty folder for the broker's files.
        lines: Additional lines of its configuration.
        port: Its port. 0 chooses a free one.
    """

    def __init__(self, folder: Path, *lines: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._config = folder / "mosquitto.conf"
        anonymous = "" if any(line.startswith("password_file") for line in lines) else "allow_anonymous true"
        text = ["persistence true", f"persistence_location {folder}/", "max_queued_messages 0", "log_type error"]
        text += [f"user {os.environ.get('USER', 'root')}", f"listener {self.port} 127.0.0.1", anonymous, *lines]
        self._config.write_text("\n".join(text) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the broker, and wait until it listens."""
        assert EXECUTABLE is not None
        self._process = subprocess.Popen([EXECUTABLE, "-c", self._config], stderr=subprocess.DEVNULL)
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "mosquitto did not start"
            time.sleep(0.01)
        pytest.fail("mosquitto does not listen")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the broker. Wait for its end if the signal ends it."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._process.wait(10)

    def forbid(self) -> None:
        """Let the broker refuse every client when it is started again."""
        text = self._config.read_text()
        self._config.write_text(text.replace("allow_anonymous true", "allow_anonymous false"))

    def forget(self) -> None:
        """Delete the messages that the stopped broker has stored."""
        (self._config.parent / "mosquitto.db").unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop the broker."""
        assert self._process is not None
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)


@contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """Run a broker. The test is skipped if mosquitto or paho-mqtt is not installed."""
    pytest.importorskip("paho.mqtt.enums", reason='paho-mqtt is not installed: pip install "orilla[mqtt]"')
    if EXECUTABLE is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    folder.mkdir(exist_ok=True)
    broker = Mosquitto(folder, *lines)
    try:
        yield broker
    finally:
        broker.stop()


class Subscriber:
    """Records all messages of a broker, even if the broker or the subscriber is temporarily disconnected."""

    def __init__(self, port: int, topic: str = "#", qos: int = 1) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"subscriber-{id(self)}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._record(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(5)

    def _record(self, message) -> None:  # type: ignore[no-untyped-def]
        self.messages.append((message.topic, message.payload))
        if message.retain:
            self.retained[message.topic] = message.payload

    def on(self, topic: str) -> list[bytes]:
        """Return the payloads that arrived on a topic."""
        return [payload for name, payload in self.messages if name == topic]

    def wait(self, topic: str, count: int, timeout_s: float = 10.0) -> list[bytes]:
        """Wait until a number of messages arrived on a topic, and return their payloads."""
        deadline = time.monotonic() + timeout_s
        while len(payloads := self.on(topic)) < count:
            assert time.monotonic() < deadline, f"{len(payloads)} of {count} messages on {topic}"
            time.sleep(0.01)
        return payloads

    def wait_for_silence(self, quiet_s: float = 0.2) -> None:
        """Wait until no more messages, such as retained ones, arrive."""
        count = -1
        while count != len(self.messages):
            count = len(self.messages)
            time.sleep(quiet_s)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def subscriber(port: int, topic: str = "#", qos: int = 1) -> Iterator[Subscriber]:
    """Record the messages of a broker."""
    recorder = Subscriber(port, topic, qos)
    try:
        yield recorder
    finally:
        recorder.close()
