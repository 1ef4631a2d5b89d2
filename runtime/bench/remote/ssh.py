"""Commands and files on another machine, by the system's ssh: its keys, jump hosts and configuration work as usual."""

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

COMMAND = "ORILLA_SSH"
"""Environment variable: another command than `ssh`, with options of its own, such as `ssh -F FILE`."""

OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
"""Nobody is there to type a password, and a connection that has died is noticed in 15 s."""

FAILED = 255
"""ssh's own exit code; any other one is the command's. Source: ssh(1)."""

SHORT_S = 120.0
"""Of a script that is run again where it does not answer for so long."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before the next try, where a connection was lost."""

REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed: find out why, then ssh-keygen -R {host}",
    "Host key verification failed": "its host key is not known here: ssh {target} once, and compare its fingerprint",
    "Permission denied": "it refuses the login: ssh-copy-id {target}",
    "Could not resolve hostname": "there is no host of that name",
    "Connection refused": "nothing listens there: is sshd running, and is this its port?",
    "timed out": "it does not answer",
    "No route to host": "there is no way to it",
}
"""What ssh says, and what that means; of several, the first."""


class RemoteError(OrillaError):
    """A machine could not be reached, or something failed there."""


class LostError(RemoteError):
    """The connection broke; the next try may work."""


class Remote:
    """One machine.

    Args:
        url: `ssh://[USER@]HOST[:PORT]`; HOST may be a name of `~/.ssh/config`.
        note: is told when a connection was lost and is tried again.

    Raises:
        ConfigError: another URL, or no ssh here.
    """

    def __init__(self, url: str, note: Callable[[str], None] = lambda text: None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            msg = f"--host {url}: {error}"
            raise ConfigError(msg) from error
        if parts.scheme != "ssh" or not host or parts.path.strip("/") or parts.query or parts.password:
            msg = f"--host {url}: give ssh://USER@HOST or ssh://USER@HOST:PORT"
            raise ConfigError(msg)
        if host.startswith("-") or (parts.username or "").startswith("-"):
            msg = f"--host {url}: a name can't begin with a dash"
            raise ConfigError(msg)
        self.name = host if port is None else f"{host}:{port}"
        self.host = host
        self.target = f"{parts.username}@{host}" if parts.username else host
        self._note = note
        self._reached = False
        command = shlex.split(os.environ.get(COMMAND, "ssh"))
        if not command or shutil.which(command[0]) is None:
            msg = f"{command[0] if command else COMMAND} is not installed: sudo apt install openssh-client"
            raise ConfigError(msg)
        self._ssh = [*command, *OPTIONS, *(["-p", str(port)] if port is not None else []), self.target]

    def run(self, script: str, *, timeout_s: float = SHORT_S, check: bool = True) -> str:
        """Runs a shell script there, again where the connection is lost: it must bear being run twice.

        Raises:
            RemoteError: the machine can't be reached, or, with `check`, the script failed.
        """
        return self.again(lambda: self._once(script, None, timeout_s, check)).decode(errors="replace")

    def send(self, data: bytes, path: str) -> bool:
        """Puts a file there, unless it is there already; goes on where a lost connection has left off.

        Args:
            path: from the remote home folder; its name must tell its content.

        Returns:
            Whether anything was sent.
        """
        quoted, part = _quoted(path), _quoted(f"{path}.{self.name}.part")  # two names of a machine are two senders
        size = f"wc -c < {quoted} 2>/dev/null || echo 0"
        if int(self.run(f"mkdir -p {_quoted(str(Path(path).parent))}; {size}").split()[-1]) == len(data):
            return False

        def push() -> bytes:
            there = int(self._once(f"wc -c < {part} 2>/dev/null || echo 0", None, 60.0, True).split()[-1])
            if there > len(data):
                self._once(f"rm -f {part}", None, 60.0, True)
                there = 0
            if there < len(data):
                self._once(f"cat >> {part}", data[there:], 3600.0, True)
            return self._once(f"test $(wc -c < {part}) -eq {len(data)} && mv {part} {quoted}", None, 60.0, True)

        self.again(push)
        return True

    def again(self, work: Callable[[], bytes]) -> bytes:
        """Does something over the connection, up to so many times where it is lost."""
        for pause in PAUSES_S:
            try:
                return work()
            except LostError as error:
                self._note(f"{self.name}: {error}; once more in {pause:g} s")
                time.sleep(pause)
        return work()

    def _once(self, script: str, data: bytes | None, timeout_s: float, check: bool) -> bytes:
        try:
            ended = subprocess.run(
                [*self._ssh, f"sh -c {shlex.quote(script)}"],
                input=data if data is not None else b"",
                capture_output=True,
                timeout=timeout_s,
                check=False,
                start_new_session=True,  # a Ctrl-C is ours to handle, not to break it in the middle
            )
        except subprocess.TimeoutExpired as error:
            if timeout_s > SHORT_S:  # it is slow there, and would be started a second time
                msg = f"{self.name}: no answer for {timeout_s:g} s"
                raise RemoteError(msg) from error
            msg = f"no answer for {timeout_s:g} s"
            raise LostError(msg) from error
        said = ended.stderr.decode(errors="replace")
        if ended.returncode == FAILED:
            raise self._failure(said)
        self._reached = True
        if check and ended.returncode != 0:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            msg = f"{self.name}: {lines[-1][:300] if lines else f'exit code {ended.returncode}'}"
            raise RemoteError(msg)
        return ended.stdout

    def _failure(self, said: str) -> RemoteError:
        """ssh's own failure: one that may pass, or one that must be fixed first."""
        for sign, meaning in REASONS.items():
            if sign in said:
                told = f"{self.name}: {meaning.format(target=self.target, host=self.host)}"
                return LostError(told) if self._reached and "key" not in meaning else RemoteError(told)
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = lines[-1][:300] if lines else "the connection was lost"
        return LostError(told) if self._reached else RemoteError(f"{self.name}: {told}")


def _quoted(path: str) -> str:
    """A path from the home folder, for a shell."""
    return f'"$HOME"/{shlex.quote(path)}'
