"""Deployments: a new release is verified before it is in force. After every failure, a complete release is in force."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from helpers.bundles import BUNDLES
from helpers.command import orilla as command
from helpers.power import Disk, before_each_call
from helpers.sshd import a_board

import orilla.runtime
from orilla.devices.errors import BundleError, ConfigError, EngineError, OutputError, SourceError
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle import deployment as deployments
from orilla.runtime.bundle import probation
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.deployment import Deployment, Probation
from orilla.runtime.cli import main
from orilla.runtime.commands.deploy import install as installs
from orilla.runtime.commands.deploy.install import Order, install

ROAD = BUNDLES / "road.orilla"


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> list[Path]:
    """Three small bundles with the same variant, which differ in their labels."""
    folder = tmp_path_factory.mktemp("releases")
    small = folder / "small.orilla"
    assert main(["slim", str(ROAD), "--keep", "litert_wi8_ai8", "--out", str(small)]) == 0
    made = []
    for number in range(3):
        bundle = Bundle.open(small)
        manifest = msgspec.structs.replace(bundle.manifest, labels=(f"road {number}",))
        path = folder / f"v{number}.orilla"
        bundles.write(path, manifest, {name: bundle.read(name) for name in manifest.files})
        made.append(path)
    return made


@pytest.fixture
def unverified(monkeypatch):
    """Installations without a verification, which another test covers."""
    monkeypatch.setattr(installs, "_verify", lambda path, order: None)


@pytest.fixture
def folder(tmp_path, releases, unverified) -> Path:
    """A deployment with two releases. The second release is in force and has passed its probation."""
    place = tmp_path / "road"
    install(Order(releases[0]), place)
    install(Order(releases[1], probation_s=0), place)
    return place


def label(folder: Path) -> str:
    """Return the label of the release in force. All files of the release are checked."""
    return Bundle.open(folder).manifest.labels[0]


def starts(folder: Path) -> tuple[str, ...]:
    found = Deployment.read(folder).record.probation
    return () if found is None else found.starts


def test_the_way_of_a_release(tmp_path, releases, capsys):
    place = str(tmp_path / "road")
    assert main(["deploy", "--to", place, "--status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "empty"
    for number, release in enumerate(releases[:2]):
        assert main(["deploy", str(release), "--to", place, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["status"], document["failed"]) == ("deployed", None)
        assert document["probation_s"] == (60 if number else None), "the first release has nothing to return to"
    assert label(Path(place)) == "road 1"
    assert main(["deploy", str(releases[1]), "--to", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "unchanged"
    with orilla.runtime.open(place) as model:
        assert model.name == "road"
        assert model.bundle.manifest.labels == ("road 1",)
    for expected in ("road 0", "road 1"):
        assert main(["deploy", "--to", place, "--rollback", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "rolled back"
        assert label(Path(place)) == expected
    assert main(["verify", place]) == 0


def test_a_release_that_gives_other_results(tmp_path, releases, capsys):
    place = tmp_path / "road"
    assert main(["deploy", str(releases[0]), "--to", str(place)]) == 0
    bundle = Bundle.open(releases[1])
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    answer = bundle.manifest.variants[0].golden[0]
    files[answer] = files[answer][:-64] + bytes([0x3C] * 64)
    manifest = msgspec.structs.replace(bundle.manifest, files=bundles.entries(files))
    bundles.write(tmp_path / "wrong.orilla", manifest, files)
    capsys.readouterr()
    assert main(["deploy", str(tmp_path / "wrong.orilla"), "--to", str(place), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "refused"
    assert "the release was not installed:  litert_wi8_ai8: infer: " in document["failed"]
    assert label(place) == "road 0"
    assert len(list((place / "releases").iterdir())) == 1, "the refused release takes no space"


def test_a_release_over_its_budget(tmp_path, releases, capsys):
    limits = tmp_path / "budget.toml"
    limits.write_text('[[budget]]\nbundle = "road"\nvariant = "litert_wi8_ai8"\nmib = 0.001\n')
    place = tmp_path / "road"
    assert main(["deploy", str(releases[0]), "--to", str(place), "--budget", str(limits), "--json"]) == 1
    assert "the release was not installed:  " in json.loads(capsys.readouterr().out)["failed"]
    assert Deployment.read(place) is None


def test_a_model_that_crashes_its_engine(tmp_path, monkeypatch, releases):
    """The verification runs in a separate process, so its end by a signal is a failure like any other."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(installs.RefusedError, match=r"its model crashed the engine \(signal 11\)"):
        install(Order(releases[0]), tmp_path / "road")


def test_a_loop_that_is_killed_in_its_probation(folder, releases):
    """After a kill, the next start runs the previous release and states the reason."""
    install(Order(releases[2]), folder)
    words = [sys.executable, "-m", "orilla.runtime.cli", "run", str(folder), "--source", "scenes", "--sink", "none"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if starts(folder):
                break
            time.sleep(0.05)
        assert starts(folder)
        process.send_signal(signal.SIGKILL)
    ended = command("run", folder, "--source", "scenes", "--sink", "none", "--frames", "1")
    assert ended.returncode == 0, ended.stderr
    line = ended.stderr.splitlines()[0]
    assert "failed: its loop ended with the process within 60 s" in line
    assert "is in force again" in line
    assert label(folder) == "road 1"
    assert "its loop ended with the process" in Deployment.read(folder).record.failed


def test_a_loop_that_answers_long_enough(folder, releases, capsys):
    install(Order(releases[2], probation_s=0.3), folder)
    words = ["run", str(folder), "--source", "scenes", "--policy", "rate:20", "--sink", "none", "--frames", "40"]
    assert main(words) == 0
    record = Deployment.read(folder).record
    assert (record.probation, record.failed) == (None, None)
    assert label(folder) == "road 2"


def test_a_loop_that_is_stopped_early_stays_under_probation(folder, releases):
    install(Order(releases[2]), folder)
    for _ in range(3):
        assert main(["run", str(folder), "--source", "scenes", "--sink", "none", "--frames", "2"]) == 0
    assert label(folder) == "road 2"
    assert Deployment.read(folder).record.probation == Probation(60.0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EngineError("the engine stops"), "road 1"),
        (ValueError("a mistake"), "road 1"),
        (BundleError("a file is damaged"), "road 1"),
        (SourceError("no camera"), "road 2"),
        (OutputError("the disk is full"), "road 2"),
        (ConfigError("a wrong option"), "road 2"),
        (KeyboardInterrupt(), "road 2"),
        (None, "road 2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_in_the_probation(folder, releases, error, expected):
    """A release is rolled back only after an error that it may have caused."""
    install(Order(releases[2]), folder)
    trial, line = probation.begin(folder)
    assert line is None
    trial.answered()
    assert (trial.ended(error) is not None) == (expected == "road 1")
    assert label(folder) == expected
    assert starts(folder) == ()


def test_power_failures_in_the_probation(folder, releases, monkeypatch):
    """A power failure is not the fault of the release, unless it happens at every start."""
    install(Order(releases[2]), folder)
    for number in range(3):
        monkeypatch.setattr(probation, "_boot", lambda number=number: f"boot {number}")
        assert probation.begin(folder)[1] is None
    monkeypatch.setattr(probation, "_boot", lambda: "boot 3")
    trial, line = probation.begin(folder)
    assert trial is None
    assert "its loop ended with the machine 3 times within 60 s" in line
    assert label(folder) == "road 1"


def test_a_damaged_release_in_the_probation(folder, releases):
    install(Order(releases[2]), folder)
    model = Deployment.read(folder).path / "variants" / "litert_wi8_ai8.tflite"
    model.write_bytes(bytes(100))
    words = ("run", folder, "--source", "scenes", "--sink", "none", "--frames", "1")
    ended = command(*words)
    assert ended.returncode == 2
    assert "is in force again" in ended.stderr
    assert command(*words).returncode == 0


def test_an_unproven_release_is_not_kept_as_the_way_back(folder, releases):
    """A rollback returns to the last release that passed its probation."""
    install(Order(releases[2]), folder)
    install(Order(releases[0]), folder)
    assert main(["deploy", "--to", str(folder), "--rollback"]) == 0
    assert label(folder) == "road 1"


def test_a_part_of_a_bundle(folder, releases, tmp_path):
    from orilla.runtime.bundle.partial import write_part

    present = installs.hashes(Deployment.read(folder))
    part = tmp_path / "part.orilla"
    write_part(part, Bundle.open(releases[2]), present)
    assert part.stat().st_size < releases[2].stat().st_size / 2
    install(Order(part), folder)
    assert label(folder) == "road 2"
    with pytest.raises(BundleError, match="is missing, and no release on this machine contains it"):
        install(Order(part), tmp_path / "other")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"record":{"number":7},"sha256":"0"}', b"\xff" * 10])
def test_a_damaged_record(folder, content):
    """The previous record is used, for example after a power failure on a file system without guarantees."""
    (folder / "deployment-000003.json").write_bytes(content)
    assert label(folder) == "road 1"
    for path in folder.glob("deployment-*.json"):
        path.write_bytes(content)
    with pytest.raises(BundleError, match="deployment-000003"):
        Bundle.open(folder)


def test_a_record_that_names_a_path_outside(folder, tmp_path):
    record = Deployment.read(folder).record
    release = msgspec.structs.replace(record.current, path="../../../etc")
    deployments.write_record(folder, msgspec.structs.replace(record, number=9, current=release))
    for path in folder.glob("deployment-00000[12].json"):
        path.unlink()
    with pytest.raises(BundleError, match="which is not a release"):
        Bundle.open(folder)


def test_another_release_in_its_place(folder):
    """A release whose files were exchanged is not opened, although its hashes are correct."""
    record = Deployment.read(folder).record
    shutil.rmtree(folder / "releases" / record.current.path)
    shutil.copytree(folder / "releases" / record.previous.path, folder / "releases" / record.current.path)
    with pytest.raises(BundleError, match="is not the release that was deployed"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--to", "road"], "give exactly one of a bundle, --rollback and --status"),
        (["road", "--to", "road", "--rollback"], "give exactly one of"),
        (["--to", "missing", "--rollback"], "--to missing: this is not a deployment"),
        (["road", "--to", "full"], "this folder is not empty and is not a deployment"),
        (["road", "--to", "a/b/c/d"], "cannot write|No such file"),
        (["nothing.orilla", "--to", "road"], "nothing.orilla"),
        (["road", "--to", "road", "--probation", "-1"], "--probation -1: must be 0 to 86400 seconds"),
        (["road", "--to", "road", "--service", "a b"], "--service a b"),
        (["road", "--to", "ssh://host"], "add the folder on the machine"),
        (["road", "--to", "ssh://-oProxyCommand=x/y"], "--to|host"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, words, match):
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "a").touch()
    assert main(["deploy", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(match, line), line


def test_a_full_disk(folder, releases, monkeypatch):
    monkeypatch.setattr(installs, "SPARE_BYTES", 1 << 60)
    with pytest.raises(OutputError, match="of free space, but the release needs"):
        install(Order(releases[2]), folder)
    assert label(folder) == "road 1"


def test_signed_releases(tmp_path, releases, unverified, monkeypatch, capsys):
    pytest.importorskip("cryptography", reason='needs pip install "orilla[sign]"')
    monkeypatch.setenv("ORILLA_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for name in ("robot.key", "other.key"):
        assert main(["sign", "--new-key", name]) == 0
    for number, key in ((0, "robot"), (1, "robot"), (2, "other")):
        words = ["--key", f"{key}.key", "--counter", str(number + 5), "--out", f"s{number}.orilla"]
        assert main(["sign", str(releases[number]), *words]) == 0
    deploy = ["deploy", "--to", "ruler"]
    assert main([*deploy, "s0.orilla", "--trust", "robot.key.pub"]) == 0
    for bundle, reason in (("s2.orilla", "signed by the key"), (str(releases[1]), "is not signed")):
        assert main([*deploy, bundle]) == 2, "the key of the deployment is used"
        assert reason in capsys.readouterr().err
    assert main([*deploy, "s1.orilla"]) == 0
    assert main([*deploy, "s0.orilla"]) == 2
    assert "is older than the release in force: its counter is 5" in capsys.readouterr().err
    assert Bundle.open("ruler").signed.counter == 6
    assert main([*deploy, "--rollback"]) == 0
    assert Bundle.open("ruler").signed.counter == 5
    (tmp_path / "ruler" / "releases" / Deployment.read(Path("ruler")).record.current.path / "model.sig").unlink()
    with pytest.raises(BundleError):
        Bundle.open("ruler")


def states(folder: Path) -> str:
    """Return the label of a deployment after a failure, and check that the next installation works."""
    for path in (folder / "releases").glob(".new-*"):
        assert path.is_dir()
    return label(folder)


def test_power_failures_at_every_step(folder, releases, tmp_path):
    """All unflushed data is lost: the old or the new release is complete and in force."""
    disk, seen, number = Disk(folder), [], 0

    def fail(name: str) -> None:
        nonlocal number
        for image in (disk.flushed, disk.renamed):
            number += 1
            left = tmp_path / "images" / str(number) / "road"
            left.mkdir(parents=True)
            image(left)
            seen.append(states(left))
            if number % 50 == 0:
                install(Order(releases[2]), left)
                assert label(left) == "road 2", "the next installation works"
            shutil.rmtree(left.parent)

    with disk.observed(fail):
        install(Order(releases[2]), folder)
    fail("end")
    assert len(seen) > 60
    assert set(seen) == {"road 1", "road 2"}
    assert seen[-2:] == ["road 2", "road 2"], "what was reported as deployed survives"


def test_a_missing_flush_is_noticed(folder, releases, tmp_path, monkeypatch):
    """The test above fails if the files of a release are not flushed."""
    disk, damaged = Disk(folder), []

    def fail(name: str) -> None:
        left = tmp_path / "images" / str(time.monotonic_ns()) / "road"
        left.mkdir(parents=True)
        disk.renamed(left)
        try:
            label(left)
        except BundleError as error:
            damaged.append(str(error))

    monkeypatch.setattr(installs, "os", SimpleNamespace(fsync=lambda descriptor: None))
    with disk.observed(fail):
        install(Order(releases[2]), folder)
    fail("end")
    assert damaged


@pytest.mark.slow
def test_kills_at_every_step(folder, releases, tmp_path):
    """SIGKILL before the n-th change of the disk, for every n."""
    outcomes = []
    for step in range(1, 500):
        left = tmp_path / "killed" / "road"
        shutil.copytree(folder, left)
        child = os.fork()
        if child == 0:
            _install_and_die(releases[2], left, step)
        _, status = os.waitpid(child, 0)
        outcomes.append(states(left))
        if step % 8 == 1 or outcomes[-2:] == ["road 1", "road 2"]:
            install(Order(releases[2]), left)
            assert label(left) == "road 2", "the next installation works"
            assert len(list((left / "releases").iterdir())) == 2, "nothing remains of the interrupted installation"
            assert not list(left.glob(".deployment-*"))
        shutil.rmtree(left)
        if os.waitstatus_to_exitcode(status) == 0:
            break
    assert step > 30
    assert outcomes[0] == "road 1"
    assert outcomes[-1] == "road 2"


def _install_and_die(bundle: Path, folder: Path, step: int) -> None:
    left = step

    def die(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        with before_each_call(die):
            install(Order(bundle), folder)
        code = 0
    finally:
        os._exit(code)


@pytest.mark.slow
def test_a_deployment_over_ssh(tmp_path, releases, monkeypatch, capsys):
    """Only the files that the machine lacks are sent, and the machine verifies the release."""
    server = a_board(tmp_path)
    monkeypatch.setenv("ORILLA_SSH", f"ssh -F {server.config}")
    try:
        words = ["deploy", "--to", "ssh://board/~/robots/road", "--json"]
        (tmp_path / "home" / "robots").mkdir()
        documents = []
        for release in releases[:2]:
            assert main([*words, str(release), "--variant", "litert_wi8_ai8"]) == 0
            documents.append(json.loads(capsys.readouterr().out))
        assert [document["status"] for document in documents] == ["deployed", "deployed"]
        assert label(tmp_path / "home" / "robots" / "road") == "road 1"
        assert not list((tmp_path / "home" / ".cache/orilla/remote/deploy").iterdir())
        assert main([*words, "--rollback"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "rolled back"
        assert label(tmp_path / "home" / "robots" / "road") == "road 0"
        assert main([*words, "--status"]) == 0
        assert json.loads(capsys.readouterr().out)["current"]["name"] == "tiny"
        assert main(["deploy", str(releases[0]), "--to", "ssh://board/proc/road"]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith("orilla: board: cannot write /proc/road")
    finally:
        server.stop()
