"""Sink that publishes each tick as ROS 2 messages, either with an installed ROS, or over Zenoh without ROS."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import msgspec

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.ros2_node import Node, NodeName
from orilla.runtime.sinks.sink import Setup, Sink

if TYPE_CHECKING:
    from orilla.runtime.sinks.ros2_messages import Message, Messages

NEEDS_TARGET = True
REOPENS = True

USAGE = "ros2:TOPIC, as in ros2:/rover/detections"

PART = "[A-Za-z](?:_?[A-Za-z0-9])*_?"
"""Pattern for the part of a ROS name between two slashes: letters, digits and single underscores."""

NAME = re.compile(f"/?{PART}(?:/{PART})*")
NAMESPACE = re.compile(f"/|(?:/{PART})+")
ENDPOINT = re.compile(r"(tcp|udp|tls|quic|ws)/(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+):\d{1,5}")

MAX_DOMAIN = 232
"""Largest domain ID that ROS allows."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    via: Literal["auto", "zenoh", "rclpy"] = "auto"
    """Transport: `rclpy` uses the installed ROS, `zenoh` works without ROS, and `auto` uses ROS if it is installed."""
    domain: int | None = None
    """Domain ID. If None, the environment variable `ROS_DOMAIN_ID` is used, or 0 if it is not set."""
    namespace: str = "/"
    node: str = "orilla"
    frame_id: str | None = None
    """Name of the camera's coordinate frame. If None, the name of the source or `camera` is used."""
    connect: str | None = None
    """Address of a Zenoh router or peer. If None, the address in `config` or the router on this machine is used."""
    config: str | None = None
    """Zenoh configuration file, for example for TLS."""
    frames: bool = False
    """True to also publish the frames with the results drawn on them."""
    qos: Literal["reliable", "best_effort"] = "reliable"

    def __post_init__(self) -> None:
        rules = (
            (not NAMESPACE.fullmatch(self.namespace), f"namespace={self.namespace}: give a name such as /rover"),
            (not re.fullmatch(PART, self.node), f"node={self.node}: use letters, digits and underscores"),
            (
                self.domain is not None and not 0 <= self.domain <= MAX_DOMAIN,
                f"domain={self.domain}: give a number from 0 to {MAX_DOMAIN}",
            ),
            (
                self.connect is not None and not ENDPOINT.fullmatch(self.connect),
                "connect must be the address of a Zenoh router, as in connect=tcp/HOST:7447",
            ),
            (
                self.via == "rclpy" and (self.connect is not None or self.config is not None),
                "connect and config need via=zenoh, because ROS has settings of its own",
            ),
        )
        for is_broken, message in rules:
            if is_broken:
                raise ValueError(message)


class Ros2(Sink):
    """Publishes the result of each tick on TOPIC and on topics below it.

    With several sources, TOPIC/SOURCE is used instead of TOPIC.
    """

    def __init__(self, node: Node, messages: Messages, topic: str, options: Options) -> None:
        self._node, self._messages, self._topic, self._options = node, messages, topic, options

    def write(self, tick: Tick) -> bool:
        """Publish one tick."""
        frame_id = self._options.frame_id or tick.source or "camera"
        for message in self._messages.of_tick(tick, frame_id, frames=self._options.frames):
            self._publish(tick.source, message)
        return True

    def event(self, event: Event) -> None:
        """Publish an event."""
        self._publish(event.source, self._messages.of_event(event))

    def close(self) -> None:
        """Remove the node."""
        self._node.close()

    def _publish(self, source: str | None, message: Message) -> None:
        data = self._messages.types.encode(message.message, message.kind)
        self._node.publish(self._topic_of(source) + message.topic, message.kind, data)

    def _topic_of(self, source: str | None) -> str:
        """Return the topic of a source. A target with `{source}` already contains its name."""
        from orilla.runtime.sinks.ros_types import ros_token

        if source is None or source in self._topic.split("/"):
            return self._topic
        return f"{self._topic}/{ros_token(source)}"


def open_sink(target: str, options: Options, setup: Setup) -> Ros2:
    """Create a node that publishes on the topic `target`. Without a leading slash, it is relative to the namespace.

    Raises:
        MissingExtraError: Zenoh or rosbags is not installed.
        ConfigError: The target, the domain ID or the settings file cannot be used.
        OutputError: There is no router, or ROS cannot create the node.
    """
    del setup
    if not NAME.fullmatch(target):
        msg = f"sink `ros2`: {target!r} is not the name of a topic: give {USAGE}, with letters, digits and underscores"
        raise ConfigError(msg)
    topic = target if target[0] == "/" else f"{options.namespace.rstrip('/')}/{target}"
    name = NodeName(_domain(options), options.namespace, options.node, options.qos == "reliable")
    try:
        from orilla.runtime.sinks.ros2_messages import Messages
    except ImportError as error:
        msg = "rosbags"
        raise MissingExtraError(msg, "ros2") from error
    messages = Messages()
    return Ros2(_node(name, options, messages), messages, topic, options)


def _node(name: NodeName, options: Options, messages: Messages) -> Node:
    """Create the node with the installed ROS or with Zenoh, as the options state."""
    has_ros = find_spec("rclpy") is not None
    if options.via == "rclpy" and not has_ros:
        msg = "sink `ros2`: rclpy is not installed: source /opt/ros/DISTRO/setup.bash first, or use via=zenoh"
        raise ConfigError(msg)
    wants_zenoh = options.via == "zenoh" or options.connect is not None or options.config is not None
    if has_ros and not wants_zenoh:
        from orilla.runtime.sinks.ros2_rclpy import RclpyNode

        return RclpyNode(name)
    try:
        from orilla.runtime.sinks.ros2_zenoh import DEFAULT_ENDPOINT, ZenohNode
    except ImportError as error:
        msg = "eclipse-zenoh"
        raise MissingExtraError(msg, "ros2") from error
    endpoint = options.connect or (None if options.config else DEFAULT_ENDPOINT)
    return ZenohNode(name, endpoint, options.config, messages.types.hash_of)


def _domain(options: Options) -> int:
    """Return the domain ID from the options or the environment."""
    if options.domain is not None:
        return options.domain
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not text.isdecimal() or int(text) > MAX_DOMAIN:
        msg = f"ROS_DOMAIN_ID={text}: give a number from 0 to {MAX_DOMAIN}"
        raise ConfigError(msg)
    return int(text)
