"""HTTP requests to cameras, with basic and digest authentication."""

from __future__ import annotations

import base64
import http.client
import socket
import string
import urllib.error
import urllib.request
from email.message import Message
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from orilla.runtime.sources.http_digest import Digest, challenges_of
from orilla.runtime.sources.http_encoding import DecompressedResponse, encodings_of

MULTIPART = "multipart/x-mixed-replace"
"""Content type of a stream of images."""

MAX_BYTES = 64 << 20
"""Maximum size of one image in bytes."""

FIELDS = {"User-Agent": "Orilla", "Accept": "*/*"}
"""Header fields of each request. Some servers reject requests without these fields, or with Python's default fields."""


class Response(Protocol):
    """Interface of a server's response: the methods that the sources use."""

    headers: Message

    def read1(self, count: int = ..., /) -> bytes:
        """Return up to `count` bytes as soon as some have arrived, or no bytes at the end."""

    def close(self) -> None:
        """Close the connection."""


class HeadlessResponse:
    """A response without status line and headers, as the firmware of some small cameras sends it.

    Args:
        url: The address, with the scheme `http`.
        timeout_s: Timeout of the connection in seconds.

    Raises:
        OSError: The server does not respond.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s)
        self._socket.sendall(f"GET {target_of(url)} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        self.headers = Message()
        self.headers["Content-Type"] = MULTIPART

    def read1(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes as soon as some have arrived, or no bytes at the end."""
        return self._socket.recv(count)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Credentials:
    """Answers the authentication challenges of one server with the user name and password in a URL.

    Args:
        url: Address that may contain a user name and a password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = server_of(url)
        self._pair = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        self._digest = None if self._pair is None else Digest(*self._pair)

    def answer(self, fields: list[str], address: str) -> str | None:
        """Return the value of the header field `Authorization`, or None if the challenges cannot be answered.

        Args:
            fields: Values of the header fields `WWW-Authenticate`. Digest authentication is preferred.
            address: Address of the request. A server other than that of the URL does not get the password.
        """
        if self._pair is None or self._digest is None or server_of(address) != self._server:
            return None
        challenges = challenges_of(fields)
        for scheme, options in challenges:
            if scheme == "digest" and (answer := self._digest.answer(options, target_of(address))):
                return answer
        if any(scheme == "basic" for scheme, _ in challenges):
            return "Basic " + base64.b64encode(":".join(self._pair).encode()).decode()
        return None


def connect(url: str, timeout_s: float) -> Response:
    """Request a URL.

    If the server asks for a user name and a password, those in the URL are sent with basic or digest authentication.

    Raises:
        OSError: The server does not respond, or rejects the request.
    """
    address = without_user(url)
    try:
        try:
            return _response(address, timeout_s)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise
            challenges = error.headers.get_all("WWW-Authenticate", [])
            answer = Credentials(url).answer(challenges, error.url)
            if answer is None:
                raise
            return _response(error.url, timeout_s, answer)
    except urllib.error.HTTPError as error:
        msg = f"the server responded with {error.code} {error.reason}"
        raise OSError(msg) from error
    except http.client.BadStatusLine as error:
        if not address.lower().startswith("http:"):
            raise OSError(str(error)) from error
        return HeadlessResponse(address, timeout_s)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error)) from error


def _response(address: str, timeout_s: float, authorization: str | None = None) -> Response:
    request = urllib.request.Request(address, headers=FIELDS)
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)
    response: Response = urllib.request.build_opener().open(request, timeout=timeout_s)
    try:
        encodings = encodings_of(response.headers)
    except OSError:
        response.close()
        raise
    for _ in encodings:
        response = DecompressedResponse(response)
    return response


def without_user(url: str) -> str:
    """Return a URL without its user name, password and fragment, and with all characters in ASCII."""
    parts = urlsplit(url)
    path, query = (quote(text, safe=string.punctuation) for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, query, ""))


def server_of(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, the host and the port of a URL."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname, parts.port


def target_of(address: str) -> str:
    """Return the path and the query of an address."""
    parts = urlsplit(address)
    return urlunsplit(("", "", parts.path or "/", parts.query, ""))
