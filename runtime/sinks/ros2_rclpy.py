"""A ROS 2 node that uses the installed ROS through `rclpy`."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.ros2_node import DEPTH, Node, NodeName


class RclpyNode(Node):
    """A node of the installed ROS. It has its own context, so it does not affect how the process handles signals.

    Args:
        name: Name of the node.

    Raises:
        OutputError: ROS cannot create the node.
    """

    def __init__(self, name: NodeName) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        policy = ReliabilityPolicy.RELIABLE if name.reliable else ReliabilityPolicy.BEST_EFFORT
        self._qos = QoSProfile(depth=DEPTH, reliability=policy)
        self._context = Context()
        self._publishers: dict[tuple[str, str], Any] = {}
        try:
            rclpy.init(context=self._context, domain_id=name.domain)
            self._node = rclpy.create_node(
                name.name, namespace=name.namespace, context=self._context, start_parameter_services=False
            )
        except Exception as error:
            msg = f"ROS cannot create the node {name.name}: {' '.join(str(error).split())}"
            raise OutputError(msg) from error

    def publish(self, topic: str, type_name: str, data: bytes) -> None:
        """Publish a message. Raise `OutputError` if ROS does not know its type, or cannot send it."""
        try:
            publisher = self._publishers.get((topic, type_name))
            if publisher is None:
                publisher = self._node.create_publisher(_type_of(type_name), topic, self._qos)
                self._publishers[topic, type_name] = publisher
            publisher.publish(data)
        except OutputError:
            raise
        except Exception as error:
            msg = f"ROS cannot publish on {topic}: {' '.join(str(error).split())}"
            raise OutputError(msg) from error

    def close(self) -> None:
        """Remove the node."""
        self._node.destroy_node()
        self._context.try_shutdown()


def _type_of(type_name: str) -> Any:
    package, _, name = type_name.split("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except ImportError as error:
        debian = f"ros-{os.environ.get('ROS_DISTRO', 'DISTRO')}-{package.replace('_', '-')}"
        msg = f"ROS has no package {package}: install {debian}, or use via=zenoh"
        raise OutputError(msg) from error
