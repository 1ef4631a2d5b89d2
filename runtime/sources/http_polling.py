"""Repeated HTTP requests of the same address over one connection."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from orilla.runtime.sources.http_encoding import decompressed, encodings_of
from orilla.runtime.sources.http_request import FIELDS, MAX_BYTES, Credentials, server_of, target_of, without_user
from orilla.runtime.sources.source import now_ns

REDIRECTIONS, MAX_REDIRECTIONS = (301, 302, 303, 307, 308), 6
"""Status codes of a redirection, and the number of redirections after which a request fails."""


class Reply(NamedTuple):
    """A complete response."""

    status: int
    headers: Message
    body: bytes
    arrived_ns: int
    """Time at which the headers arrived, on the monotonic clock, in nanoseconds."""


class KeepAlive:
    """Repeats a request over one connection, which is reopened if the server closes it.

    Redirections are followed at each request, because they may lead to different images.

    Args:
        url: The address. It may contain a user name and a password.
        timeout_s: Timeout of the connection in seconds.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._address, self._timeout_s = without_user(url), timeout_s
        self._credentials = Credentials(url)
        self._challenges: list[str] = []
        self._connection: http.client.HTTPConnection | None = None
        self._connected: tuple[str, str | None, int | None] | None = None
        """Server of the connection."""

    def get(self, fields: Mapping[str, str]) -> Reply:
        """Send the request with these header fields, and return the reply.

        Raises:
            OSError: The server does not respond.
        """
        address = self._address
        for _ in range(MAX_REDIRECTIONS):
            reply = self._authorized(address, fields)
            location = reply.headers.get("Location")
            if reply.status not in REDIRECTIONS or location is None:
                return reply
            address = without_user(urljoin(address, location))
            if urlsplit(address).scheme.lower() not in ("http", "https"):
                break
        msg = f"the server redirects to {address[:200]}"
        raise OSError(msg)

    def _authorized(self, address: str, fields: Mapping[str, str]) -> Reply:
        reply = self._get(address, fields)
        challenges = reply.headers.get_all("WWW-Authenticate", [])
        # A second rejection with the same challenge means that the password is wrong.
        if reply.status != HTTPStatus.UNAUTHORIZED or challenges == self._challenges:
            return reply
        self._challenges = challenges
        return self._get(address, fields)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _get(self, address: str, fields: Mapping[str, str]) -> Reply:
        if self._connected != server_of(address):
            self.close()
        again = self._connection is not None
        try:
            return self._request(address, fields)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            # The server may have closed the connection since the last request.
            if again and isinstance(error, ConnectionError | http.client.HTTPException):
                return self._get(address, fields)
            if isinstance(error, OSError):
                raise
            raise OSError(str(error) or type(error).__name__) from error

    def _request(self, address: str, fields: Mapping[str, str]) -> Reply:
        parts = urlsplit(address)
        if self._connection is None:
            kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
            self._connection, self._connected = kind(parts.netloc, timeout=self._timeout_s), server_of(address)
        answer = self._credentials.answer(self._challenges, address)
        authorization = {"Authorization": answer} if answer else {}
        self._connection.request("GET", target_of(address), headers={**FIELDS, **fields, **authorization})
        response = self._connection.getresponse()
        arrived_ns = now_ns()
        body = decompressed(response.read(MAX_BYTES + 1), encodings_of(response.headers), MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            msg = f"it sent an image that does not end within {MAX_BYTES} bytes"
            raise OSError(msg)
        return Reply(response.status, response.headers, body, arrived_ns)
