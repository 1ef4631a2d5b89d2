"""Trust in bundles: they must be signed by a trusted key, and must not be older than a bundle that ran before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from orilla.devices.errors import BundleError, OutputError
from orilla.devices.gate import only_our_errors, read_file
from orilla.runtime.bundle import signature
from orilla.runtime.bundle.keys import PublicKey, read_public
from orilla.runtime.bundle.signature import Signed
from orilla.runtime.files import make_folder, state_folder, write_durably

MAX_STATE_BYTES = 16 << 20

TrustLike = str | Path | Sequence[str | Path] | None
"""Paths of public keys."""


class Memory(msgspec.Struct):
    """Record of the bundles that this user has trusted so far. It is stored in `trust.json` in the state folder."""

    counters: dict[str, int] = {}
    """Highest counter by `FINGERPRINT NAME`: the key and the name of the bundle."""
    places: dict[str, str] = {}
    """Name of the bundle at each path."""


class Trust:
    """The keys whose bundles are accepted.

    Args:
        keys: The keys.
        accept_other: If True, accept a bundle whose name differs from that of the previous bundle at the same path.
        remember: If True, store the counter of an accepted bundle, so that older bundles are rejected from now on.
    """

    def __init__(self, keys: Sequence[PublicKey], *, accept_other: bool = False, remember: bool = True) -> None:
        self.keys, self._accept_other, self._remember = tuple(keys), accept_other, remember

    @classmethod
    def read(cls, paths: TrustLike, *, accept_other: bool = False, remember: bool = True) -> Trust | None:
        """Read public keys. Return None if there are none. See the constructor for the other arguments.

        Raises:
            ConfigError: A file is not a public key, or other users can change it.
            MissingExtraError: The package `cryptography` is not installed.
        """
        named = [paths] if isinstance(paths, str | Path) else list(paths or ())
        if not named:
            return None
        keys = [read_public(Path(path)) for path in named]
        return cls(keys, accept_other=accept_other, remember=remember)

    def check(self, document: bytes | None, digests: Mapping[str, str], *, place: Path | None, name: str) -> Signed:
        """Check the signature of a bundle, and that the bundle is not older than the one trusted before.

        Args:
            document: Content of the signature. None if the bundle has none.
            digests: SHA-256 (hex) of every file, by path.
            place: Path of the bundle. If None, only the signature is checked.
            name: Name of the bundle, as in its manifest.

        Raises:
            BundleError: The bundle is unsigned, was changed, differs from the previous bundle, or is older than it.
            OutputError: The counter cannot be stored.
        """
        if document is None:
            names = ", ".join(key.path for key in self.keys)
            msg = f"it is not signed, but only bundles signed by {names} are trusted: `orilla sign` signs a bundle"
            raise BundleError(msg)
        signed = signature.check(document, digests, self.keys)
        if place is None:
            return signed
        with _memory() as memory:
            key, at = f"{signed.key} {name}", str(place)
            known = memory.counters.get(key, 0)
            if signed.counter < known:
                msg = (
                    f"it is older than a bundle that was trusted here before (counter {signed.counter}, but at least "
                    f"{known} is needed): to run it anyway, sign it again"
                )
                raise BundleError(msg)
            if not self._accept_other and memory.places.get(at, name) != name:
                msg = (
                    f"it is the bundle {name}, but {memory.places[at]} was trusted at this path before: if this is "
                    "intended, run `orilla verify` on it with --other-bundle"
                )
                raise BundleError(msg)
            if self._remember:
                memory.counters[key], memory.places[at] = signed.counter, name
        return signed


@contextmanager
def _memory() -> Iterator[Memory]:
    """Lock and yield the stored record. Store it if it has changed."""
    folder = state_folder()
    make_folder(folder)
    path = folder / "trust.json"
    try:
        lock = os.open(folder / "trust.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"cannot write {folder}: {error.strerror or error}; set ORILLA_STATE to a folder that can be written"
        raise OutputError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        memory, before = Memory(), b""
        if path.exists():
            before = read_file(path, MAX_STATE_BYTES)
            hint = f"{path}, which stores the counters of trusted bundles (remove it to accept older bundles once)"
            with only_our_errors(hint, BundleError):
                memory = msgspec.json.decode(before, type=Memory)
        yield memory
        after = msgspec.json.encode(memory, order="sorted")
        if after != before:
            write_durably(path, after, mode=0o600)
    finally:
        os.close(lock)
