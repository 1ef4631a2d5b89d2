"""A node of ROS 2 that publishes messages, as the sink `ros2` needs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

DEPTH = 10
"""Number of messages that a subscriber is asked to keep, as is usual in ROS."""


@dataclass(frozen=True, slots=True)
class NodeName:
    """The name of a node, and where it is."""

    domain: int
    """Number of the domain, `ROS_DOMAIN_ID`. Nodes of different domains do not see each other."""
    namespace: str
    """Namespace of the node, which begins with a slash."""
    name: str
    reliable: bool
    """True for the reliability `reliable`, False for `best_effort`."""


class Node(ABC):
    """Publishes serialised messages. A publisher is created with the first message of its topic."""

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
