"""Find the end of a JPEG in a growing buffer."""

from __future__ import annotations

from orilla.runtime.preprocessing.jpeg import ALONE, EOI, MARKER, SCAN, SOI, end_of

JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG."""


class BrokenJpegError(ValueError):
    """Raised if the data is not a valid JPEG."""


class JpegScanner:
    """Finds the end of the JPEG at the start of a growing buffer.

    Segments are skipped by their length, because a segment may contain a thumbnail, which also has an end marker.
    Source: ITU-T T.81, B.1.1.
    """

    def __init__(self) -> None:
        self._position, self._in_pixels = 2, False

    def find_end(self, data: bytearray) -> int | None:
        """Return the position after the end marker, or None if it has not been received yet.

        Raises:
            BrokenJpegError: The data is not a JPEG, or another image begins before its end.
        """
        while True:
            if self._in_pixels:
                marker = MARKER.search(data, self._position)
                if marker is None:
                    self._position = max(self._position, len(data) - 1)
                    return None
                self._position, self._in_pixels = marker.start(), False
            if len(data) < self._position + 2:
                return None
            code = data[self._position + 1]
            if code == EOI[1] and data[self._position] == 0xFF:
                return self._position + 2
            if not self._skip(data, code):
                return None

    def _skip(self, data: bytearray, code: int) -> bool:
        """Skip a marker and its segment. Return False if the length of the segment has not been received yet."""
        if data[self._position] != 0xFF or code in (0, SOI[1]):
            raise BrokenJpegError
        if code == 0xFF:
            self._position += 1
        elif code in ALONE:
            self._position += 2
        elif len(data) < self._position + 4:
            return False
        else:
            self._position += 2 + int.from_bytes(data[self._position + 2 : self._position + 4], "big")
            self._in_pixels = code == SCAN
        return True


def is_whole(data: bytes) -> bool:
    """Return False if an encoded image is a JPEG without an end marker.

    OpenCV would fill the missing part with grey.
    """
    return not data.startswith(JPEG) or end_of(data) is not None
