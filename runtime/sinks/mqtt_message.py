"""The messages of the sink `mqtt`."""

from __future__ import annotations

from typing import NamedTuple

OVERHEAD = 300
"""Number of bytes that a queued message needs in memory in addition to its payload."""

ONLINE, OFFLINE = "online", "offline"
"""Payloads of the status topic. They state whether the loop is connected."""


class Message(NamedTuple):
    """A message for a broker."""

    topic: str
    payload: bytes
    retain: bool = False
    """True if the broker keeps the message for new subscribers."""

    @property
    def size(self) -> int:
        """Return the number of bytes that the message needs in memory."""
        return len(self.payload) + OVERHEAD
