"""The command `orilla sign`: sign a bundle, or create a pair of keys."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.devices.names import counted
from orilla.runtime.bundle.destination import add_overwrite
from orilla.runtime.bundle.keys import ALGORITHMS
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole

MAX_COUNTER = 1 << 53
"""Largest counter. JSON readers that use floating-point numbers read smaller integers exactly."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", nargs="?", help="bundle to sign")
    parser.add_argument("--key", type=Path, help="private key")
    parser.add_argument("--new-key", type=Path, metavar="KEY", help="create a private key, and KEY.pub for the robots")
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default=ALGORITHMS[0],
        help="kind of the new key; model-signing supports only p256 (default: %(default)s)",
    )
    parser.add_argument(
        "--counter",
        type=int,
        help="counter of this release; robots reject a counter that is lower than before (default: seconds since 1970)",
    )
    parser.add_argument("--out", type=Path, help="bundle to write (default: replace the bundle)")
    add_overwrite(parser)


@dataclass(frozen=True, slots=True)
class SignResult(CommandResult):
    """The bundle that was signed, or the keys that were created."""

    bundle: str | None
    """The signed bundle. None if keys were created."""
    key: str
    """Fingerprint of the key: SHA-256 (hex) of its public part in PEM format."""
    public_key: str | None
    """Path of the new public key. None if a bundle was signed."""
    counter: int | None
    """Counter of the signed bundle. None if keys were created."""
    files: int
    """Number of signed files."""

    def render(self, console: ResultConsole) -> None:
        """Print what was signed or created."""
        if self.bundle is None:
            console.print_line(f"{self.public_key}: public key {self.key[:16]}, for --trust on the robots")
            return
        console.print_line(
            f"{self.bundle}: {counted(self.files, 'file')} signed by {self.key[:16]}, counter {self.counter}"
        )


def execute(arguments: argparse.Namespace) -> SignResult:
    """Sign the bundle, or create the keys."""
    from orilla.runtime.bundle import keys

    if arguments.new_key is not None:
        if arguments.bundle is not None or arguments.key is not None:
            msg = "--new-key only creates keys: sign the bundle with a second command"
            raise ConfigError(msg)
        public = keys.write_new(arguments.new_key, arguments.algorithm)
        return SignResult(None, keys.read_public(public).fingerprint, str(public), None, 0)
    if arguments.bundle is None or arguments.key is None:
        msg = "give a bundle and --key, as in `orilla sign road.orilla --key robot.key`, or --new-key"
        raise ConfigError(msg)
    return _sign(arguments)


def _sign(arguments: argparse.Namespace) -> SignResult:
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle import signature
    from orilla.runtime.bundle.destination import check_new
    from orilla.runtime.bundle.keys import read_private

    counter = int(time.time()) if arguments.counter is None else arguments.counter
    if not 0 < counter < MAX_COUNTER:
        msg = f"--counter {counter}: must be from 1 to {MAX_COUNTER - 1}"
        raise ConfigError(msg)
    key = read_private(arguments.key)
    bundle = bundles.Bundle.open(arguments.bundle)
    out: Path = arguments.out or bundle.path
    if bundle.path.parent == bundles.ZOO and arguments.out is None:
        msg = f"{arguments.bundle} is a shipped bundle, which is not changed: give --out"
        raise ConfigError(msg)
    if arguments.out is not None:
        check_new(out, overwrite=arguments.overwrite)
        if out.suffix != ".orilla":
            msg = f"--out {out}: give a name that ends in .orilla"
            raise ConfigError(msg)
    digests = bundle.digests
    bundles.write_signed(out, bundle, signature.make(bundle.manifest.name, digests, counter, key))
    return SignResult(str(out), key.public.fingerprint, None, counter, len(digests))
