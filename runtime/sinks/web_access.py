"""Access rules of the sink `web`: the token, and the host names under which browsers may open the page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from orilla.devices.errors import ConfigError
from orilla.runtime.sinks.address import Address

TOKEN_VARIABLE = "ORILLA_WEB_TOKEN"
"""Environment variable with the token."""

SHORTEST_TOKEN = 8
"""Minimum length of a token in characters. A shorter one could be guessed."""

GENERATED_BYTES = 16
"""Number of random bytes of a generated token."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules that each request must meet."""

    names: frozenset[str]
    """Accepted host names of this machine, in lower case. IP addresses are always accepted."""
    token: str | None = field(default=None, repr=False)
    """Token that viewers must send. None if only this machine can reach the server and no token was given."""
    is_generated: bool = False
    """True if the token was generated and must therefore be shown to the user."""

    @property
    def cookie(self) -> str:
        """Return the value of the cookie that replaces the token in later requests. It does not contain the token."""
        assert self.token is not None
        return hashlib.sha256(b"orilla web " + self.token.encode()).hexdigest()

    def allows_host(self, header: str | None) -> bool:
        """Return True if the header `Host` of a request is an IP address or a known name.

        A page of another site can make its own host name resolve to this machine (DNS rebinding). The browser then
        sends that name.
        """
        host = (header or "").strip().lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
        with suppress(ValueError):
            ipaddress.ip_address(host)
            return True
        return host.rstrip(".") in self.names

    def allows_token(self, given: str | None) -> bool:
        """Return True if the token of a request is correct. The comparison takes constant time."""
        return self.token is None or _equal(given, self.token)

    def allows_cookie(self, given: str | None) -> bool:
        """Return True if the cookie of a request is correct."""
        return self.token is None or _equal(given, self.cookie)

    def url(self, host: str, port: int) -> str:
        """Return the URL of the page for the user. It contains the token only if it was generated.

        Args:
            host: IP address on which the server listens.
            port: Port on which the server listens.
        """
        place = Address(_reachable(host), port)
        query = f"?token={quote(self.token or '', safe='')}" if self.is_generated else ""
        return f"http://{place}/{query}"


def open_access(host: str, token_file: str | None, name: str | None, *, is_local: bool) -> Access:
    """Return the rules for a server.

    Args:
        host: Name or address of the server that the user gave.
        token_file: File whose first line is the token. If None, the environment variable is used.
        name: Additional host name of this machine, or None.
        is_local: True if only this machine can reach the server. It then needs no token.

    Raises:
        ConfigError: The token cannot be read, or is too short.
    """
    token = _given_token(token_file)
    is_generated = token is None and not is_local
    if is_generated:
        token = secrets.token_urlsafe(GENERATED_BYTES)
    names = {"localhost", host.lower(), *([name.lower()] if name else [])}
    if not is_local:
        own = socket.gethostname().lower()
        names |= {own, f"{own.partition('.')[0]}.local"}
    return Access(frozenset(names), token, is_generated)


def _given_token(token_file: str | None) -> str | None:
    """Return the token from the file or the environment, or None if there is none."""
    if token_file is None:
        token, place = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
        if not token:
            return None
    else:
        place = f"token_file={token_file}"
        try:
            token = Path(token_file).read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not a text file"
            msg = f"cannot read {place}: {reason}"
            raise ConfigError(msg) from error
    if len(token) < SHORTEST_TOKEN:
        msg = f"the token in {place} has {len(token)} characters: give at least {SHORTEST_TOKEN}"
        raise ConfigError(msg)
    return token


def _equal(given: str | None, expected: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _reachable(host: str) -> str:
    """Return an address that other machines can open: for `0.0.0.0` and `::`, one of this machine's addresses."""
    if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return host
    # Connecting a UDP socket sends nothing: the system only chooses the local address that it would use.
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # 192.0.2.1 is reserved for documentation (RFC 5737).
        return str(probe.getsockname()[0])
    return socket.gethostname()
