"""Keys that sign bundles: ECDSA on the curve P-256, or Ed25519, in PEM files.

The package `cryptography` computes the signatures. It is imported only when a key is used.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, MissingExtraError, OutputError
from orilla.devices.gate import reason_of

PASSWORD = "ORILLA_KEY_PASSWORD"
"""Environment variable with the password of an encrypted private key."""

ALGORITHMS = ("p256", "ed25519")
"""Kinds of keys that `write_new` creates. The first is the default, because `model-signing` also supports it."""

PACKAGE = "cryptography"
MAX_KEY_BYTES = 1 << 16
OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Permission bits that must not be set on a private key: no other user may read or write it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that checks signatures."""

    path: str
    """File of the key, for messages."""
    fingerprint: str
    """SHA-256 (hex) of the key in PEM format. Signatures contain it as a hint."""
    key: Any
    """Key object of `cryptography`."""

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Return True if the signature of the data was made with the private part of this key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            if isinstance(self.key, ec.EllipticCurvePublicKey):
                self.key.verify(signature, data, _ecdsa())
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key that signs."""

    public: PublicKey
    key: Any
    """Key object of `cryptography`."""

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.path!r})"

    def sign(self, data: bytes) -> bytes:
        """Return the signature of the data."""
        from cryptography.hazmat.primitives.asymmetric import ec

        ecdsa = isinstance(self.key, ec.EllipticCurvePrivateKey)
        signature: bytes = self.key.sign(data, _ecdsa()) if ecdsa else self.key.sign(data)
        return signature


def read_public(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        ConfigError: The file is not such a key, or other users can replace it.
        MissingExtraError: The package `cryptography` is not installed.
    """
    data = _read(path, "trust", stat.S_IWOTH, "other users can change this key, so it cannot be trusted: run chmod o-w")
    if b"PRIVATE KEY" in data:
        msg = f"trust={path}: this is a private key: give the public key, and keep the private key off the robot"
        raise ConfigError(msg)
    serialization = _library()
    try:
        key = serialization.load_pem_public_key(data)
    except Exception as error:
        msg = f"trust={path}: this is not a public key in PEM format: {reason_of(error)}"
        raise ConfigError(msg) from error
    return _public(str(path), key, "trust")


def read_private(path: Path) -> PrivateKey:
    """Read a private key. If it is encrypted, its password is read from `$ORILLA_KEY_PASSWORD`, or asked for.

    Raises:
        ConfigError: The file is not such a key, other users can read it, or the password is wrong.
        MissingExtraError: The package `cryptography` is not installed.
    """
    data = _read(path, "key", OTHERS, "other users can read this private key: run chmod 600")
    serialization = _library()
    password = _password(path) if b"ENCRYPTED" in data else None
    try:
        key = serialization.load_pem_private_key(data, password)
    except Exception as error:
        # The message of the library is omitted, because it could quote the file.
        what = (
            "the password is wrong, or the file is damaged" if password else "this is not a private key in PEM format"
        )
        msg = f"key={path}: {what}"
        raise ConfigError(msg) from error
    return PrivateKey(_public(str(path), key.public_key(), "key"), key)


def write_new(path: Path, algorithm: str = ALGORITHMS[0]) -> Path:
    """Create a private key that only its owner can read, and the public key beside it. Return the public key's path.

    Args:
        path: File of the private key. `.pub` is added for the public key.
        algorithm: `p256` or `ed25519`.

    Raises:
        OutputError: A file exists, or cannot be written.
    """
    serialization = _library()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key: Any = (
        ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public_path = path.with_name(f"{path.name}.pub")
    if public_path.exists():
        msg = f"{public_path} exists: choose another file name, because a key is never replaced"
        raise OutputError(msg)
    _create(path, private, 0o600)
    _create(public_path, _pem(key.public_key()), 0o644)
    return public_path


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        msg = f"{path} exists: choose another file name, because a key is never replaced"
        raise OutputError(msg) from error
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(msg) from error


def _read(path: Path, parameter: str, forbidden: int, problem: str) -> bytes:
    """Return the content of a key file. Raise `ConfigError` if the file has forbidden permissions."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                msg = f"{parameter}={path}: this is not a file"
                raise ConfigError(msg)
            if mode & forbidden:
                msg = f"{parameter}={path}: {problem} {path}"
                raise ConfigError(msg)
            return stream.read(MAX_KEY_BYTES)
    except OSError as error:
        msg = f"{parameter}={path}: {error.strerror or error}; `orilla sign --new-key NAME` creates a pair of keys"
        raise ConfigError(msg) from error


def _password(path: Path) -> bytes:
    if given := os.environ.get(PASSWORD):
        return given.encode()
    if not sys.stdin.isatty():
        msg = f"key={path}: this key is encrypted: set {PASSWORD} to its password"
        raise ConfigError(msg)
    from getpass import getpass

    return getpass(f"password of {path}: ").encode()


def _public(path: str, key: Any, parameter: str) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not p256 and not isinstance(key, ed25519.Ed25519PublicKey):
        msg = f"{parameter}={path}: use an ECDSA key on P-256, or an Ed25519 key, as `orilla sign --new-key` makes"
        raise ConfigError(msg)
    return PublicKey(path, hashlib.sha256(_pem(key)).hexdigest(), key)


def _pem(key: Any) -> bytes:
    serialization = _library()
    data: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256())


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtraError(PACKAGE, "sign") from error
    return serialization
