"""Run a command without a network, and report which names it looks up: `python tests/helpers/lonely.py COMMAND...`.

The script needs a separate network namespace and mount namespace (`unshare -rnm`). It replaces the machine's name
server with its own, which does not answer, but records the names that are looked up.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
"""Source: netdevice(7)."""

MARK = "names looked up: "


class Ended(NamedTuple):
    """The result of a command without a network."""

    returncode: int
    stderr: str
    names: list[str]
    """Names that the process and its children looked up."""


def run_lonely(command: list[str], env: dict[str, str]) -> Ended | None:
    """Run a command in separate namespaces. Return None if this machine does not allow namespaces."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rnm", "true"], capture_output=True, check=False).returncode:
        return None
    whole = [unshare, "-rnm", sys.executable, __file__, *command]
    ended = subprocess.run(whole, capture_output=True, text=True, check=False, timeout=300, env=env)
    lines = ended.stderr.splitlines()
    names = next(line.removeprefix(MARK) for line in reversed(lines) if line.startswith(MARK))
    return Ended(ended.returncode, ended.stderr, json.loads(names))


def main(command: list[str]) -> int:
    """Run a command and write the names that it looked up to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        resolver = Path(folder, "resolv.conf")
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
        server = _name_server()
        names: list[str] = []
        threading.Thread(target=_note, args=(server, names), daemon=True).start()
        code = subprocess.run(command, check=False).returncode
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
    print(MARK + json.dumps(names), file=sys.stderr)
    return code


def _name_server() -> socket.socket:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    return server


def _note(server: socket.socket, names: list[str]) -> None:
    """Record the name in each question. Source: RFC 1035, section 4.1."""
    while True:
        question, at, labels = server.recv(512), 12, []
        while at < len(question) and question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode(errors="replace"))
            at += 1 + question[at]
        names.append(".".join(labels))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
