"""The command `orilla deploy`: install a release, return to the previous one, or show the release in force."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orilla.devices.budget import SHIPPED
from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.trust_options import add_trust
from orilla.runtime.commands.verify import add_selection

if TYPE_CHECKING:
    from orilla.runtime.bundle.deployment import Deployment
    from orilla.runtime.commands.deploy.install import Order
    from orilla.runtime.terminal.console import ResultConsole

RESTART_S = 150.0
"""Time limit in seconds for the restart of a service. Its unit allows 20 s to stop and 120 s to start."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", nargs="?", help="the new release: path of a bundle, or the name of a shipped one")
    parser.add_argument(
        "--to", required=True, metavar="DIR", help="folder of the deployment, or ssh://[USER@]HOST[:PORT]/PATH"
    )
    parser.add_argument("--rollback", action="store_true", help="return to the previous release")
    parser.add_argument("--status", action="store_true", help="show which release is in force")
    add_trust(parser)
    add_selection(parser)
    parser.add_argument(
        "--probation",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time for which the loop must answer; if it dies earlier, the next start uses the previous release "
        "(default: %(default)g; 0 for none)",
    )
    parser.add_argument("--service", metavar="NAME", help="systemd service to restart, such as orilla-rover")
    parser.add_argument("--user", action="store_true", help="the service belongs to the current user")


@dataclass(frozen=True, slots=True)
class DeployResult(CommandResult):
    """The state of a deployment after the command."""

    hidden = ("sent_bytes",)

    to: str
    status: Literal["deployed", "unchanged", "rolled back", "in force", "empty", "refused"]
    current: dict[str, Any] | None
    """The release in force: `path`, `name`, `key`, `counter`. None if there is none."""
    previous: dict[str, Any] | None
    """The release that was in force before. None if there is none."""
    probation_s: float | None
    """Remaining probation of the release in seconds. None if there is no probation."""
    failed: str | None
    """Reason why the last release was rolled back or refused. None if it was accepted."""
    hashes: list[str]
    """SHA-256 of the files that the device already has, so that a new release can omit them."""
    sent_bytes: int | None = None
    """Number of bytes that were sent to another machine. None for this machine."""

    @property
    def exit_code(self) -> int:
        """Return 1 if the release was refused by its verification, else 0."""
        return 1 if self.status == "refused" else 0

    def render(self, console: ResultConsole) -> None:
        """Print the release in force, and why a release failed."""
        sent = "" if self.sent_bytes is None else f"; {self.sent_bytes / 2**20:.2f} MiB were sent"
        console.print_line(f"{self.to}: {self.status}{sent}")
        for title, release in (("in force", self.current), ("previous", self.previous)):
            if release is not None:
                signature = f", counter {release['counter']}" if release["key"] else ""
                console.print_line(f"{title}: {release['path']}{signature}")
        if self.probation_s is not None:
            console.print_line(f"probation: the loop must answer for {self.probation_s:g} s")
        if self.failed is not None:
            console.print_line(f"failed: {self.failed}")


def execute(arguments: argparse.Namespace) -> DeployResult:
    """Run the requested action, here or on another machine."""
    _check(arguments)
    if arguments.to.startswith("ssh://"):
        return _remotely(arguments)
    folder = Path(arguments.to)
    if arguments.status:
        from orilla.runtime.bundle.deployment import Deployment

        found = Deployment.read(folder)
        return _result(folder, "empty" if found is None else "in force", found)
    if arguments.rollback:
        from orilla.runtime.commands.deploy.install import roll_back

        result = _result(folder, "rolled back", roll_back(folder))
    else:
        result = _installed(arguments, folder)
    if arguments.service is not None and result.status in ("deployed", "rolled back"):
        _restart(arguments.service, user=arguments.user)
    return result


def _check(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` if the options contradict each other."""
    actions = [arguments.bundle is not None, arguments.rollback, arguments.status]
    if sum(actions) != 1:
        msg = "give exactly one of a bundle, --rollback and --status"
        raise ConfigError(msg)
    if not 0 <= arguments.probation <= 86400:
        msg = f"--probation {arguments.probation:g}: must be 0 to 86400 seconds"
        raise ConfigError(msg)
    if arguments.service is not None and not re.fullmatch(r"[A-Za-z0-9:_.@-]+", arguments.service):
        msg = f"--service {arguments.service}: use letters, digits, dots, dashes and underscores"
        raise ConfigError(msg)


def _order(arguments: argparse.Namespace) -> Order:
    from orilla.runtime.bundle.bundle import find
    from orilla.runtime.commands.deploy.install import Order

    path = find(arguments.bundle)
    return Order(path, tuple(arguments.trust or ()), arguments.probation, _verify_options(arguments))


def _verify_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    words: list[str] = []
    for flag in ("variant", "engine"):
        value = getattr(arguments, flag)
        words += [f"--{flag}", value] if value is not None else []
    if arguments.budget is not None:
        words += ["--budget"] if arguments.budget == SHIPPED else ["--budget", str(arguments.budget)]
    return tuple(words)


def _installed(arguments: argparse.Namespace, folder: Path) -> DeployResult:
    from orilla.runtime.bundle.deployment import Deployment
    from orilla.runtime.commands.deploy.install import RefusedError, install

    try:
        deployment, new = install(_order(arguments), folder)
    except RefusedError as error:
        result = _result(folder, "refused", Deployment.read(folder))
        return _with_reason(result, str(error))
    return _result(folder, "deployed" if new else "unchanged", deployment)


def _with_reason(result: DeployResult, reason: str) -> DeployResult:
    from dataclasses import replace

    return replace(result, failed=reason)


def _result(folder: Path, status: Any, deployment: Deployment | None) -> DeployResult:
    from orilla.runtime.commands.deploy.install import hashes

    record = None if deployment is None else deployment.record
    current, previous = (None, None) if record is None else (record.current, record.previous)
    return DeployResult(
        to=str(folder),
        status=status,
        current=None if current is None else msgspec.to_builtins(current),
        previous=None if previous is None else msgspec.to_builtins(previous),
        probation_s=None if record is None or record.probation is None else record.probation.seconds,
        failed=None if record is None else record.failed,
        hashes=sorted(hashes(deployment)),
    )


def _remotely(arguments: argparse.Namespace) -> DeployResult:
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.commands.deploy.remote import Device
    from orilla.runtime.terminal.progress import TerminalProgress

    service = [] if arguments.service is None else ["--service", arguments.service]
    service += ["--user"] if arguments.user else []
    with TerminalProgress() as progress:
        if arguments.bundle is None:
            device = Device(arguments.to, progress)
            action = "--status" if arguments.status else "--rollback"
            document = device.run(action, *service, timeout_s=RESTART_S)
        else:
            bundle = Bundle.open(arguments.bundle)
            words = [*_verify_options(arguments), *service, "--probation", f"{arguments.probation:g}"]
            words += [word for key in arguments.trust or () for word in ("--trust", key)]
            device = Device(arguments.to, progress)
            quoted = tuple(shlex.quote(word) for word in words)
            document = device.deploy(bundle, quoted, signed=bundle.signature is not None)
    try:
        return msgspec.convert({**document, "to": arguments.to}, DeployResult)
    except msgspec.ValidationError as error:
        msg = f"to={arguments.to}: the machine answered with an unknown document: {error}"
        raise OutputError(msg) from error


def _restart(name: str, *, user: bool) -> None:
    """Restart a service. Raise `OutputError` if systemd cannot do it."""
    command = ["systemctl", *(["--user"] if user else []), "restart", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RESTART_S)
        problem = done.stderr.strip().splitlines()[-1:] if done.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = [str(error)]
    if problem is not None:
        msg = f"the release is in force, but `{shlex.join(command)}` failed: {' '.join(problem)}"
        raise OutputError(msg)
