"""Sandbox of a process: protections that it enters before it reads an untrusted file.

Limits of memory, processor time and files apply on every system. A user namespace without a network, Landlock and
seccomp are used if the kernel supports them. Neither the process nor its threads can leave any of them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMITS, NETWORK, LANDLOCK, SECCOMP = "limits", "no network", "landlock", "seccomp"

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER_MODE = 38, 22, 2
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's system calls, which are the same on all architectures."""

WRITES = (
    (1, 0b1_1111_1111_0010),
    (2, 1 << 13),
    (3, 1 << 14),
)
"""Rights to change files, by the version of Landlock that introduced them: write, remove, create, refer, truncate.

Source: `linux/landlock.h`. `EXECUTE` contains bit 0. Bits 2 and 3 are the rights to read.
"""

FILE_RIGHTS = 1 << 1 | 1 << 14
"""The rights of `WRITES` that apply to a file: write and truncate."""

EXECUTE, TCP, SCOPES = 1, 0b11, 0b11
"""Landlock's rights: executing files, binding and connecting TCP sockets (version 4), and using abstract sockets of
other processes and sending them signals (version 6)."""

DENIED = {
    "x86_64": (0xC000003E, (41, 42, 43, 44, 49, 50, 57, 58, 59, 62, 101, 165, 288, 310, 311, 321, 322, 425)),
    "aarch64": (0xC00000B7, (40, 117, 129, 198, 200, 201, 202, 203, 206, 221, 242, 270, 271, 280, 281, 425)),
}
"""Identifier of each architecture, and the system calls that seccomp denies: sockets, new programs, signals to other
processes, tracing, mounting, BPF and io_uring.

Source: `linux/audit.h`, and the tables of system calls of the kernel."""

GRACE_S = 5
"""Processor time in seconds between the soft and the hard limit."""

ALLOW, DENY = 0x7FFF0000, 0x00050000 | 1
"""Results of a filter: allow, or fail with EPERM."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources that a sandboxed process may use."""

    memory_bytes: int | None
    """Address space in bytes, in addition to what the process already uses. None for no limit."""
    cpu_s: int | None
    """Processor time in seconds. None for no limit."""
    file_bytes: int | None = 0
    """Maximum size in bytes of files that it may write. 0 for no files, and None for no limit."""
    writable: tuple[Path, ...] = ()
    """Folders in which it may write."""


def enter(limits: Limits) -> list[str]:
    """Enter all protections that this system supports. Call this function before other threads start.

    Args:
        limits: What the process may use.

    Returns:
        The names of the protections in force.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    names = [LIMITS]
    if libc.unshare(NEW_USER | NEW_NETWORK) == 0:
        names.append(NETWORK)
    _limit(limits)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0:
        if _landlock(libc, limits.writable):
            names.append(LANDLOCK)
        if _seccomp(libc):
            names.append(SECCOMP)
    return names


def _limit(limits: Limits) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = None if limits.memory_bytes is None else used + limits.memory_bytes
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At its soft limit of processor time, a process gets SIGXCPU, and at the hard limit SIGKILL.
        more = GRACE_S if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
        resource.setrlimit(kind, (value, value + more))


def _landlock(libc: ctypes.CDLL, writable: Sequence[Path]) -> bool:
    """Forbid changing files outside some folders, starting programs, and using TCP. Return True if this is in force."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    writes = sum(rights for since, rights in WRITES if version >= since)
    attributes = struct.pack("=QQQ", writes | EXECUTE, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    try:
        for path in (*writable, Path(os.devnull)):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", writes if path.is_dir() else writes & FILE_RIGHTS, descriptor)
                if libc.syscall(ADD_RULE, rules, 1, ctypes.c_char_p(rule), 0) != 0:
                    return False
            finally:
                os.close(descriptor)
        return bool(libc.syscall(RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Forbid system calls that no engine needs. Return True if this is in force."""
    known = DENIED.get(platform.machine())
    if known is None or struct.calcsize("P") != 8:
        return False
    architecture, numbers = known
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, DENY), (0x20, 0, 0, 0)]
    # On x86-64, the system calls of the x32 interface have different numbers. All of them are denied.
    code += [(0x35, 0, 1, 0x40000000), (0x06, 0, 0, DENY)]
    for place, number in enumerate(numbers):
        code.append((0x15, len(numbers) - place, 0, number))
    code += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, DENY)]
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    return bool(libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.c_char_p(header), 0, 0) == 0)
