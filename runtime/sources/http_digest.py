"""Answer challenges of digest authentication.

Python's own handler lacks SHA-256, and does not understand some spellings of a challenge.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import urllib.request
from functools import partial

HASHES = {"md5": "md5", "sha": "sha1", "sha-256": "sha256", "sha-512-256": "sha512_256"}
"""Name in `hashlib` of each algorithm. Source: RFC 7616, section 6.1; `sha` is used by some cameras."""

SESSION = "-sess"
"""Suffix of the algorithms that hash the password again with the session's nonces."""

NEXT_CHALLENGE = re.compile(r",\s*(?=(?:basic|digest|bearer|negotiate|ntlm)\b)", re.IGNORECASE)
"""Pattern between two challenges in one header field."""


def challenges_of(fields: list[str]) -> list[tuple[str, str]]:
    """Return the scheme, in lower case, and the parameters of each challenge in the fields `WWW-Authenticate`."""
    texts = [text.strip() for field in fields for text in NEXT_CHALLENGE.split(field)]
    return [(scheme.lower(), options) for scheme, _, options in (text.partition(" ") for text in texts)]


class Digest:
    """Answers the challenges of one server.

    Args:
        user: User name.
        password: Password.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._nonce, self._count = "", 0
        """Last nonce of the server, and the number of requests that have used it."""

    def answer(self, challenge: str, target: str) -> str | None:
        """Return the header field `Authorization` for a request of `target`, or None for an unsupported challenge.

        Source: RFC 7616, section 3.4.

        Args:
            challenge: Parameters of the challenge.
            target: Path and query of the address.
        """
        fields = urllib.request.parse_http_list(challenge)
        stated = urllib.request.parse_keqv_list([field for field in fields if "=" in field])
        given = {name.strip().lower(): value for name, value in stated.items()}
        algorithm = given.get("algorithm", "MD5")
        name = HASHES.get(algorithm.lower().removesuffix(SESSION))
        qops = [qop.strip().lower() for qop in given.get("qop", "").split(",") if qop.strip()]
        if name is None or name not in hashlib.algorithms_available or not {"realm", "nonce"} <= given.keys():
            return None
        if qops and "auth" not in qops:
            return None
        hashed = partial(_hashed, name)
        realm, nonce, own = given["realm"], given["nonce"], secrets.token_hex(8)
        self._nonce, self._count = nonce, self._count + 1 if nonce == self._nonce else 1
        secret = hashed(self._user, realm, self._password)
        if algorithm.lower().endswith(SESSION):
            secret = hashed(secret, nonce, own)
        asked, count = hashed("GET", target), f"{self._count:08x}"
        response = hashed(secret, nonce, count, own, "auth", asked) if qops else hashed(secret, nonce, asked)
        quoted = {"username": self._user, "realm": realm, "nonce": nonce, "uri": target, "response": response}
        if "opaque" in given:
            quoted["opaque"] = given["opaque"]
        parts = [
            '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"')) for key, value in quoted.items()
        ]
        parts += [f"algorithm={algorithm}"] * ("algorithm" in given)
        parts += [f"qop=auth, nc={count}", f'cnonce="{own}"'] if qops or algorithm.lower().endswith(SESSION) else []
        return "Digest " + ", ".join(parts)


def _hashed(name: str, *parts: str) -> str:
    return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()
