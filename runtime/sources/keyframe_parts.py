"""Join the parts of a keyframe that FFmpeg's demuxer returns as separate frames."""

from __future__ import annotations

from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream


class KeyframeParts:
    """Joins the parts of a keyframe.

    Some RTSP servers (GStreamer's `rtph264pay config-interval=-1` with several slices) send the parameter sets before
    each slice of a keyframe. FFmpeg then returns each slice as a separate packet, and all of them have the same
    presentation time. Complete keyframes show the number of parts. Only keyframes are held back until they are
    complete.
    """

    def __init__(self) -> None:
        self._held: list[Packet[VideoStream]] = []
        self._count: int | None = None
        self._begun = self._whole = False
        """`_begun` is True after the first frame. `_whole` is True if the held keyframe was received from its
        beginning: the first keyframe may lack parts, because the connection may begin in the middle of it."""
        self._passed: tuple[int, int | None] = 0, None
        """Number of parts of the last keyframe that was returned, and its presentation time."""

    def push(self, packet: Packet[VideoStream]) -> list[Packet[VideoStream]]:
        """Return the packets that are complete, in order."""
        done = []
        if self._held and (packet.pts != self._held[0].pts or not packet.is_keyframe):
            if self._whole:
                self._count = max(self._count or 1, len(self._held))
            done, self._begun = [self._joined()], True
        if not packet.is_keyframe or packet.pts is None:
            self._begun = self._begun or not packet.is_keyframe
            return [*done, packet]
        passed, pts = self._passed
        if pts == packet.pts:
            # This keyframe has more parts than expected. It is damaged, but the next keyframes will be joined
            # correctly.
            self._count, self._passed = passed + 1, (passed + 1, pts)
            return [*done, packet]
        self._whole = self._whole if self._held else self._begun
        self._held.append(packet)
        return [*done, self._joined()] if len(self._held) == self._count else done

    def _joined(self) -> Packet[VideoStream]:
        held, self._held = self._held, []
        self._passed = len(held), held[0].pts
        if len(held) == 1:
            return held[0]
        joined: Packet[Any] = Packet(b"".join(map(bytes, held)))
        joined.time_base = held[0].time_base
        joined.pts, joined.dts, joined.is_keyframe = held[0].pts, held[0].dts, True
        joined.is_corrupt = any(packet.is_corrupt for packet in held)
        return joined
