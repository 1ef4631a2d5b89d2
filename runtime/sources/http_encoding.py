"""Decompress the responses of cameras and proxies that compress them although the request does not allow it."""

from __future__ import annotations

import zlib
from email.message import Message
from typing import Any

GZIP_OR_ZLIB, RAW = 47, -15
"""Values of `wbits` for gzip or zlib, and for deflate without a header. Source: manual of zlib, `inflateInit2`."""

CHUNK = 1 << 16
"""Number of compressed bytes that are read at a time."""


def encodings_of(headers: Message) -> list[str]:
    """Return the encodings of a response's body.

    Raises:
        OSError: An encoding is not gzip or deflate.
    """
    stated = ",".join(headers.get_all("Content-Encoding", []))
    found = [name for part in stated.split(",") if (name := part.strip().lower()) and name != "identity"]
    unknown = [name for name in found if name not in ("gzip", "x-gzip", "deflate")]
    if unknown:
        msg = f"it compresses its images with {unknown[0][:40]!r}: turn compression off in the camera or the proxy"
        raise OSError(msg)
    return found


class Decompressor:
    """Decompresses a body in parts."""

    def __init__(self) -> None:
        self._zlib: Any = zlib.decompressobj(GZIP_OR_ZLIB)
        self._is_first = True

    def add(self, data: bytes, limit: int) -> bytes:
        """Return up to `limit` more bytes of the content. Call it again with no data for the rest.

        Raises:
            OSError: The data is damaged.
        """
        try:
            try:
                out: bytes = self._zlib.decompress(self._zlib.unconsumed_tail + data, limit)
            except zlib.error:
                if not self._is_first:
                    raise
                self._zlib = zlib.decompressobj(RAW)
                out = self._zlib.decompress(data, limit)
        except zlib.error as error:
            msg = f"its compressed data is damaged: {error}"
            raise OSError(msg) from error
        self._is_first = self._is_first and not out
        return out

    @property
    def has_rest(self) -> bool:
        """Return True if more content can be decompressed without more data."""
        return bool(self._zlib.unconsumed_tail)


class DecompressedResponse:
    """A response whose body is decompressed while it arrives.

    Args:
        response: The response of the server, with the methods of `http_request.Response`.
    """

    def __init__(self, response: Any) -> None:
        self._response, self._body = response, Decompressor()
        self.headers: Message = response.headers
        self.url: str = response.url

    def read1(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes as soon as some have arrived, or no bytes at the end."""
        limit = count if count > 0 else CHUNK
        while True:
            data = b"" if self._body.has_rest else self._response.read1(CHUNK)
            if not data and not self._body.has_rest:
                return b""
            if out := self._body.add(data, limit):
                return out

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


def decompressed(body: bytes, encodings: list[str], limit: int) -> bytes:
    """Return a complete body after decompression, at most `limit` bytes. Raises `OSError` if it is damaged."""
    for _ in encodings:
        body = Decompressor().add(body, limit)
    return body
