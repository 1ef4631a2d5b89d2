"""HTTP requests to cameras, with basic and digest authentication."""

from __future__ import annotations

import base64
import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from orilla.runtime.sources.http_encoding import DecompressedResponse, decompressed, encodings_of
from orilla.runtime.sources.source import now_ns

MULTIPART = "multipart/x-mixed-replace"
"""Content type of a stream of images."""

MAX_BYTES = 64 << 20
"""Maximum size of one image in bytes."""


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
        host, path = parts.hostname or "", urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self._socket = socket.create_connection((host, parts.port or 80), timeout_s)
        self._socket.sendall(f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
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
        self._server = parts.scheme.lower(), parts.hostname, parts.port
        self._pair = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if self._pair is not None:
            passwords.add_password(None, urlunsplit(parts._replace(netloc=_host(url), path="/")), *self._pair)
        self._digest = urllib.request.AbstractDigestAuthHandler(passwords)

    def answer(self, challenges: list[str], address: str) -> str | None:
        """Return the value of the header field `Authorization`, or None if the challenges cannot be answered.

        Args:
            challenges: Values of the header fields `WWW-Authenticate`. Digest authentication is preferred.
            address: Address of the request. A server other than that of the URL does not get the password.
        """
        parts = urlsplit(address)
        if self._pair is None or (parts.scheme.lower(), parts.hostname, parts.port) != self._server:
            return None
        by_scheme = {text.partition(" ")[0].lower(): text.partition(" ")[2] for text in challenges}
        if "digest" in by_scheme:
            fields = urllib.request.parse_http_list(by_scheme["digest"])
            options = urllib.request.parse_keqv_list([field for field in fields if "=" in field])
            with suppress(KeyError, ValueError):
                answer = self._digest.get_authorization(urllib.request.Request(address), options)
                if answer:
                    return f"Digest {answer}"
        if "basic" in by_scheme:
            return "Basic " + base64.b64encode(":".join(self._pair).encode()).decode()
        return None


def connect(url: str, timeout_s: float) -> Response:
    """Request a URL.

    If the server asks for a user name and a password, the URL's are sent with basic or digest authentication.

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
    request = urllib.request.Request(address)
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


class Reply(NamedTuple):
    """A complete response."""

    status: int
    headers: Message
    body: bytes
    arrived_ns: int
    """Time at which the headers arrived, on the monotonic clock, in nanoseconds."""


class KeepAlive:
    """Repeats a request over one connection, which is reopened if the server closes it.

    Args:
        url: The address, without redirections. It may contain a user name and a password.
        timeout_s: Timeout of the connection in seconds.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._address, self._timeout_s = without_user(url), timeout_s
        self._credentials = Credentials(url)
        self._challenges: list[str] = []
        self._connection: http.client.HTTPConnection | None = None

    def get(self, fields: Mapping[str, str]) -> Reply:
        """Send the request with these header fields, and return the reply.

        Raises:
            OSError: The server does not respond.
        """
        reply = self._get(fields)
        challenges = reply.headers.get_all("WWW-Authenticate", [])
        # A second rejection with the same challenge means that the password is wrong.
        if reply.status != HTTPStatus.UNAUTHORIZED or challenges == self._challenges:
            return reply
        self._challenges = challenges
        return self._get(fields)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _get(self, fields: Mapping[str, str]) -> Reply:
        again = self._connection is not None
        try:
            return self._request(fields)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            # The server may have closed the connection since the last request.
            if again and isinstance(error, ConnectionError | http.client.HTTPException):
                return self._get(fields)
            if isinstance(error, OSError):
                raise
            raise OSError(str(error) or type(error).__name__) from error

    def _request(self, fields: Mapping[str, str]) -> Reply:
        parts = urlsplit(self._address)
        if self._connection is None:
            kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
            self._connection = kind(parts.netloc, timeout=self._timeout_s)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        answer = self._credentials.answer(self._challenges, self._address)
        authorization = {"Authorization": answer} if answer else {}
        self._connection.request("GET", target, headers={**fields, **authorization})
        response = self._connection.getresponse()
        arrived_ns = now_ns()
        body = decompressed(response.read(MAX_BYTES + 1), encodings_of(response.headers), MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            msg = f"it sent an image that does not end within {MAX_BYTES} bytes"
            raise OSError(msg)
        return Reply(response.status, response.headers, body, arrived_ns)


def without_user(url: str) -> str:
    """Return a URL without its user name, password and fragment."""
    return urlunsplit(urlsplit(url)._replace(netloc=_host(url), fragment=""))


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
