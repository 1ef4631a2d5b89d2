"""Readers of untrusted files raise only Orilla errors, whatever the content is.

`ORILLA_FUZZ=100000 pytest tests/attacks/test_readers.py` tries more damaged files per reader than the usual run.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.readers import READERS

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402 - hypothesis may be absent
from hypothesis import strategies as st  # noqa: E402

from orilla.devices.errors import OrillaError  # noqa: E402

COUNT = int(os.environ.get("ORILLA_FUZZ", "20"))
"""Number of damaged files per reader."""

TOKENS = (
    *(b"", b"\0", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"NaN", b"-1", b"1e999", b"9" * 5000, b"null"),
    *(b"[" * 3000, b"{" * 200, b'{"a":' * 3000, b"(" * 300, b'"', b"'", b"\\", b"\n", b"\r", b"\xed\xa0\x80"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"true", b"{}", b"[]", b"0x", b"99999999999999999999", b"-0", b"'O'", b"'|O'"),
    *(b"../../x", b"/etc/passwd", b"\x1b[31m", b"%d", b"= [", b"= {", b"a.b.c", b"inf", b"1979-05-27T07:32:00Z"),
)
"""Bytes that often confuse a decoder."""

EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "repeat"]), st.integers(0, 1 << 20), st.integers(0, 1 << 20)),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    """Return a copy of a file with a few changes."""
    content = bytearray(data)
    for kind, place, value in edits:
        at = place % (len(content) + 1)
        token = TOKENS[value % len(TOKENS)]
        if kind == "set":
            content[at : at + max(1, len(token) if value % 2 else 1)] = token if value % 2 else bytes([value % 256])
        elif kind == "cut":
            del content[at : at + 1 + value % 64]
        elif kind == "insert":
            content[at:at] = token
        else:
            content[at:at] = content[at : at + value % 256]
    return bytes(content)


def attack(name: str, data: bytes) -> None:
    """Pass a file to a reader, which may accept it or raise one of Orilla's own errors."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / reader.name
        path.write_bytes(data)
        with suppress(OrillaError):
            reader.read(path)


@pytest.mark.parametrize("name", READERS)
def test_a_valid_file_is_read(name: str, tmp_path: Path):
    path = tmp_path / READERS[name].name
    path.write_bytes(READERS[name].seed())
    if name != "card":
        READERS[name].read(path)


@pytest.mark.parametrize("name", READERS)
def test_only_our_errors_leave_a_reader(name: str):
    seed = READERS[name].seed()

    @settings(max_examples=COUNT, database=None, suppress_health_check=list(HealthCheck), derandomize=COUNT < 1000)
    @given(EDITS)
    def check(edits: list[tuple[str, int, int]]) -> None:
        attack(name, damaged(seed, edits))

    check()


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_confusing_bytes(name: str, token: bytes):
    attack(name, token)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_cut_off(name: str):
    seed = READERS[name].seed()
    for share in range(8):
        attack(name, seed[: len(seed) * share // 8])
