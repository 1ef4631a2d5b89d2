"""Text files of users: byte order marks, line ends, other encodings, and files that are not text."""

import gzip

import pytest

from orilla.devices.errors import ConfigError, DataError, SourceError
from orilla.devices.tables import Tables
from orilla.devices.text_files import decode, json_bytes, lines_of, read_text

WORDS = "stop\r\ngo\r\ncaf\u00e9\r\n"
MARKS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}


@pytest.mark.parametrize(
    "data",
    [
        WORDS.encode(),
        WORDS.encode("utf-8-sig"),
        b"\xef\xbb\xbf" + WORDS.encode("utf-8-sig"),
        *(mark + WORDS.encode(kind) for kind, mark in MARKS.items()),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_marks_and_line_ends_are_not_part_of_the_lines(data, end, tmp_path):
    kind = next((kind for kind, mark in reversed(MARKS.items()) if data.startswith(mark)), "utf-8")
    data = data.replace("\r\n".encode(kind), end.encode(kind))
    (tmp_path / "labels.txt").write_bytes(data)
    assert lines_of(read_text(tmp_path / "labels.txt")) == ["stop", "go", "caf\u00e9"]


def test_lines_end_only_at_line_ends():
    text = "a\u2028b \n\ufeffc\x0bd\n\ne\u00a0\n \n\n"
    assert lines_of(text) == ["a\u2028b", "c\x0bd", "", "e"]
    assert lines_of("") == lines_of("\r\n\n") == []


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"good\ncaf\xe9 au lait\n", r"x is not UTF-8 \(line 2, byte 4 of the line is 0xE9\): store it as UTF-8"),
        ("stop\ngo\n".encode("utf-16-le"), "seems to be utf-16-le without a byte order mark: store it as UTF-8"),
        ("stop\ngo\n".encode("utf-16-be"), "seems to be utf-16-be without a byte order mark"),
        (b"stop\ng\0\n", "not a text file, or is damaged: line 2 contains a NUL character"),
        (b"\xff\xfes\0t", None),
        (b"\xff\xfes\0t\0o", r"x is not UTF-16-LE"),
        (b"PK\x03\x04rest", "a zip archive or an Office document"),
        (gzip.compress(b"stop", mtime=0), "compressed with gzip: decompress it"),
        (rb"{\rtf1\ansi stop}", r"rich text \(RTF\): save it as plain text"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    ],
)
def test_other_files_are_told(data, match):
    if match is None:
        match = "not UTF-16-LE"
    with pytest.raises(DataError, match=match) as caught:
        decode(data, "x")
    assert "\n" not in str(caught.value)


def test_the_user_can_state_the_encoding():
    assert decode(b"caf\xe9", "x", encoding="cp1252") == "caf\u00e9"
    assert decode("\u505c".encode("gb18030"), "x", encoding="gb18030") == "\u505c"
    assert decode("caf\u00e9".encode("utf-8-sig"), "x", encoding="cp1252") == "caf\u00e9"
    assert decode("stop".encode("utf-16-le"), "x", encoding="utf-16-le") == "stop"
    with pytest.raises(DataError, match=r"x is not ascii \(line 1, byte 4 of the line is 0xE9\)"):
        decode(b"caf\xe9", "x", encoding="ascii")
    for name in ("latin-99", "hex", "", "a\0b"):
        with pytest.raises(ConfigError, match="unknown `encoding`"):
            decode(b"stop", "x", encoding=name)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        read_text(tmp_path / "none.txt", error=SourceError)
    with pytest.raises(DataError, match="is a folder, not a text file"):
        read_text(tmp_path)
    (tmp_path / "big.txt").write_bytes(b"a" * 11)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_text(tmp_path / "big.txt", limit_bytes=10)
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path / "a\0b")


@pytest.mark.parametrize("kind", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_configuration_file_of_any_editor(kind, tmp_path):
    (tmp_path / "budget.toml").write_bytes('[a]\r\nname = "caf\u00e9"\r\n'.encode(kind))
    assert Tables.read(tmp_path / "budget.toml").content == {"a": {"name": "caf\u00e9"}}
    (tmp_path / "budget.toml").write_bytes(b'[a]\rname = "stop"\r')
    assert Tables.read(tmp_path / "budget.toml").content == {"a": {"name": "stop"}}
    assert json_bytes('{"a": 1}'.encode(kind), "x") == b'{"a": 1}'
    (tmp_path / "budget.toml").write_bytes(b'[a]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError, match=r"budget\.toml is not UTF-8 \(line 2, byte 12"):
        Tables.read(tmp_path / "budget.toml")
