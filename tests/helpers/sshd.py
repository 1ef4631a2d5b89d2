"""A real sshd on the loopback interface. Each login runs a script that the test provides."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""Path of sshd. None if it is not installed (`apt install openssh-server`)."""


class Server:
    """Server that runs until it is stopped. It writes a client configuration with the host names `board` and `other`.

    Args:
        folder: Folder for its keys and its log.
        entry: Shell script that each login runs. `$SSH_ORIGINAL_COMMAND` contains the requested command.
    """

    def __init__(self, folder: Path, entry: str) -> None:
        self.folder, self.port, self.config = folder, free_port(), folder / "config"
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "key.pub", folder / "authorized")
        script = folder / "entry.sh"
        script.write_text(f"#!/bin/sh\n{entry}\n")
        script.chmod(0o755)
        lines = (
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host",
            f"AuthorizedKeysFile {folder}/authorized",
            f"PidFile {folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            f"ForceCommand {script}",
        )
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        self.trust((folder / "host.pub").read_text())
        self.log_in_with(folder / "key")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(parents=True, exist_ok=True)
        assert SSHD is not None
        command = [SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
        self._process = subprocess.Popen(command)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError((folder / "log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def trust(self, key: str) -> None:
        """Write a host key into the client's list of known hosts. An empty key removes the entry."""
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {key}" if key else "")

    def log_in_with(self, key: Path) -> None:
        """Write the client configuration so that the client logs in with the given key."""
        self.config.write_text(
            f"Host board other\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.folder}/known\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )


def a_board(folder: Path) -> Server:
    """Return a server. Its logins use a separate home folder and the tests' Python, which has all packages."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("sshd is not installed: apt install openssh-server")
    for name in ("home", "bin"):
        (folder / name).mkdir()
    python = folder / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    search = f"{folder}/bin:/usr/bin:/bin"
    entry = f'export HOME={folder}/home PATH={search} ORILLA_NO_TUNED=1\nexec sh -c "$SSH_ORIGINAL_COMMAND"'
    return Server(folder, entry)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
