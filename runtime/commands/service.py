"""The command `orilla service`: run a configuration file as a systemd service."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, OutputError, neighbour
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.files import write_bytes

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole

SYSTEM, USER = Path("/etc/systemd/system"), Path(".config/systemd/user")
"""Folder of system units, and folder of user units relative to the user's home folder."""

TEMPLATE = """\
[Unit]
Description=Orilla: {name}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WorkingDirectory={folder}
ExecStart={command}
Restart=always
RestartSec=2
WatchdogSec=30
TimeoutStartSec=120
TimeoutStopSec=20
KillMode=mixed
{user}SupplementaryGroups=video
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy={target}
"""
"""Unit file. systemd restarts the loop two seconds after it ends. It also restarts a loop that has not reset its
watchdog for 30 seconds."""

USER_LINES = ("SupplementaryGroups=", "ProtectSystem=", "ProtectControlGroups=", "ProtectKernel", "PrivateTmp=")
"""Prefixes of the lines that are omitted in user units, because systemd does not accept them there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("install", "show"), help="install: install the unit; show: print the unit")
    parser.add_argument("config", type=Path, help="configuration file of orilla run, such as rover.toml")
    parser.add_argument("--name", help="name of the service (default: orilla- followed by the name of the file)")
    parser.add_argument("--user", action="store_true", help="install a service for the current user, without root")
    parser.add_argument("--run-as", metavar="USER", help="user that runs a system service (default: the current user)")


@dataclass(frozen=True, slots=True)
class ServiceResult(CommandResult):
    """The unit file of a service."""

    name: str
    unit: str
    """Content of the unit file."""
    path: str | None
    """Path of the installed unit file. None if it was only printed."""
    next: tuple[str, ...]
    """Commands that start the service."""

    def render(self, console: ResultConsole) -> None:
        """Print the unit file, or its path and the commands that start the service."""
        if self.path is None:
            for line in self.unit.splitlines():
                console.print_line(line)
            return
        console.print_line(f"installed {self.path}; start it with")
        for command in self.next:
            console.print_line(f"  {command}")


def execute(arguments: argparse.Namespace) -> ServiceResult:
    """Print or install the unit."""
    config: Path = arguments.config
    if not config.is_file():
        msg = f"no such file: {config}{neighbour(config)}; `orilla run ... --print-config` prints a configuration"
        raise ConfigError(msg)
    _check_config(config)
    name = arguments.name or f"orilla-{config.stem}"
    if not re.fullmatch(r"[A-Za-z0-9:_.-]+", name):
        msg = f"--name {name}: use letters, digits, dots, dashes and underscores"
        raise ConfigError(msg)
    unit = _unit(config.resolve(), user=arguments.user, run_as=arguments.run_as)
    scope = " --user" if arguments.user else ""
    commands = (
        f"systemctl{scope} daemon-reload",
        f"systemctl{scope} enable --now {name}",
        f"journalctl{scope} -fu {name}",
    )
    if arguments.action == "show":
        return ServiceResult(name, unit, None, commands)
    folder = Path.home() / USER if arguments.user else SYSTEM
    path = folder / f"{name}.service"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, unit.encode())
    except OSError as error:
        hint = "" if arguments.user else "; run it with sudo, or use --user"
        msg = f"cannot write {path}: {error.strerror or error}{hint}"
        raise OutputError(msg) from error
    return ServiceResult(name, unit, str(path), commands)


def _check_config(config: Path) -> None:
    """Raise `ConfigError` if the configuration cannot be read. The check runs in the folder of the file."""
    done = subprocess.run(
        [*_command(), "run", str(config.resolve()), "--print-config"],
        check=False,
        capture_output=True,
        text=True,
        cwd=config.resolve().parent,
    )
    if done.returncode:
        raise ConfigError(done.stderr.strip().removeprefix("orilla: "))


def _command() -> list[str]:
    """Return the command that starts Orilla: the program `orilla` beside the Python interpreter, or its module."""
    beside = shutil.which("orilla", path=str(Path(sys.executable).parent))
    return [beside] if beside else [sys.executable, "-m", "orilla.runtime.cli"]


def _unit(config: Path, *, user: bool, run_as: str | None) -> str:
    text = TEMPLATE.format(
        name=_escaped(config.stem),
        folder=_escaped(str(config.parent)),
        command=" ".join(_quoted(word) for word in [*_command(), "run", str(config)]),
        user="" if user else f"User={_escaped(run_as or os.environ.get('SUDO_USER') or _user())}\n",
        target="default.target" if user else "multi-user.target",
    )
    if user:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(USER_LINES))
    return text


def _user() -> str:
    import getpass

    return getpass.getuser()


def _escaped(text: str) -> str:
    """Return a string with its percent signs doubled, so that systemd does not replace specifiers such as `%i`."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a command's argument in quotes, as described in `systemd.service(5)`."""
    escaped = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
