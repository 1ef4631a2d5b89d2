"""A connection to an MQTT broker. While the broker is unreachable, it keeps messages in memory, in order.

paho-mqtt reconnects by itself, and then resends its unacknowledged messages. New messages must not overtake these.
Therefore, this module passes only a limited number of messages to paho at a time. After a reconnection, it passes new
messages only when the first resent message has been acknowledged. All other messages are queued in this module, up to
a maximum number of bytes.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.address import Address
from orilla.runtime.sinks.mqtt_message import OFFLINE, ONLINE, Message
from orilla.runtime.sinks.mqtt_reasons import connection_reason, refusal_reason
from orilla.runtime.sinks.sink import Setup

WINDOW = {0: 100, 1: 100, 2: 20}
"""Maximum number of unacknowledged messages that paho may hold, by QoS. For QoS 2, brokers limit this number, usually
to 20 or more."""

CONNECT_S = 5.0
"""Time in seconds within which the broker must accept a connection."""

FLUSH_S = 4.0
"""Time in seconds within which waiting messages must be delivered at the end of the loop."""

FIRST_WAIT_S, MAX_WAIT_S = 1, 30
"""First and longest waiting time between two attempts to connect, in seconds."""

WAIT_S = 0.1
"""Interval in seconds at which a blocked thread checks whether the loop has ended."""


@dataclass(frozen=True, slots=True)
class Login:
    """Settings for connecting to a broker."""

    address: Address
    client_id: str
    """Name by which the broker identifies this program. Two programs with the same name disconnect each other."""
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None
    """Settings of the encryption. If None, the connection is not encrypted."""
    keepalive_s: int
    qos: int
    """Quality of service, 0–2."""
    status_topic: str
    """Topic that always contains `online` or `offline`."""


class Broker:
    """Delivers messages to a broker in order.

    Args:
        login: Settings for connecting.
        setup: Description of the loop. Its `report` is called when the connection is lost or restored.
        capacity: Maximum number of bytes of queued messages.

    Raises:
        OutputError: There is no connection to the broker. The message states the reason.
    """

    def __init__(self, login: Login, setup: Setup, capacity: int) -> None:
        self._login, self._setup, self._capacity = login, setup, capacity
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        self._first: deque[Message] = deque()
        """Messages that are sent before the queued ones, such as the retained messages after each connection."""
        self._retained = {login.status_topic: Message(login.status_topic, ONLINE.encode(), retain=True)}
        """Retained messages by topic. They are sent after each connection, because the broker may have lost them."""
        self._news: deque[str] = deque()
        self._unacknowledged = 0
        self._connected = self._ready = self._ended = self._stopped = False
        self._refused: str | None = None
        self._lost = "the broker closed the connection"
        self._was_connected = False
        self._client = self._new_client(clean_session=login.qos < 2)
        self._connect()
        self._thread = threading.Thread(target=self._run, name="orilla-mqtt", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message. Block while the queue is full or, for QoS 0, while the broker is unreachable.

        Raises:
            OutputError: The loop ended while this method was blocked.
        """
        with self._changed:
            while not self._has_room(message):
                if self._setup.closing.is_set():
                    raise OutputError(self._undelivered(1 + self._pending))
                self._changed.wait(WAIT_S)
            self._waiting.append(message)
            self._bytes += message.size
            self._changed.notify_all()

    def keep(self, messages: list[Message]) -> None:
        """Send retained messages now and after each reconnection."""
        with self._changed:
            self._retained.update({message.topic: message for message in messages})
            self._first.extend(messages)
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver the queued messages, publish `offline`, and disconnect.

        Raises:
            OutputError: Messages could not be delivered in time.
        """
        with self._changed:
            self._ended = True
            self._wait_for(lambda: not self._pending, FLUSH_S)
            left = self._pending
            if not left and self._connected:
                self._first.append(Message(self._login.status_topic, OFFLINE.encode(), retain=True))
                self._changed.notify_all()
                self._wait_for(lambda: not self._pending, 1.0)
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        self._disconnect(cleanly=not left)
        if left:
            raise OutputError(self._undelivered(left))

    @property
    def _pending(self) -> int:
        return len(self._waiting) + len(self._first) + self._unacknowledged

    def _undelivered(self, count: int) -> str:
        state = "the broker is too slow" if self._connected else self._lost
        return f"{count} messages were not delivered to {self._login.address}: {state}"

    def _has_room(self, message: Message) -> bool:
        if self._login.qos == 0:
            return self._connected and len(self._waiting) < WINDOW[0]
        return not self._waiting or self._bytes + message.size <= self._capacity

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        return self._changed.wait_for(condition, timeout_s)

    # The following methods run in the thread of this object, which passes messages to paho and reports when the
    # connection is lost or restored.

    def _run(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, str):
                self._setup.report(item)
                continue
            info = self._client.publish(item.topic, item.payload, self._login.qos, item.retain)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS and self._login.qos == 0:
                # For QoS 1 and 2, paho keeps the messages itself.
                with self._changed:
                    self._unacknowledged = max(0, self._unacknowledged - 1)
                    self._first.appendleft(item)
                    self._ready = False

    def _next(self) -> Message | str | None:
        """Wait for the next message to send or the next line to report, and return it. Return None at the end."""
        with self._changed:
            while True:
                if self._news:
                    return self._news.popleft()
                if self._stopped:
                    return None
                if self._ready and self._unacknowledged < WINDOW[self._login.qos] and (self._first or self._waiting):
                    return self._take()
                self._changed.wait()

    def _take(self) -> Message:
        self._unacknowledged += 1
        if self._first:
            return self._first.popleft()
        message = self._waiting.popleft()
        self._bytes -= message.size
        self._changed.notify_all()
        return message

    # The following methods open and close the connection.

    def _new_client(self, *, clean_session: bool) -> Client:
        """Return a client that is not connected yet.

        Without a clean session, the broker remembers the state of QoS 2 messages while the connection is lost.
        """
        login = self._login
        client = Client(CallbackAPIVersion.VERSION2, login.client_id, clean_session=clean_session)
        client.connect_timeout = CONNECT_S / 2
        client.max_inflight_messages_set(WINDOW[login.qos])
        client.reconnect_delay_set(FIRST_WAIT_S, MAX_WAIT_S)
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if login.tls is not None:
            client.tls_set_context(login.tls)
            client.tls_insecure_set(login.tls.verify_mode == ssl.CERT_NONE)
        client.will_set(login.status_topic, OFFLINE, login.qos, retain=True)
        return client

    def _connect(self) -> None:
        address, client = self._login.address, self._client
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish = self._on_publish
        try:
            client.connect(address.host, address.port, self._login.keepalive_s)
        except (OSError, ValueError) as error:
            raise OutputError(connection_reason(error, address)) from error
        client.loop_start()
        with self._changed:
            self._wait_for(lambda: self._connected or self._refused is not None, CONNECT_S)
            refused = self._refused or "it does not answer; is it an MQTT broker?"
            connected = self._connected
        if not connected:
            self._disconnect(cleanly=False)
            msg = f"the MQTT broker {address} refused the connection: {refused}"
            raise OutputError(msg)

    def _disconnect(self, *, cleanly: bool) -> None:
        """Disconnect and stop paho's thread.

        If the broker does not accept more data, the connection is closed at once.
        """
        sock: Any = self._client.socket()
        self._client.disconnect()
        if not cleanly and sock is not None:
            with suppress(OSError):  # The socket may already be closed.
                sock.shutdown(socket.SHUT_RDWR)
        # paho's thread may be connecting at this moment.
        stop = threading.Thread(target=self._finish, args=(cleanly,), daemon=True)
        stop.start()
        stop.join(CONNECT_S)

    def _finish(self, cleanly: bool) -> None:  # noqa: FBT001 - the target of a thread
        """Wait for paho's thread to end. For QoS 2, also make the broker delete the session."""
        self._client.loop_stop()
        if cleanly and self._login.qos == 2:
            client = self._new_client(clean_session=True)
            client.on_connect = lambda client, *_: client.disconnect()
            with suppress(OSError):
                client.connect(*self._login.address, self._login.keepalive_s)
                client.loop_forever()

    # paho's thread calls the following methods. They must not call paho with the lock
    # of this object, because paho holds its own locks.

    def _on_connect(self, client: Client, data: Any, flags: ConnectFlags, code: ReasonCode, properties: Any) -> None:
        del data, properties
        is_new = self._login.qos == 2 and not flags.session_present and not code.is_failure
        # If the broker lost the session, it no longer knows the QoS 2 messages that it accepted before.
        again = client.drop_out_messages() if is_new else []
        with self._changed:
            if code.is_failure:
                self._refused = refusal_reason(str(code))
                if self._was_connected and self._lost != self._refused:
                    self._news.append(f"the broker {self._login.address} refuses the connection: {self._refused}")
                self._lost = self._refused
            else:
                if self._login.qos == 0 or again:
                    self._unacknowledged = 0
                self._connected, self._ready = True, not self._unacknowledged
                self._first = deque(self._retained.values())
                self._first.extend(Message(old.topic, bytes(old.payload), old.retain) for old in again)
                if self._was_connected:
                    self._news.append(f"connected to {self._login.address} again")
                self._was_connected = True
            self._changed.notify_all()

    def _on_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, code: ReasonCode, properties: Any
    ) -> None:
        del client, data, flags, properties
        with self._changed:
            was_connected, self._connected, self._ready = self._connected, False, False
            if not was_connected:
                self._refused = self._refused or (
                    "it closed the connection; it may need TLS or a client certificate (cert=FILE&key=FILE)"
                )
            elif not self._ended:
                timed_out = "alive" in str(code).lower()
                self._lost = "the broker does not answer" if timed_out else "the broker closed the connection"
                waits = "messages are kept in memory" if self._login.qos else "messages are dropped until it is back"
                self._news.append(f"lost the connection to {self._login.address}: {self._lost}; {waits}")
            self._changed.notify_all()

    def _on_publish(self, client: Client, data: Any, number: int, code: ReasonCode, properties: Any) -> None:
        del client, data, number, code, properties
        with self._changed:
            self._unacknowledged = max(0, self._unacknowledged - 1)
            self._ready = self._connected
            self._changed.notify_all()
