"""Benchmarks on other machines, simulated by a real sshd on this machine, and the failures that can occur."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from helpers.sshd import a_board

from orilla.devices import toml
from orilla.devices.errors import ConfigError
from orilla.devices.progress import NoProgress
from orilla.runtime.bench import result
from orilla.runtime.bench.remote import environment, job, ssh
from orilla.runtime.bench.remote.ssh import Remote, RemoteError
from orilla.runtime.bench.remote.wheel import ONNX, REQUIREMENTS, wheel
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = a_board(tmp_path_factory.mktemp("sshd"))
    yield made
    made.stop()


@pytest.fixture
def board(server, monkeypatch):
    """The server, with the host name `board` and without files of earlier tests. `doctor` and `verify` are skipped."""
    monkeypatch.setenv("ORILLA_SSH", f"ssh -F {server.config}")
    monkeypatch.setattr(job, "doctor", lambda remote, orilla: [])
    monkeypatch.setattr(job, "verify", lambda remote, command: None)
    server.trust((server.folder / "host.pub").read_text())
    server.log_in_with(server.folder / "key")
    shutil.rmtree(server.folder / "home" / ".cache", ignore_errors=True)
    return server


DOCTOR, VERIFY = job.doctor, job.verify


def test_a_bench_over_ssh(board, tmp_path, capsys, monkeypatch):
    """Orilla and the bundle are copied once. Then the machine is examined, and the bundle is verified and measured."""
    monkeypatch.setattr(job, "doctor", lambda remote, orilla: [*DOCTOR(remote, orilla), "examined"])
    monkeypatch.setattr(job, "verify", VERIFY)
    out = tmp_path / "r.json"
    words = ["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1", "--out", str(out), "--json"]
    assert main(words) in (0, 3)
    captured = capsys.readouterr()
    (host,) = json.loads(captured.out)["hosts"]
    assert host["sent"] == ["orilla", "bundle"]
    assert host["findings"][-1] == "examined"
    assert "orilla doctor failed: it printed no findings" not in host["findings"]
    monkeypatch.setattr(job, "doctor", lambda remote, orilla: [])
    measured = result.read(out)
    assert measured.host.name == "board"
    assert measured.complete
    assert measured.subject.bundle == "probe"
    assert measured.main.count > 100
    assert main(words) in (0, 3)
    (host,) = json.loads(capsys.readouterr().out)["hosts"]
    assert host["sent"] == [], "all of it was there"
    assert not list((board.folder / "home" / ".cache/orilla/remote/runs").iterdir())


@pytest.mark.slow
def test_several_machines_side_by_side(board, tmp_path, capsys):
    """Two servers and one unreachable machine give one table, and a page with the results of the two servers."""
    (tmp_path / "other").mkdir()
    second_board = a_board(tmp_path / "other")
    second = second_board.config.read_text().replace("Host board other", "Host other")
    board.config.write_text(board.config.read_text().replace("Host board other", "Host board") + second)
    words = ["--seconds", "1", "--out", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html")]
    hosts = [word for host in ("board", "other", "127.0.0.1:1") for word in ("--host", f"ssh://{host}")]
    try:
        code = main(["bench", "run", "probe", *hosts, *words])
    finally:
        second_board.stop()
    output = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert "127.0.0.1:1: the machine refused the connection" in output
    for name in ("board", "other"):
        assert result.read(tmp_path / f"r-{name}.json").host.name == name
    assert "<svg" in (tmp_path / "r.html").read_text()


def test_an_unknown_host_key(board, capsys):
    board.trust("")
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    assert "its host key is unknown here: run ssh board once" in " ".join(capsys.readouterr().out.split())


def test_a_host_key_that_has_changed(board, capsys):
    """A changed host key is reported as a possible attack, not as a new machine."""
    board.trust((board.folder / "key.pub").read_text())
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    assert "its host key has changed: find out why" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_an_interrupt_brings_home_what_there_is(board, tmp_path):
    out = tmp_path / "r.json"
    words = [
        "-m",
        "orilla.runtime.cli",
        "bench",
        "run",
        "probe",
        "--host",
        "ssh://board",
        "--seconds",
        "60",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores interrupts, so the new process restores the handler.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C in a terminal also interrupts the whole process group.
    assert process.wait(60) == 130
    measured = result.read(out)
    assert not measured.complete
    assert measured.main.count > 100


def test_names_of_a_hostile_bundle_never_reach_a_shell():
    from orilla.devices.errors import BundleError
    from orilla.runtime.bundle.manifest import decode, encode

    text = encode(Bundle.open("probe").manifest).replace(b'"litert_wi8_ai8"', b'"x; touch /tmp/owned #"')
    with pytest.raises(BundleError, match="is not a valid variant name"):
        decode(text)


@pytest.mark.slow
def test_another_engine_takes_the_variant_that_fits(board, capsys):
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1", "--engine", "onnx", "--json"]) in (
        0,
        3,
    )
    (host,) = json.loads(capsys.readouterr().out)["hosts"]
    assert host["result"]["subject"]["variant"].startswith("onnx")


def test_packages_that_are_missing_or_too_old_are_seen(board):
    remote = Remote("ssh://board")
    assert environment.missing_packages(remote, "python3", {"json": "json>=1.0", "numpy": "numpy>=1.0"}) == []
    needed = {"no_such_thing": "no-such-thing>=1.0", "numpy": "numpy>=99.0"}
    assert environment.missing_packages(remote, "python3", needed) == ["no_such_thing", "numpy"]
    needed = {f"absent_{below}": f"absent>=1; python_version < '3.{below}'" for below in (10, 99)}
    assert environment.missing_packages(remote, "python3", needed) == ["absent_99"]
    assert environment.missing_packages(remote, "python3.0", {"numpy": "numpy>=1.0"}) == ["numpy"]


def test_a_refused_login(board, capsys):
    stranger = board.folder / "stranger"
    if not stranger.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    board.log_in_with(stranger)
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    assert "the machine rejected the login: run ssh-copy-id board" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("program", "text", "message"),
    [
        ("python3", "echo 3.9", "needs Python 3.10 or newer, but the machine has 3.9"),
        ("python3", "exit 127", "needs Python 3.10 or newer, but the machine has no Python"),
    ],
)
def test_no_python_that_is_new_enough(board, capsys, program, text, message, monkeypatch):
    monkeypatch.setattr(environment, "PYTHONS", ("python3",))
    path = board.folder / "bin" / program
    kept = path.read_text()
    path.write_text(f"#!/bin/sh\n{text}\n")
    try:
        assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    finally:
        path.write_text(kept)
    assert message in " ".join(capsys.readouterr().out.split())


def test_no_room_there(board, capsys, monkeypatch):
    """Nothing is installed if the installation would fill the disk."""
    monkeypatch.setattr(environment, "missing_packages", lambda remote, python, needed: list(needed))
    df = board.folder / "bin" / "df"
    df.write_text("#!/bin/sh\necho Filesystem\necho /dev/root 7000000 6990000 10000 99% /\n")
    df.chmod(0o755)
    try:
        assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    finally:
        df.unlink()
    assert "only 9 MiB of disk space is free, but the packages need 800 MiB: free some space" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_bundle_that_computes_something_else_there_is_not_measured(board, tmp_path, capsys, monkeypatch):
    """The golden answers in the bundle belong to another network, so the verification fails."""
    monkeypatch.setattr(job, "verify", VERIFY)
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.manifest import decode, encode

    original = Bundle.open("probe")
    text = json.loads(encode(original.manifest))
    for variant in text["variants"]:
        variant["golden"] = variant["golden"][1:] + variant["golden"][:1]
    path = tmp_path / "wrong.orilla"
    files = {name: original.read(name) for name in original.manifest.files}
    bundles.write(path, decode(json.dumps(text).encode()), files)
    assert main(["bench", "run", str(path), "--host", "ssh://board", "--seconds", "1"]) == 1
    assert "orilla verify failed on that machine: litert_wi8_ai8: infer" in " ".join(capsys.readouterr().out.split())


def flaky(folder, config, fails):
    """Return an ssh command. In some calls, its connection breaks after half of the data was sent or received."""
    counter, script = folder / "calls", folder / "flaky-ssh"
    counter.write_text("0")
    script.write_text(
        f"""#!{sys.executable}
import subprocess, sys
from pathlib import Path
counter = Path({str(counter)!r})
number = int(counter.read_text()) + 1
counter.write_text(str(number))
data = sys.stdin.buffer.read()
lost = number in {fails!r}
given = data[: len(data) // 2] if lost else data
if lost and not data:
    print("Connection reset by 127.0.0.1", file=sys.stderr)
    sys.exit(255)
ended = subprocess.run(["ssh", "-F", {str(config)!r}, *sys.argv[1:]], input=given, stdout=subprocess.PIPE)
if lost:
    print("client_loop: send disconnect: Broken pipe", file=sys.stderr)
    sys.exit(255)
sys.stdout.buffer.write(ended.stdout)
sys.exit(ended.returncode)
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script), counter


def test_a_file_goes_on_where_the_connection_was_lost(board, tmp_path, monkeypatch):
    script, counter = flaky(tmp_path, board.config, {3, 5, 6})
    monkeypatch.setenv("ORILLA_SSH", script)
    monkeypatch.setattr(ssh, "PAUSES_S", (0.01,) * 5)
    data, notes = os.urandom(300_000), []
    progress = NoProgress()
    progress.message = notes.append
    remote = Remote("ssh://board", progress)
    assert remote.send(data, ".cache/orilla/remote/some/file.bin")
    assert (board.folder / "home" / ".cache/orilla/remote/some/file.bin").read_bytes() == data
    assert len(notes) == 3
    assert "Broken pipe" in notes[0] or "reset" in notes[0]
    calls = int(counter.read_text())
    assert not remote.send(data, ".cache/orilla/remote/some/file.bin")
    assert int(counter.read_text()) == calls + 1


@pytest.mark.slow
def test_a_connection_that_is_lost_while_it_measures_is_picked_up(board, tmp_path, monkeypatch, capsys):
    """Without the connection, the measurement continues on the other machine. It is started only once."""
    script, counter = flaky(tmp_path, board.config, {6, 12, 13, 15, 17})
    monkeypatch.setenv("ORILLA_SSH", script)
    monkeypatch.setattr(ssh, "PAUSES_S", (0.01,) * 5)
    monkeypatch.setattr(job, "POLL_S", 0.2)
    out = tmp_path / "r.json"
    words = ["bench", "run", "probe", "--host", "ssh://board", "--seconds", "2", "--out", str(out)]
    assert main(words) in (0, 3)
    assert "retrying in" in capsys.readouterr().err
    assert int(counter.read_text()) > 17
    assert result.read(out).complete


def test_a_disturbed_measurement_is_a_result(board, tmp_path, monkeypatch):
    """`orilla bench run` ends with exit code 3 if other programs disturbed it. Its result names the disturbance."""
    real = job.command_of

    def disturbed(python, code):
        return f"sh -c '{real(python, code)} \"$@\"; exit 3' sh"

    monkeypatch.setattr(job, "command_of", disturbed)
    out = tmp_path / "r.json"
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1", "--out", str(out)]) in (0, 3)
    assert result.read(out).complete


def test_a_machine_that_stays_away_is_given_up(board, tmp_path, monkeypatch, capsys):
    script, _ = flaky(tmp_path, board.config, set(range(3, 99)))
    monkeypatch.setenv("ORILLA_SSH", script)
    monkeypatch.setattr(ssh, "PAUSES_S", (0.01,) * 2)
    assert main(["bench", "run", "probe", "--host", "ssh://board", "--seconds", "1"]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "board: Connection reset by 127.0.0.1" in output or "Broken pipe" in output


def test_the_wheel_is_what_a_robot_needs():
    data = wheel()
    assert data == wheel()
    names = zipfile.ZipFile(BytesIO(data)).namelist()
    assert "orilla/runtime/cli.py" in names
    assert "orilla/devices/catalog.toml" in names
    assert [name for name in names if name.endswith(".orilla")] == ["orilla/runtime/zoo/probe.orilla"]
    assert not [name for name in names if "train" in name.split("/")[1:2] or "__pycache__" in name]
    assert len(data) < 5 << 18, "a robot on a slow link loads this file before each remote benchmark"


def test_what_it_needs_is_what_the_project_says():
    project = toml.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    assert sorted(REQUIREMENTS.values()) == sorted(project["dependencies"])
    assert list(ONNX.values()) == project["optional-dependencies"]["onnx"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "http://board"], "give ssh://USER@HOST"),
        (["--host", "ssh://"], "give ssh://USER@HOST"),
        (["--host", "ssh://-oProxyCommand=x"], "a host name cannot start with a dash"),
        (["--host", "ssh://board:port"], "host ssh://board:port"),
        (["--host", "ssh://a", "--host", "ssh://a"], "two of the hosts are the same machine"),
        (["--host", "ssh://a", "--data", "x"], "--data cannot be used with --host"),
        (["--host", "ssh://a", "--wheels", "."], "this folder contains no wheel"),
    ],
)
def test_what_is_refused(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "run", "probe", *words]) == 2
    assert message in capsys.readouterr().err


def test_no_ssh_here(monkeypatch):
    monkeypatch.setenv("ORILLA_SSH", "no-such-ssh")
    with pytest.raises(ConfigError, match="no-such-ssh is not installed"):
        Remote("ssh://board")


def test_a_script_that_fails_there(board):
    with pytest.raises(RemoteError, match="board: something broke"):
        Remote("ssh://board").run("echo something broke >&2; exit 3")
