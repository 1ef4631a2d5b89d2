import os
import threading

import pytest

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.sinks.segments import FileOptions, Segments

NOON = 1_780_000_000.0


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


def write(segments, data=b"x"):
    path, file = segments.next()
    with file:
        file.write(data)
    return path


def test_a_plain_name_must_be_new(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"a.jsonl already exists: add \?append .* as in a-%Y%m%d-%H%M%S.jsonl"):
        Segments(str(path), FileOptions()).next()
    assert path.read_text() == "old"


def test_append_and_overwrite(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    assert write(Segments(str(path), FileOptions(append=True)), b"+new") == path
    assert path.read_text() == "old+new"
    write(Segments(str(path), FileOptions(overwrite=True)), b"new")
    assert path.read_text() == "new"


def test_names_contain_the_local_time(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    segments = Segments(f"{tmp_path}/%Y-%m-%d/%H%M%S 100%%.jsonl", FileOptions(), Clock())
    assert str(write(segments)).startswith(f"{tmp_path}/2026-05-2")
    assert str(write(segments)).endswith(" 100%-1.jsonl")


def test_a_new_file_begins_after_a_time_or_a_size(tmp_path):
    clock = Clock()
    segments = Segments(f"{tmp_path}/a.csv", FileOptions(every=60, size=1000), clock, clock_s=clock)
    assert write(segments).name == "a.csv"
    assert not segments.is_full(999)
    assert segments.is_full(1000)
    clock.now += 59
    assert not segments.is_full(1)
    clock.now += 1
    assert segments.is_full(1)
    assert write(segments).name == "a-1.csv"
    clock.now += 1
    assert not segments.is_full(1)


def test_the_oldest_files_are_deleted(tmp_path):
    for name in ("a.csv", "a-1.csv.bak", "ab.csv", "b-1.csv"):
        (tmp_path / name).write_bytes(bytes(500))
    (tmp_path / "a.csv").unlink()
    segments = Segments(f"{tmp_path}/a.csv", FileOptions(size=100, max=250))
    for number in range(6):
        path = write(segments, bytes(100))
        os.utime(path, (NOON + number, NOON + number))
    write(segments, b"")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a-1.csv.bak", "a-4.csv", "a-5.csv", "a-6.csv", "ab.csv", "b-1.csv"]


def test_files_of_an_earlier_loop_count(tmp_path):
    target = f"{tmp_path}/%Y/%m%d-%H%M%S.mp4"
    first = Segments(target, FileOptions(every=60, max=150), Clock(NOON))
    old = write(first, bytes(100))
    os.utime(old, (NOON, NOON))
    other = old.with_name("holiday.mp4")
    other.write_bytes(bytes(500))
    second = Segments(target, FileOptions(every=60, max=150), Clock(NOON + 3600))
    new = write(second, bytes(100))
    write(second, b"")
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def test_two_programs_cannot_write_one_file(tmp_path):
    path = str(tmp_path / "a.jsonl")
    segments = Segments(path, FileOptions())
    _, file = segments.next()
    with pytest.raises(OutputError, match="another program is writing this file"):
        Segments(path, FileOptions(append=True)).next()
    file.close()


def test_a_pipe_needs_a_reader(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="no program reads this pipe; start the reader first"):
        Segments(str(pipe), FileOptions()).next()
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    while True:
        try:
            write(Segments(str(pipe), FileOptions()), b"line\n")
            break
        except OutputError:
            continue
    reader.join(10)
    assert read == [b"line\n"]


def test_a_device_is_a_target():
    assert str(write(Segments("/dev/null", FileOptions()))) == "/dev/null"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{}", "it is a folder"),
        ("{}/no/a.jsonl", "No such file or directory"),
        ("{}/file/a.jsonl", "Not a directory"),
    ],
)
def test_targets_that_cannot_be_written(tmp_path, target, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=message):
        Segments(target.format(tmp_path), FileOptions()).next()


def test_unknown_directives_and_contradictions(tmp_path):
    with pytest.raises(ConfigError, match=r"contains %q: use %Y, .* or %% for %"):
        Segments(f"{tmp_path}/a%q.jsonl", FileOptions())
    with pytest.raises(ValueError, match="append and overwrite cannot be used together"):
        FileOptions(append=True, overwrite=True)
    with pytest.raises(ValueError, match="max requires every or size"):
        FileOptions(max=3)
