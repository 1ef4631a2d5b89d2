"""Run commands on another machine and send files to it. The system's `ssh` command and its configuration are used."""

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
"""Environment variable with the command that is run instead of `ssh`, for example `ssh -F FILE`."""

OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
"""Options with which `ssh` never asks for a password, and detects a dead connection within 15 s."""

FAILED = 255
"""Exit code if `ssh` itself fails. Any other exit code comes from the remote command. Source: ssh(1)."""

SHORT_S = 120.0
"""Default time limit in seconds for a script. A script that reaches its time limit is retried only if the limit is at
most this long."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pause in seconds before each retry after a lost connection."""

REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed: find out why, then run ssh-keygen -R {host}",
    "Host key verification failed": "its host key is unknown here: run ssh {target} once and check the fingerprint",
    "Permission denied": "the machine rejected the login: run ssh-copy-id {target}",
    "Could not resolve hostname": "no host has this name: check the name",
    "Connection refused": "the machine refused the connection: check that sshd is running and that the port is correct",
    "timed out": "the machine does not respond: check that it is switched on and connected",
    "No route to host": "there is no network route to the machine: check the network",
}
"""Explanation of each known message of `ssh`. The first key that occurs in the output of `ssh` is used."""


class RemoteError(OrillaError):
    """Raised if a machine cannot be reached, or if a command fails on it."""


class LostError(RemoteError):
    """Raised if the connection to a machine is lost. A retry may succeed."""


class Remote:
    """Another machine that is reached over `ssh`.

    Args:
        url: URL of the machine, `ssh://[USER@]HOST[:PORT]`. HOST may be a name in `~/.ssh/config`.
        progress: Receives the progress. If None, no progress is reported.

    Raises:
        ConfigError: The URL is invalid, or `ssh` is not installed.
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
        """Report a progress message that begins with the name of the machine."""
        self._progress.message(f"{self.name}: {text}")

    def run(self, script: str, *, timeout_s: float = SHORT_S, check: bool = True) -> str:
        """Run a shell script on the machine and return its standard output.

        If the connection is lost, the script runs again. Running it twice must have the same effect as running it once.

        Args:
            script: The script.
            timeout_s: Time limit in seconds.
            check: True to raise an error if the script fails.

        Raises:
            RemoteError: The machine cannot be reached, or the script fails and `check` is True.
        """
        return self.again(lambda: self._once(script, None, timeout_s, check=check)).decode(errors="replace")

    def send(self, data: bytes, path: str) -> bool:
        """Send a file to the machine unless it is already there. An interrupted transfer is resumed.

        Args:
            data: Content of the file.
            path: Path on the machine, relative to the home folder. It must be unique for this content.

        Returns:
            True if anything was sent.
        """
        quoted, part = (
            _quoted(path),
            _quoted(f"{path}.{self.name}.part"),
        )  # Two host names may belong to the same machine, so each `Remote` has its own partial file.
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
        """Run a function. If the connection is lost, run it again after increasingly long pauses."""
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
                start_new_session=True,  # Ctrl-C must not reach `ssh`, because it would end `ssh`.
            )
        except subprocess.TimeoutExpired as error:
            if timeout_s > SHORT_S:  # The script is probably still running. A retry would start it a second time.
                msg = f"{self.name}: the machine did not respond within {timeout_s:g} s"
                raise RemoteError(msg) from error
            msg = f"the machine did not respond within {timeout_s:g} s"
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
        """Return the exception for a failure of `ssh`.

        The exception is a `LostError` if a retry may succeed: the machine was reached before, and its key is accepted.

        Args:
            messages: What `ssh` wrote to standard error.
        """
        for sign, meaning in REASONS.items():
            if sign in messages:
                summary = f"{self.name}: {meaning.format(target=self.target, host=self.host)}"
                return LostError(summary) if self._reached and "key" not in meaning else RemoteError(summary)
        lines = [line.strip() for line in messages.splitlines() if line.strip()]
        summary = lines[-1][:300] if lines else "the connection was lost"
        return LostError(summary) if self._reached else RemoteError(f"{self.name}: {summary}")


def _quoted(path: str) -> str:
    """Return a path that is relative to the home folder, quoted for a shell."""
    return f'"$HOME"/{shlex.quote(path)}'
