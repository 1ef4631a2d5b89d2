"""Signatures of bundles in the format of OpenSSF Model Signing (OMS).

A signature is a Sigstore bundle (JSON). It contains an envelope (DSSE) around an in-toto statement, which lists the
SHA-256 of every file. The package `model-signing` writes and checks the same format.

Source: https://github.com/ossf/model-signing-spec, and the protocol of DSSE 1.0.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from orilla.devices.errors import BundleError
from orilla.devices.gate import only_our_errors
from orilla.runtime.bundle.keys import PrivateKey, PublicKey

SIGNATURE = "model.sig"
"""Name of the file with the signature in a bundle. It is the usual name of `model-signing`."""

MAX_SIGNATURE_BYTES = 4 << 20
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

WHOLE_FILE = "."
"""Name that `model-signing` gives to the content of a single file, as opposed to the files of a folder."""


class Signed(msgspec.Struct, frozen=True):
    """A signature that was checked."""

    key: str
    """Fingerprint of the key: SHA-256 (hex) of its public part in PEM format."""
    counter: int
    """Counter that the signature covers. 0 if another tool made the signature."""


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Counter(msgspec.Struct, frozen=True):
    counter: int


class _Predicate(msgspec.Struct, frozen=True, omit_defaults=True):
    serialization: dict[str, Any]
    resources: list[_Resource]
    orilla: _Counter | None = None


class _Statement(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    type: str
    subject: list[_Subject]
    predicate_type: str
    predicate: _Predicate


class _DsseSignature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    payload: str
    payload_type: str
    signatures: list[_DsseSignature]


class _Hint(msgspec.Struct, frozen=True):
    hint: str | None = None


class _Material(msgspec.Struct, frozen=True, rename={"public_key": "publicKey", "log": "tlogEntries"}):
    public_key: _Hint | None = None
    log: list[Any] = []


class _Document(
    msgspec.Struct,
    frozen=True,
    rename={"media_type": "mediaType", "material": "verificationMaterial", "envelope": "dsseEnvelope"},
):
    media_type: str
    material: _Material
    envelope: _Envelope


def make(name: str, digests: Mapping[str, str], counter: int, key: PrivateKey) -> bytes:
    """Sign the files of a bundle.

    Args:
        name: Name of the bundle.
        digests: SHA-256 (hex) of every file, by path.
        counter: Counter of the bundle. Robots reject a bundle whose counter is lower than that of the previous bundle.
        key: The key.

    Returns:
        The content of the file `model.sig`.
    """
    resources = [_Resource(path, "sha256", digests[path]) for path in sorted(digests)]
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE],
    }
    statement = _Statement(
        STATEMENT_TYPE,
        [_Subject(name, {"sha256": _root(resources)})],
        PREDICATE_TYPE,
        _Predicate(serialization, resources, _Counter(counter)),
    )
    payload = msgspec.json.encode(statement)
    signature = base64.b64encode(key.sign(_encoded(payload))).decode()
    envelope = _Envelope(base64.b64encode(payload).decode(), PAYLOAD_TYPE, [_DsseSignature(signature)])
    document = _Document(MEDIA_TYPE, _Material(_Hint(key.public.fingerprint)), envelope)
    return msgspec.json.encode(document) + b"\n"


def check(document: bytes, digests: Mapping[str, str], keys: Sequence[PublicKey]) -> Signed:
    """Check that one of the keys has signed exactly these files.

    Args:
        document: Content of the file `model.sig`.
        digests: SHA-256 (hex) of every file, by path; or of the whole bundle, by the path `.`.
        keys: The trusted keys.

    Raises:
        BundleError: The signature is not valid, was made by another key, or is for other files.
    """
    with only_our_errors(SIGNATURE, BundleError):
        read = msgspec.json.decode(document, type=_Document)
        payload = base64.b64decode(read.envelope.payload, validate=True)
        signatures = [base64.b64decode(one.sig, validate=True) for one in read.envelope.signatures[:8]]
        if read.envelope.payload_type != PAYLOAD_TYPE:
            msg = f"its signature contains {read.envelope.payload_type[:60]!r} instead of {PAYLOAD_TYPE}"
            raise BundleError(msg)
        signed = _encoded(payload)
        key = next((key for key in keys for signature in signatures if key.has_signed(signed, signature)), None)
        if key is None:
            raise BundleError(_untrusted(read.material.public_key, keys))
        statement = msgspec.json.decode(payload, type=_Statement)
        _check_statement(statement, digests)
        counter = 0 if statement.predicate.orilla is None else statement.predicate.orilla.counter
    return Signed(key.fingerprint, counter)


def _untrusted(hint: _Hint | None, keys: Sequence[PublicKey]) -> str:
    """Return the message for a signature that no trusted key made. Only this message uses the hint in the signature."""
    names = ", ".join(key.path for key in keys)
    fingerprint = hint.hint if hint is not None else None
    if fingerprint and fingerprint not in [key.fingerprint for key in keys]:
        return f"it is signed by the key {fingerprint[:16]}, and not by a trusted key ({names})"
    return f"its signature does not match {names}: it was changed after signing; get the bundle again"


def _check_statement(statement: _Statement, digests: Mapping[str, str]) -> None:
    """Raise `BundleError` if a validly signed statement does not list exactly these files."""
    predicate = statement.predicate
    method, kind = (predicate.serialization.get(key) for key in ("method", "hash_type"))
    if statement.type != STATEMENT_TYPE or statement.predicate_type != PREDICATE_TYPE:
        msg = f"its signature states {statement.predicate_type[:60]!r}, which is not the signature of a model"
        raise BundleError(msg)
    if (method, kind) != ("files", "sha256"):
        msg = f"its signature uses {str(method)[:20]} and {str(kind)[:20]}: sign whole files with sha256"
        raise BundleError(msg)
    listed = {resource.name: resource.digest for resource in predicate.resources if resource.algorithm == "sha256"}
    if len(listed) != len(predicate.resources):
        msg = "its signature lists a file twice, or with a hash that is not sha256"
        raise BundleError(msg)
    for name in sorted(listed.keys() ^ digests.keys()):
        raise BundleError(
            f"{name} is signed, but missing" if name in listed else f"{name} is not covered by the signature"
        )
    for name, digest in digests.items():
        if listed[name] != digest:
            what = "the bundle" if name == WHOLE_FILE else name
            msg = f"{what} differs from what was signed: it was changed, or the signature belongs to another bundle"
            raise BundleError(msg)
    if [subject.digest.get("sha256") for subject in statement.subject] != [_root(predicate.resources)]:
        msg = "its signature contradicts itself: the digest of the subject is wrong"
        raise BundleError(msg)


def _root(resources: Sequence[_Resource]) -> str:
    """Return the digest of the subject: the SHA-256 of all digests in the order of the list."""
    return hashlib.sha256(b"".join(bytes.fromhex(resource.digest) for resource in resources)).hexdigest()


def _encoded(payload: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE 1.0, Pre-Authentication Encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
