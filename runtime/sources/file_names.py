"""Find the image and video files of a folder or of a glob, in the natural order of their names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from orilla.devices.errors import SourceError
from orilla.devices.names import readable
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf", ".ogv", ".mpg", ".mpeg"),
    *(".ts", ".m2t", ".mts", ".m2ts", ".trp", ".mpe", ".m2p", ".vob", ".mxf", ".rm", ".rmvb", ".nut", ".ivf", ".y4m"),
    *(".dv", ".qt", ".f4v", ".divx", ".ogm", ".mk3d", ".mj2", ".insv", ".lrv"),
    *(".h264", ".264", ".hevc", ".h265", ".265", ".vvc", ".266", ".vc1", ".m1v", ".m2v", ".mpv", ".mjpeg", ".mjpg"),
    *(".obu",),
)
"""Suffixes of video files in a folder."""

NUMBERED = re.compile(r"%(\d*)d")
"""Pattern of the placeholder for the number in the names of numbered images, with the number of digits."""

DIGITS = re.compile(r"(\d+)", re.ASCII)


def is_glob(text: str) -> bool:
    """Return True if a specification is a pattern such as `pictures/*.jpg`, and not the name of a file."""
    return glob.has_magic(text) and not os.path.lexists(text)


def is_numbered(text: str) -> bool:
    """Return True if a specification describes numbered images, such as `frame%04d.png`."""
    return NUMBERED.search(Path(text).name) is not None and not os.path.lexists(text)


def numbered_files(spec: str) -> list[Path]:
    """Return the files whose names contain a number in place of the placeholder, in the order of the numbers.

    Numbers may be missing, and the first number may be any.

    Raises:
        SourceError: There is no such file.
        OSError: The folder cannot be read.
    """
    path = Path(spec)
    before, digits, after = NUMBERED.split(path.name, maxsplit=1)
    pattern = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    form = f"0{int(digits or 0)}d"
    matches = [(match, file) for file in path.parent.iterdir() if (match := pattern.fullmatch(file.name)) is not None]
    files = {int(match[1]): file for match, file in matches if match[1] == format(int(match[1]), form)}
    if not files:
        msg = f"no images named {readable(spec)}"
        raise SourceError(msg)
    return [files[number] for number in sorted(files)]


def natural_key(path: Path) -> tuple[tuple[list[str | int], str], ...]:
    """Return a sort key that orders numbers in names by their value: `frame2.jpg` precedes `frame10.jpg`."""
    return tuple((_words(part), part) for part in path.parts)


def _words(name: str) -> list[str | int]:
    """Split a name into texts and numbers, which alternate, so that two results can be compared."""
    words: list[str | int] = [*DIGITS.split(name.casefold())]
    words[1::2] = [int(word) for word in words[1::2]]
    return words


def media_files(spec: str) -> tuple[Path, list[Path]]:
    """Return the images and videos of a folder, with its folders, or of a glob.

    Files with other suffixes and names that begin with a dot are omitted. A folder that cannot be listed is returned in
    place of its files, so that the source reports it.

    Returns:
        The folder to which the names of the frames are relative, and the files in natural order.

    Raises:
        SourceError: There is no image and no video.
        OSError: The folder cannot be read.
    """
    root = _root(spec)
    matches = [Path(spec)]
    if is_glob(spec):
        # Unlike `Path.glob`, `glob.glob` omits hidden files. The name of an existing folder is not a pattern.
        pattern = str(Path(spec).relative_to(root))
        matches = [root / name for name in glob.glob(pattern, root_dir=root, recursive=True)]  # noqa: PTH207
    files = {file for match in matches for file in (_walk(match) if match.is_dir() else [match]) if _is_media(file)}
    if not files:
        name = readable(spec)
        if not is_glob(spec):
            msg = f"no images or videos in {name}"
        elif matches:
            msg = f"none of the {len(matches)} files that match {name} is an image or a video"
        else:
            msg = f"no file matches {name}"
        raise SourceError(msg)
    return root, sorted(files, key=natural_key)


def _root(spec: str) -> Path:
    """Return the folder, or the part of a glob before its first placeholder."""
    path = Path(spec)
    while is_glob(str(path)):
        path = path.parent
    return path


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) or path.is_dir()


def is_video(path: Path) -> bool:
    """Return True if the suffix of a file is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it, and each folder that cannot be listed.

    Each folder is read once. Links to folders are followed last, so that each file is found under its real name.
    """
    unreadable: list[Path] = []

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        unreadable.append(Path(error.filename))

    starts, seen = [folder], set[tuple[int, int]]()
    for start in starts:  # Links are appended while the loop runs.
        for place, folders, names in os.walk(start, onerror=note):
            identity = Path(place).stat()
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if (identity.st_dev, identity.st_ino) in seen:
                folders.clear()
                continue
            seen.add((identity.st_dev, identity.st_ino))
            starts += [link for name in folders if (link := Path(place, name)).is_symlink()]
            yield from (Path(place, name) for name in names if not name.startswith("."))
    yield from unreadable
