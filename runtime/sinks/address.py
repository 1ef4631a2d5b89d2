"""The server address in the target of a sink: `HOST:PORT`, `[IPV6]:PORT`, or only the host or the port."""

from __future__ import annotations

import re
from typing import NamedTuple

from orilla.devices.errors import ConfigError

PARTS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]/@\s]+)?(?::(?P<port>\d+))?")


class Address(NamedTuple):
    """A host and a TCP port."""

    host: str
    """Name or IP address, without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Return True if the address can be reached only from this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse_address(text: str, default: Address, *, usage: str) -> Address:
    """Convert text into an address. Parts that are missing in the text are taken from a default.

    Args:
        text: The text, which may be empty or only a port.
        default: Host and port that are used if the text does not contain them.
        usage: Form of the sink's target, for error messages.

    Raises:
        ConfigError: The text is not an address, or contains a user name. If it contains a user name, the message does
            not quote the text, because a password may follow.
    """
    if "@" in text:
        msg = f"the target must not contain a user name or a password: give {usage} and the option username"
        raise ConfigError(msg)
    found = PARTS.fullmatch(f":{text}" if text.isdecimal() else text)
    if found is None or (found["port"] is not None and int(found["port"]) > 65535):
        msg = f"{text!r} is not an address: give {usage}, with a port from 1 to 65535"
        raise ConfigError(msg)
    host = (found["host"] or default.host).strip("[]")
    return Address(host, int(found["port"]) if found["port"] is not None else default.port)
