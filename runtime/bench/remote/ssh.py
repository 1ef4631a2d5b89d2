"""Run commands on another machine and send files to it, through the system's ssh with its configuration."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from orilla.devices.errors import ConfigError, OrillaError
from orilla.devices.progress import NoProgress, Progress

COMMAND = "ORILLA_SSH"
"""Environment variable with the command to use instead of `ssh`, for example `ssh -F FILE`."""

OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
"""Options of ssh. It asks for no password, because nobody could type one, and notices a dead connection in 15 s."""

FAILED = 255
"""Exit code of ssh itself; any other code is the command's. Source: ssh(1)."""

SHORT_S = 120.0
"""Time limit of a script that can be repeated, seconds."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before each retry after a lost connection, seconds."""

REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed: find out why, then ssh-keygen -R {host}",
    "Host key verification failed": "its host key is not known here: ssh {target} once, and compare its fingerprint",
    "Permission denied": "it rejects the login: ssh-copy-id {target}",
    "Could not resolve hostname": "there is no host with that name",
    "Connection refused": "nothing listens there: is sshd running, and is this its port?",
    "timed out": "it does not respond",
    "No route to host": "there is no route to it",
}
"""Text in ssh's messages, and what it means. The first text that occurs counts."""


class RemoteError(OrillaError):
    """A machine could not be reached, or a command failed there."""


class LostError(RemoteError):
    """The connection broke. A retry may work."""


class Remote:
    """One machine.

    Args:
        url: `ssh://[USER@]HOST[:PORT]`. HOST may be a name of `~/.ssh/config`.
        progress: Receiver of the progress; None for none.

    Raises:
        ConfigError: The URL is invalid, or ssh is not installed.
    """

    def __init__(self, url: str, progress: Progress | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            msg = f"host {url}: {error}"
            raise ConfigError(msg) from error
        if parts.scheme != "ssh" or not host or parts.path.strip("/") or parts.query or parts.password:
            msg = f"host {url}: give ssh://USER@HOST or ssh://USER@HOST:PORT"
            raise ConfigError(msg)
        if host.startswith("-") or (parts.username or "").startswith("-"):
            msg = f"host {url}: a host name cannot start with a dash"
            raise ConfigError(msg)
        self.name = host if port is None else f"{host}:{port}"
        self.host = host
        self.target = f"{parts.username}@{host}" if parts.username else host
        self._progress = progress or NoProgress()
        self._reached = False
        command = shlex.split(os.environ.get(COMMAND, "ssh"))
        if not command or shutil.which(command[0]) is None:
            msg = f"{command[0] if command else COMMAND} is not installed: sudo apt install openssh-client"
            raise ConfigError(msg)
        self._ssh = [*command, *OPTIONS, *(["-p", str(port)] if port is not None else []), self.target]

    def report(self, text: str) -> None:
        """Report what happens on this machine."""
        self._progress.message(f"{self.name}: {text}")

    def run(self, script: str, *, timeout_s: float = SHORT_S, check: bool = True) -> str:
        """Run a shell script there. After a lost connection it runs again, so it must tolerate that.

        Raises:
            RemoteError: The machine cannot be reached, or, with `check`, the script failed.
        """
        return self.again(lambda: self._once(script, None, timeout_s, check=check)).decode(errors="replace")

    def send(self, data: bytes, path: str) -> bool:
        """Send a file unless it already exists there. A transfer that was cut off is resumed.

        Args:
            data: Content of the file.
            path: Path relative to the remote home folder. Its name must identify its content.

        Returns:
            True if anything was sent.
        """
        quoted, part = (
            _quoted(path),
            _quoted(f"{path}.{self.name}.part"),
        )  # Another host name may belong to the same machine, so each sender has a file of its own.
        size = f"wc -c < {quoted} 2>/dev/null || echo 0"
        if int(self.run(f"mkdir -p {_quoted(str(Path(path).parent))}; {size}").split()[-1]) == len(data):
            return False

        def push() -> bytes:
            there = int(self._once(f"wc -c < {part} 2>/dev/null || echo 0", None, 60.0, check=True).split()[-1])
            if there > len(data):
                self._once(f"rm -f {part}", None, 60.0, check=True)
                there = 0
            if there < len(data):
                self._once(f"cat >> {part}", data[there:], 3600.0, check=True)
            return self._once(f"test $(wc -c < {part}) -eq {len(data)} && mv {part} {quoted}", None, 60.0, check=True)

        self.again(push)
        return True

    def again(self, work: Callable[[], bytes]) -> bytes:
        """Repeat an action after a lost connection, with growing pauses."""
        for pause in PAUSES_S:
            try:
                return work()
            except LostError as error:
                self.report(f"{error}; retrying in {pause:g} s")
                time.sleep(pause)
        return work()

    def _once(self, script: str, data: bytes | None, timeout_s: float, *, check: bool) -> bytes:
        try:
            ended = subprocess.run(
                [*self._ssh, f"sh -c {shlex.quote(script)}"],
                input=data if data is not None else b"",
                capture_output=True,
                timeout=timeout_s,
                check=False,
                start_new_session=True,  # This process handles Ctrl-C. It must not end ssh.
            )
        except subprocess.TimeoutExpired as error:
            if timeout_s > SHORT_S:  # The machine is slow. A retry would start the script a second time.
                msg = f"{self.name}: no answer for {timeout_s:g} s"
                raise RemoteError(msg) from error
            msg = f"no answer for {timeout_s:g} s"
            raise LostError(msg) from error
        messages = ended.stderr.decode(errors="replace")
        if ended.returncode == FAILED:
            raise self._failure(messages)
        self._reached = True
        if check and ended.returncode != 0:
            lines = [line.strip() for line in messages.splitlines() if line.strip()]
            msg = f"{self.name}: {lines[-1][:300] if lines else f'exit code {ended.returncode}'}"
            raise RemoteError(msg)
        return ended.stdout

    def _failure(self, messages: str) -> RemoteError:
        """Classify a failure of ssh: temporary, or one that must be fixed first."""
        for sign, meaning in REASONS.items():
            if sign in messages:
                summary = f"{self.name}: {meaning.format(target=self.target, host=self.host)}"
                return LostError(summary) if self._reached and "key" not in meaning else RemoteError(summary)
        lines = [line.strip() for line in messages.splitlines() if line.strip()]
        summary = lines[-1][:300] if lines else "the connection was lost"
        return LostError(summary) if self._reached else RemoteError(f"{self.name}: {summary}")


def _quoted(path: str) -> str:
    """Quote a path relative to the home folder for a shell."""
    return f'"$HOME"/{shlex.quote(path)}'
