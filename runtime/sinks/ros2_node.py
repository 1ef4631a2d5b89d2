"""Interface of a ROS 2 node that publishes the messages of the sink `ros2`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

DEPTH = 10
"""Depth of the message queue (a QoS setting). 10 is usual in ROS."""


@dataclass(frozen=True, slots=True)
class NodeName:
    """The name of a node, with its domain and namespace."""

    domain: int
    """Domain ID (`ROS_DOMAIN_ID`). Nodes in different domains do not see each other."""
    namespace: str
    """Namespace of the node, which begins with a slash."""
    name: str
    reliable: bool
    """True for the reliability `reliable`, False for `best_effort`."""


class Node(ABC):
    """Publishes serialised messages. A publisher is created when the first message is published on its topic."""

    @abstractmethod
    def publish(self, topic: str, type_name: str, data: bytes) -> None:
        """Publish a message.

        Args:
            topic: Full name of the topic, which begins with a slash.
            type_name: Type of the message, such as `std_msgs/msg/String`.
            data: The message in the format CDR.

        Raises:
            OutputError: The message cannot be sent.
        """

    @abstractmethod
    def close(self) -> None:
        """Remove the node from the graph of nodes."""
