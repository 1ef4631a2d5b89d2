"""Simulation of a disk whose power fails: only flushed data survives."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
"""Functions of `os` that change the content of the disk. Writing to a file has no effect before `fsync`."""


@contextmanager
def before_each_call(observe: Callable[[str], None]) -> Iterator[None]:
    """Call a function with the name of each call that changes the disk, before the call.

    Calls by the function itself are not observed.
    """
    inside = False

    def observed(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal inside
            if not inside:
                inside = True
                observe(name)
                inside = False
            return original(*arguments, **options)

        return call

    changed: dict[str, Any] = {name: observed(name) for name in CALLS}
    with mock.patch.multiple(os, **changed):
        yield


class Disk:
    """A folder on a disk that keeps only data that was flushed with `fsync`.

    Args:
        root: The folder. Its present content counts as flushed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._data: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, tuple[int, bool]]] = {}
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            self._flush_folder(folder)
            for path in folder.iterdir():
                if path.is_file():
                    self._data[path.stat().st_ino] = path.read_bytes()

    @contextmanager
    def observed(self, fails: Callable[[str], None]) -> Iterator[None]:
        """Track flushed data, and call a function before each call that changes the disk."""
        original = os.fsync

        def fsync(descriptor: int) -> None:
            original(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if not path.is_relative_to(self._root):
                return
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self._flush_folder(path)
            else:
                self._data[os.fstat(descriptor).st_ino] = path.read_bytes()

        with mock.patch.object(os, "fsync", fsync), before_each_call(fails):
            yield

    def flushed(self, out: Path) -> None:
        """Write the content of the disk if only flushed data survives."""
        self._build(self._root.stat().st_ino, out)

    def renamed(self, out: Path) -> None:
        """Write the content of the disk if all names survive, but no unflushed content."""
        for path in sorted(self._root.rglob("*")):
            target = out / path.relative_to(self._root)
            if path.is_dir():
                target.mkdir()
            else:
                target.write_bytes(self._data.get(path.stat().st_ino, b""))

    def _flush_folder(self, folder: Path) -> None:
        entries = {path.name: (path.stat().st_ino, path.is_dir()) for path in folder.iterdir()}
        self._entries[folder.stat().st_ino] = entries

    def _build(self, inode: int, out: Path) -> None:
        for name, (child, is_folder) in self._entries.get(inode, {}).items():
            if is_folder:
                (out / name).mkdir()
                self._build(child, out / name)
            else:
                (out / name).write_bytes(self._data.get(child, b""))
