"""Certificates for tests of encrypted connections, made with openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(folder: Path) -> Path:
    """Write the certificates of an authority, a server, a client (`ca.pem`, `server.pem`, `client.pem`) and a stranger.

    Each certificate `NAME.pem` has a key `NAME.key`. The server's name is `localhost`. Skip the test without openssl.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    for name in ("ca", "stranger"):
        _openssl(folder, name, "-x509", "-days", "2", "-subj", f"/CN=Orilla test {name}", "-out", f"{name}.pem")
    for name in ("server", "client"):
        _openssl(folder, name, "-subj", f"/CN={name}", "-out", f"{name}.csr")
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost\n")
        words = [
            "openssl",
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ]
        words += ["-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem"]
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder


def _openssl(folder: Path, name: str, *arguments: str) -> None:
    words = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", *arguments]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
