"""Open a video file with PyAV, choose its video stream, and explain why a file cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import av.logging
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from orilla.devices.cores import available_cores, loop_threads
from orilla.devices.errors import SourceError
from orilla.devices.names import readable
from orilla.runtime.sources.av_frames import reason_of

PROTOCOLS = "file,subfile,crypto,data"
"""Protocols with which a file may refer to other files, as playlists do. No file may open a network connection."""

PLAYLISTS = frozenset({"hls", "concat", "dash", "imf", "webm_dash_manifest", "vobsub", "sdp", "rtsp", "rtp", "sap"})
"""FFmpeg's formats whose content names other files or addresses, which FFmpeg would open. They are rejected, because a
file must not determine which other files are read."""

TEXT_FORMATS = ("tty", "bin", "xbin", "adf", "idf")
"""FFmpeg's formats that draw the characters of a text file."""

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
"""Flags of a video stream that contains a cover or thumbnails."""

ENCRYPTED = ("encv", "drmi")
"""Sample entries of encrypted video in MP4. Source: ISO/IEC 14496-12, 8.12, and Apple's FairPlay."""

KNOWN_HEADS = (
    (b"<!doctype html", "an HTML page, not a video: download the video itself"),
    (b"<html", "an HTML page, not a video: download the video itself"),
    (b"version https://git-lfs", "a pointer of Git LFS, not a video: run git lfs pull"),
    (b"#extm3u", "a playlist, not a video: give the address of the stream"),
    (b"ffconcat", "a playlist, not a video: give the files that it lists"),
    (b"%pdf", "a PDF document, not a video"),
    (b"pk\x03\x04", "a ZIP archive, not a video: unpack it"),
    (b"\x1f\x8b", "a gzip archive, not a video: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, not a video: unpack it"),
    (b"rar!", "a RAR archive, not a video: unpack it"),
)
"""First bytes, in lower case, of files that users often mistake for videos, each with a description."""

RAW_SUFFIXES = (".yuv", ".rgb", ".raw", ".nv12", ".i420")

MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""Types of the first box of an MP4 or MOV file."""

ONE_TO_ONE = ("h264", "hevc", "vvc", "av1", "vp9", "mpeg1video", "mpeg2video")
"""Codecs whose packets each contain exactly one displayed frame, and whose decoders drop damaged frames without an
error. Packets of other codecs may contain no frame, or their decoders report each error."""

MJPEG = "mjpeg"
"""Codec whose frames are JPEGs. FFmpeg does not report most damage in them."""

PLAYLIST = "hls"
"""FFmpeg's format of a playlist (HLS), whose parts are separate files on a server."""

NO_TIMES, CLOCK_RESTARTS = 0x0080, 0x0200
"""Flags of container formats. `NO_TIMES`: files contain no presentation times. `CLOCK_RESTARTS`: the clock may restart
within a file. Source: `AVFMT_NOTIMESTAMPS` and `AVFMT_TS_DISCONT` of FFmpeg."""

DECODING_ORDER = ("avi", "asf")
"""Formats for which FFmpeg reads only decoding times. For H.264, it derives presentation times from the order in which
the frames are decoded. These times are wrong for B-frames, which are shown in a different order."""

MAX_BOXES = 100_000
"""Maximum number of boxes of an MP4 file that are searched for the index."""


def open_container(path: Path) -> InputContainer:
    """Open a video file.

    Raises:
        SourceError: The file cannot be read, or is not a video.
    """
    name = readable(str(path))
    _check_content(path, name)
    try:
        container = _open(f"file:{path}")
    except (av.FFmpegError, ValueError) as error:
        kind, start = cut_box(path) or (b"", 0)
        if kind != b"moof":
            _refuse(path, name, error)
        try:  # The fragments before the incomplete one are complete.
            container = _open(f"subfile,,start,0,end,{start},,:file:{path}")
        except (av.FFmpegError, ValueError):
            _refuse(path, name, error)
    if container.format.name in TEXT_FORMATS:
        container.close()
        msg = f"{name} is a text file, not a video"
        raise SourceError(msg)
    return container


def _open(address: str) -> InputContainer:
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": _formats()}
    return av.open(address, container_options=options, metadata_errors="ignore")


@cache
def _formats() -> str:
    """Return the formats that a file may have, separated by commas, as FFmpeg's option requires."""
    return ",".join(sorted(av.formats_available - PLAYLISTS))


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the video stream of a container, ready to be decoded on the cores that the loop leaves free.

    If there are several, the largest of the default streams is returned, or the largest one if there is no default.

    Args:
        container: An opened file or stream.
        name: Name of the file in messages.

    Raises:
        SourceError: There is no video, or it cannot be decoded.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & PICTURES]
    if not streams:
        msg = f"{name} has no video: {_contents(container)}"
        raise SourceError(msg)
    defaults = [stream for stream in streams if stream.disposition & Disposition.default]
    stream = max(defaults or streams, key=_rank)
    codec = stream.codec_context
    described = codec.codec_tag if codec is not None else _codec_name(container, stream)
    if any(mark in described for mark in ENCRYPTED):
        raise encrypted(name)
    if codec is None:
        msg = f"{name} is coded as {described}, which PyAV cannot decode: {converted(name)}"
        raise SourceError(msg)
    # Without a limit, FFmpeg decodes on all cores, which would slow inference down. A decoder that works on several
    # frames at once does not report which of them is damaged. It is therefore allowed only if `MissingFrames` can
    # detect missing frames.
    codec.thread_count = max(1, available_cores() - loop_threads())
    codec.thread_type = "AUTO" if codec.codec.canonical_name in ONE_TO_ONE else "SLICE"
    return stream


def _rank(stream: VideoStream) -> tuple[bool, int]:
    """Return a sort key for streams: False for a still picture, then the number of pixels.

    An animated AVIF file also contains a still picture.
    """
    codec = stream.codec_context
    return stream.frames != 1, 0 if codec is None else codec.width * codec.height


def encrypted(name: str) -> SourceError:
    """Return the error for a file with copy protection."""
    return SourceError(f"{name} is encrypted (DRM), so it cannot be decoded: use a file without copy protection")


def converted(name: str) -> str:
    """Return advice to convert a file, with the command."""
    return f"convert it, for example with ffmpeg -i {name} -c:v libx264 -pix_fmt yuv420p {Path(name).stem}-h264.mp4"


def _check_content(path: Path, name: str) -> None:
    """Raise `SourceError` if the file cannot be read, is empty, or is known not to be a video."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        msg = f"cannot read {name}: {error.strerror or error}"
        raise SourceError(msg) from error
    if not head:
        msg = f"{name} is empty"
        raise SourceError(msg)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for known, what in KNOWN_HEADS:
        if start.startswith(known):
            msg = f"{name} is {what}"
            raise SourceError(msg)


def _refuse(path: Path, name: str, error: Exception) -> NoReturn:
    """Raise `SourceError` with the reason why FFmpeg did not open a file."""
    with path.open("rb") as file:
        boxes = {kind: end for kind, _, end in _boxes(file)}
        size = file.seek(0, 2)
    if boxes and b"moov" not in boxes:
        cut = max(boxes.values()) > size
        msg = (
            f"{name} has no index (`moov`): "
            + (
                "the end of the file is missing, so copy or download it again"
                if cut
                else "the recording was not finished"
            )
            + ", or repair it with a tool such as untrunc"
        )
    elif isinstance(error, av.EOFError):
        msg = f"{name} contains no frames: the file was cut off, or the recording was not finished"
    elif path.suffix.lower() in RAW_SUFFIXES:
        example = "ffmpeg -f rawvideo -pix_fmt yuv420p -video_size 640x480 -framerate 30"
        msg = f"{name} is raw video without a header: convert it, for example with {example} -i {name} out.mp4"
    elif isinstance(error, av.DecoderNotFoundError | av.DemuxerNotFoundError | av.PatchWelcomeError):
        msg = f"{name} cannot be read ({reason_of(error)}): {converted(name)}"
    else:
        msg = f"{name} is not a video, or is damaged: {reason_of(error)}"
    raise SourceError(msg) from error


def cut_box(path: Path) -> tuple[bytes, int] | None:
    """Return the type and the start of the last box of an MP4 file if the file ends within it.

    Return None for a complete file, and for a box that contains neither frames nor the index of a fragment.
    """
    with path.open("rb") as file:
        *_, (kind, start, end) = (b"", 0, 0), *_boxes(file)
        size = file.seek(0, 2)
    return (kind, start) if kind in (b"moof", b"mdat") and end > size else None


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, the start and the end of each box of an MP4 file. Yield nothing for other files.

    Source: ISO/IEC 14496-12, 4.2.
    """
    place = 0
    for number in range(MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8 or (not number and head[4:8] not in MP4_BOXES):
            return
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        yield head[4:8], place, place + size
        if size < 8:  # 0 means that the box ends with the file.
            return
        place += size


def _contents(container: InputContainer) -> str:
    """Describe the streams of a container without video."""
    codecs = [stream.codec_context.name for stream in container.streams.audio if stream.codec_context is not None]
    cover = " and a cover picture" if container.streams.video else ""
    if codecs:
        return f"it contains only audio ({', '.join(dict.fromkeys(codecs))}){cover}"
    kinds = dict.fromkeys(stream.type for stream in container.streams if stream.type != "video")
    return f"it contains {', '.join(kinds) or 'no streams'}{cover}"


def _codec_name(container: InputContainer, stream: VideoStream) -> str:
    """Return FFmpeg's name of the codec of a stream that has no decoder."""
    described: Any = container
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        lines = described.dumps_format().splitlines()
    finally:
        av.logging.set_level(level)
    marks = [line.partition("Video: ")[2] for line in lines if f"Stream #0:{stream.index}" in line]
    return (marks[0].partition(",")[0] if marks else "") or "an unknown codec"
