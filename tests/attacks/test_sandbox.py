"""An untrusted model file is tried in a sandboxed process before this process loads it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from helpers.bundles import BUNDLES
from helpers.command import orilla as command

import orilla.runtime
from orilla.devices import sandbox
from orilla.devices.errors import EngineError
from orilla.devices.tflite_file import check_tflite
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import ZOO, Bundle
from orilla.runtime.engines import examination
from orilla.runtime.engines.registry import installed

ROAD = BUNDLES / "road.orilla"
VARIANT = "litert_wi8_ai8"

CRASHES = {"SIGSEGV": (1240, 2), "SIGABRT": (1668, 2)}
"""Position and new value of a number in the model file. The structure of the file stays valid. Each change crashes
LiteRT, whatever its memory contains. The index -1 of a tensor, for example, would not: LiteRT reads the memory before
its list of tensors, whose content sometimes only causes an error.
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache in which no file has passed a trial yet."""
    monkeypatch.delenv("ORILLA_NO_TRIAL", raising=False)
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def trials(monkeypatch) -> list[str]:
    """The engines of the trials that were started."""
    started: list[str] = []
    original = examination._try
    monkeypatch.setattr(examination, "_try", lambda engine, data: started.append(engine) or original(engine, data))
    return started


def crashing(folder: Path, kind: str) -> Path:
    """Write a bundle with correct hashes whose model file crashes LiteRT."""
    bundle = Bundle.open(ROAD)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    file = bundle.manifest.variant(VARIANT).file
    changed = bytearray(files[file])
    struct.pack_into("<I", changed, *CRASHES[kind])
    check_tflite(bytes(changed))
    files[file] = bytes(changed)
    manifest = msgspec.structs.replace(bundle.manifest, files=bundles.entries(files), default=VARIANT)
    path = folder / "bad.orilla"
    bundles.write(path, manifest, files)
    return path


@pytest.mark.parametrize("kind", CRASHES)
def test_a_model_that_crashes_the_engine(tmp_path, kind):
    path = crashing(tmp_path, kind)
    ended = command("run", path, "--variant", VARIANT, "--source", "scenes", "--frames", "1", "--sink", "none")
    assert f"this model file crashes the engine `litert` ({kind})" in ended.stderr
    assert ended.returncode == 2


@pytest.mark.parametrize("kind", CRASHES)
def test_the_crash_is_real(tmp_path, monkeypatch, kind):
    """Without the trial, the calling process ends by a signal."""
    path = crashing(tmp_path, kind)
    words = ("run", path, "--variant", VARIANT, "--source", "scenes", "--frames", "1", "--sink", "none")
    monkeypatch.setenv("ORILLA_NO_TRIAL", "1")
    assert command(*words).returncode == -getattr(signal, kind)


def test_verify_reports_a_crash_as_a_failed_stage(tmp_path):
    ended = command("verify", crashing(tmp_path, "SIGSEGV"), "--variant", VARIANT, "--json")
    assert ended.returncode == 1, ended.stderr
    (variant,) = json.loads(ended.stdout)["variants"]
    assert variant["first_difference"] == "load"
    assert "crashes the engine" in variant["stages"][0]["detail"]


def test_a_file_is_tried_once(trials, cache):
    for _ in range(3):
        with orilla.runtime.open(ROAD, variant=VARIANT):
            pass
    assert trials == ["litert"]
    with orilla.runtime.open(ROAD, variant="litert_fp32"):
        pass
    assert trials == ["litert", "litert"]
    folder = cache / "tried"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.iterdir())) == 2


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not installed")
def test_each_engine_tries_the_file(trials):
    for engine in ("onnx", "onnx"):
        with orilla.runtime.open(ROAD, variant="onnx_fp32", engine=engine):
            pass
    assert trials == ["onnx"]


def test_marks_that_others_can_write_do_not_count(trials, cache):
    for _ in range(2):
        with orilla.runtime.open(ROAD, variant=VARIANT):
            pass
        (cache / "tried").chmod(0o777)
    with orilla.runtime.open(ROAD, variant=VARIANT):
        pass
    assert trials == ["litert"] * 3


def test_shipped_and_signed_bundles_are_not_tried(trials, tmp_path, monkeypatch):
    with orilla.runtime.open("road"):
        pass
    assert trials == []
    assert Bundle.open(shutil.copy(ZOO / "road.orilla", tmp_path)).is_trusted is False
    pytest.importorskip("cryptography", reason='needs pip install "orilla[sign]"')
    from orilla.runtime.bundle import keys
    from orilla.runtime.cli import main

    monkeypatch.setenv("ORILLA_STATE", str(tmp_path / "state"))
    keys.write_new(tmp_path / "key")
    assert main(["sign", str(ROAD), "--key", str(tmp_path / "key"), "--out", str(tmp_path / "r.orilla")]) == 0
    with orilla.runtime.open(tmp_path / "r.orilla", trust=tmp_path / "key.pub", variant=VARIANT):
        pass
    assert trials == []
    with orilla.runtime.open(tmp_path / "r.orilla", variant=VARIANT):
        pass
    assert trials == ["litert"], "without the key, the signature says nothing"


def test_a_cache_that_cannot_be_written(trials, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", "/proc/orilla")
    for _ in range(2):
        with orilla.runtime.open(ROAD, variant=VARIANT):
            pass
    assert trials == ["litert", "litert"]


PROBE = """
import json, os, socket, sys, threading, time
from pathlib import Path
from orilla.devices.sandbox import Limits, enter
folder = Path(sys.argv[1])
names = enter(Limits(1 << 30, 2, writable=(folder / "free",), file_bytes=1 << 20))
def blocked(work):
    try:
        work()
    except (OSError, MemoryError):
        return True
    return False
def connect():
    with socket.socket() as one:
        one.connect(("127.0.0.1", int(sys.argv[2])))
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", int(sys.argv[2])))
print(json.dumps({"names": names, "blocked": {
    "write": blocked(lambda: (folder / "new").write_text("x")),
    "overwrite": blocked(lambda: (folder / "old").write_text("x")),
    "truncate": blocked(lambda: os.truncate(folder / "old", 0)),
    "remove": blocked(lambda: (folder / "old").unlink()),
    "rename": blocked(lambda: (folder / "old").rename(folder / "other")),
    "folder": blocked(lambda: (folder / "made").mkdir()),
    "link": blocked(lambda: (folder / "link").symlink_to("old")),
    "tcp": blocked(connect),
    "udp": blocked(send),
    "program": blocked(lambda: os.execv("/bin/true", ["true"])),
    "kill": blocked(lambda: os.kill(os.getppid(), 0)),
    "memory": blocked(lambda: bytearray(2 << 30)),
}, "allowed": {
    "read": not blocked(lambda: (folder / "old").read_text()),
    "free": not blocked(lambda: (folder / "free" / "new").write_text("x")),
    "thread": not blocked(lambda: threading.Thread(target=int).start()),
    "null": not blocked(lambda: Path(os.devnull).write_text("x")),
}}), flush=True)
while True:
    pass
"""


def test_what_a_process_under_protection_cannot_do(tmp_path):
    """The process tries forbidden actions, which fail if the kernel supports the protection.

    Then it uses up its processor time.
    """
    import socket

    (tmp_path / "old").write_text("old")
    (tmp_path / "free").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", PROBE, str(tmp_path), str(server.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    result = json.loads(ended.stdout)
    assert set(result["allowed"].values()) == {True}, result
    needs = {"tcp": sandbox.NETWORK, "udp": sandbox.NETWORK, "program": sandbox.SECCOMP, "kill": sandbox.SECCOMP}
    for what, is_blocked in result["blocked"].items():
        need = sandbox.LIMITS if what == "memory" else needs.get(what, sandbox.LANDLOCK)
        assert is_blocked or need not in result["names"], what
    assert (tmp_path / "old").read_text() == "old" or sandbox.LANDLOCK not in result["names"]
    assert ended.returncode == -24, "SIGXCPU"


def test_all_protections_are_in_force_where_the_kernel_has_them():
    """On Linux 6.7 or newer with user namespaces, no protection is missing.

    Other systems skip this test and state what is missing.
    """
    code = "from orilla.devices.sandbox import *; print(*enter(Limits(1 << 30, 5)), sep=',')"
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    names = ended.stdout.strip().split(",")
    assert names[0] == sandbox.LIMITS
    missing = {sandbox.NETWORK, sandbox.LANDLOCK, sandbox.SECCOMP} - set(names)
    if missing:
        pytest.skip(f"this system has no {', '.join(sorted(missing))}")


def test_a_model_that_needs_too_much_memory(tmp_path, monkeypatch):
    from orilla.runtime.engines import trial

    assert trial.BASE_BYTES >= 1 << 30
    monkeypatch.setattr(
        examination, "_try", lambda engine, data: (-9, "", "")
    )  # The system kills a process that takes all memory.
    with pytest.raises(EngineError, match="this model file needs too much memory, or was ended by the system"):
        orilla.runtime.open(ROAD, variant=VARIANT)


def test_the_trial_does_not_inherit_files_or_see_the_current_folder(tmp_path, monkeypatch):
    """A file `numpy.py` in the current folder is not imported, and the child inherits no open files of the caller."""
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        code, output, error = examination._try("litert", b"no model")
    assert code == 0, error
    assert "lacks the signature TFL3" in output
