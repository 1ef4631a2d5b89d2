"""A ROS 2 node that works without ROS. It sends over Zenoh, with the names and attachments of `rmw_zenoh_cpp`.

Source: https://github.com/ros2/rmw_zenoh/blob/rolling/docs/design.md, and `liveliness_utils.cpp`,
`attachment_helpers.cpp` and `qos.cpp` in the same repository.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import xxhash
import zenoh
from zenoh.ext import Int64, z_serialize

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.sinks.ros2_node import DEPTH, Node, NodeName

DEFAULT_ENDPOINT = "tcp/localhost:7447"
"""Address of the Zenoh router on the same machine, which ROS nodes also use by default."""

NODE_ID = 0
"""Number of the node in its session."""

STALL_S = 2.0
"""Time in seconds within which the router must accept a message."""

OPEN_S = 3.0
"""Time in seconds within which the router must respond when the connection is opened."""

CLOSE_S = 2.0
"""Number of seconds to wait until a session has been closed. After that, it is closed in the background."""


CLOSING = "orilla-ros2-close"
"""Name of the threads that close sessions."""


class _Publisher:
    """A publisher on one topic, with its entry in the ROS graph."""

    def __init__(self, session: zenoh.Session, key: str, entry: str, *, reliable: bool) -> None:
        self._publisher = session.declare_publisher(
            key,
            congestion_control=zenoh.CongestionControl.BLOCK if reliable else zenoh.CongestionControl.DROP,
            reliability=zenoh.Reliability.RELIABLE if reliable else zenoh.Reliability.BEST_EFFORT,
        )
        self._token = session.liveliness().declare_token(entry)
        self._gid = xxhash.xxh3_128_intdigest(entry.encode()).to_bytes(16, "little")
        self._count = 0

    def put(self, data: bytes) -> None:
        self._count += 1
        self._publisher.put(data, attachment=attachment(self._count, time.time_ns(), self._gid))


class ZenohNode(Node):
    """A node that publishes over Zenoh.

    Args:
        name: Name of the node.
        endpoint: Address of a router or a peer, such as `tcp/localhost:7447`. If None, the address in `config` is used.
        config: Zenoh configuration file. If None, the default settings are used.
        hash_of: Function that returns the hash of a type.

    Raises:
        ConfigError: The file cannot be read.
        OutputError: There is no connection to the router.
    """

    def __init__(self, name: NodeName, endpoint: str | None, config: str | None, hash_of: Callable[[str], str]) -> None:
        self._name, self._hash_of = name, hash_of
        self._place = endpoint or f"the router in {config}"
        if any(thread.name == CLOSING for thread in threading.enumerate()):
            # Zenoh does not open a session before the previous one is closed.
            msg = f"the last connection to Zenoh at {self._place} is not closed yet"
            raise OutputError(msg)
        settings = _settings(endpoint, config)
        self._is_client = settings.get_json("mode") == '"client"'  # A peer may have no connections.
        try:
            self._session = zenoh.open(settings)
        except zenoh.ZError as error:
            msg = f"cannot connect to Zenoh at {self._place}: {_reason(endpoint, error)}"
            raise OutputError(msg) from error
        self._publishers: dict[tuple[str, str], _Publisher] = {}
        self._stalled = False
        self._token = self._session.liveliness().declare_token(self._entry(NODE_ID, "NN"))

    def publish(self, topic: str, type_name: str, data: bytes) -> None:
        """Publish a message. Raise `OutputError` if the router is lost, or accepts no data."""
        self._check()
        began = time.monotonic()
        try:
            self._publisher(topic, type_name).put(data)
        except zenoh.ZError as error:
            msg = f"cannot send a message to Zenoh at {self._place}: {_text(error)}"
            raise OutputError(msg) from error
        self._stalled = time.monotonic() - began > 0.9 * STALL_S
        if self._stalled:
            msg = f"Zenoh at {self._place} has accepted no data for {STALL_S:g} s"
            raise OutputError(msg)

    def close(self) -> None:
        """Close the session, which removes the node. Do not wait for a router that does not respond."""
        # Zenoh waits 10 s for a router that does not respond. The thread is not a daemon, because Python must not exit
        # while Zenoh runs in a daemon thread.
        thread = threading.Thread(target=self._close, name=CLOSING)
        thread.start()
        thread.join(0 if self._stalled else CLOSE_S)

    def _close(self) -> None:
        with suppress(zenoh.ZError):  # The router does not answer.
            self._session.close()  # type: ignore[no-untyped-call]

    def _check(self) -> None:
        info = self._session.info
        if self._is_client and not info.routers_zid() and not info.peers_zid():
            msg = f"lost the connection to Zenoh at {self._place}"
            raise OutputError(msg)

    def _publisher(self, topic: str, type_name: str) -> _Publisher:
        publisher = self._publishers.get((topic, type_name))
        if publisher is None:
            dds_name, type_hash = dds_type(type_name), self._hash_of(type_name)
            number = NODE_ID + 1 + len(self._publishers)
            entry = "/".join((self._entry(number, "MP"), _mangled(topic), dds_name, type_hash, self._qos()))
            key = f"{self._name.domain}/{topic.strip('/')}/{dds_name}/{type_hash}"
            publisher = _Publisher(self._session, key, entry, reliable=self._name.reliable)
            self._publishers[topic, type_name] = publisher
        return publisher

    def _entry(self, number: int, kind: str) -> str:
        """Return the name of the liveliness token by which other nodes discover this node or one of its publishers."""
        name = self._name
        enclave, namespace = _mangled("/"), _mangled(name.namespace)
        parts = (name.domain, self._session.zid(), NODE_ID, number, kind, enclave, namespace, name.name)
        return "/".join(("@ros2_lv", *map(str, parts)))

    def _qos(self) -> str:
        """Return the quality of service in the format of `rmw_zenoh_cpp`. Settings with default values are omitted."""
        return f"{'' if self._name.reliable else 2}::,{DEPTH}:,:,:,,"


def dds_type(type_name: str) -> str:
    """Return the DDS name of a type, for example `std_msgs::msg::dds_::String_` for `std_msgs/msg/String`."""
    package, kind, name = type_name.split("/")
    return f"{package}::{kind}::dds_::{name}_"


def attachment(number: int, time_ns: int, gid: bytes) -> zenoh.ZBytes:
    """Return the attachment that `rmw_zenoh_cpp` expects with every message.

    Args:
        number: Number of the message, counted from 1 for each publisher.
        time_ns: Time since 1970 in nanoseconds.
        gid: Identifier of the publisher: the 16 bytes of the XXH3 hash of its entry in the ROS graph.
    """
    return z_serialize((Int64(number), Int64(time_ns), gid))


def _mangled(name: str) -> str:
    return name.replace("/", "%")


def _settings(endpoint: str | None, file: str | None) -> zenoh.Config:
    try:
        config = zenoh.Config.from_file(file) if file else zenoh.Config()
    except zenoh.ZError as error:
        msg = f"cannot read config={file}: {_text(error)}; pass a Zenoh configuration file (JSON5)"
        raise ConfigError(msg) from error
    wait_us = round(1e6 * STALL_S)
    config.insert_json5("transport/link/tx/queue/congestion_control/block/wait_before_close", str(wait_us))
    config.insert_json5("transport/unicast/open_timeout", str(round(1e3 * OPEN_S)))
    if endpoint is not None:
        config.insert_json5("mode", '"client"')
        config.insert_json5("connect/endpoints", json.dumps([endpoint]))
        config.insert_json5("scouting/multicast/enabled", "false")
    return config


def _reason(endpoint: str | None, error: zenoh.ZError) -> str:
    """Return the reason why the connection failed. Zenoh does not state it, so this function tries a TCP connection."""
    kind, _, address = (endpoint or "").partition("/")
    if kind != "tcp":
        return _text(error)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), OPEN_S).close()
    except ConnectionRefusedError:
        return "no program listens there; start ros2 run rmw_zenoh_cpp rmw_zenohd, or give connect=tcp/HOST:PORT"
    except TimeoutError:
        return "the host does not answer"
    except OSError as reason:
        return (reason.strerror or str(reason)).lower()
    return "the program that listens there does not answer as a Zenoh router"


def _text(error: zenoh.ZError) -> str:
    """Return Zenoh's message as one line, without the position in Zenoh's source code."""
    return " ".join(str(error).partition(" at /")[0].split())
