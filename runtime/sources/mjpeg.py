"""A camera that sends JPEG after JPEG over HTTP (`multipart/x-mixed-replace`), part by part.

Read here and not by FFmpeg, which probes for a second, has no time stamps, keeps the first picture's size for good and
ends at a damaged picture.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from email.message import Message
from urllib.parse import unquote, urlsplit, urlunsplit

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.native import hidden_stderr
from orilla.runtime.picture import decode_picture
from orilla.runtime.sources.grab import BadFrames
from orilla.runtime.sources.source import now_ns

KIND = "multipart/x-mixed-replace"
MOST_BYTES = 64 << 20
"""Of one picture."""
LONGEST_LINE = 4096
"""Of a part's header."""

Response = http.client.HTTPResponse


class MotionJpeg:
    """Frames of one connection; stamped when the first byte of a picture has arrived."""

    live = True
    rate_hz: float | None = None

    def __init__(self, name: str, response: Response, timeout_s: float) -> None:
        self._name, self._response, self._timeout_s = name, response, timeout_s
        self._bad = BadFrames(name)
        self._boundary = _boundary(response.headers)
        self._begun = False
        self._index = 0

    def read(self) -> Frame | Event | None:
        try:
            headers = self._headers()
            captured_ns = now_ns()
            data = self._body(headers) if headers is not None else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError(f"{self._name} ended, or gave nothing for {self._timeout_s:g} s") from error
        if data is None:
            raise SourceError(f"{self._name} ended")
        with hidden_stderr():  # the codecs complain line by line
            image = decode_picture(data)
        index = self._index
        self._index += 1
        return self._bad.checked(index, image, captured_ns)

    def close(self) -> None:
        self._response.close()

    def _headers(self) -> dict[str, str] | None:
        """The header of the next part; None at the end."""
        while not self._begun:
            line = self._line()
            if not line:
                return None
            self._begun = line.startswith(self._boundary)
        self._begun = False
        headers: dict[str, str] = {}
        while (line := self._line().strip()) and len(headers) < 64:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _body(self, headers: dict[str, str]) -> bytes | None:
        if "content-length" in headers:
            length = int(headers["content-length"])
            if not 0 <= length <= MOST_BYTES:
                raise ValueError(f"a picture of {length} bytes")
            data = self._response.read(length)
            return data if len(data) == length else None
        lines: list[bytes] = []
        size = 0
        while not (line := self._response.readline()).startswith(self._boundary):
            size += len(line)
            if not line or size > MOST_BYTES:
                return None
            lines.append(line)
        self._begun = True  # the boundary that ends this part begins the next
        return b"".join(lines)

    def _line(self) -> bytes:
        return self._response.readline(LONGEST_LINE)


def connect(url: str, timeout_s: float) -> Response:
    """Asks for a URL, with the user and password in it where the server wants some (basic or digest).

    Raises:
        OSError: nothing there, or refused.
    """
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(passwords), urllib.request.HTTPDigestAuthHandler(passwords)
    )
    try:
        response: Response = opener.open(bare, timeout=timeout_s)
    except (http.client.HTTPException, ValueError) as error:
        raise urllib.error.URLError(str(error)) from error
    return response


def _boundary(headers: Message) -> bytes:
    """What each part begins with. Some cameras name it with the two dashes that stand before it, some without."""
    named = headers.get_param("boundary") or ""
    return b"--" + str(named).strip('"').removeprefix("--").encode("latin-1", "replace")
