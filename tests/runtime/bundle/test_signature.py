"""Signed bundles: rejected signatures, and compatibility with `model-signing` in both directions."""

import base64
import json
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from helpers.bundles import BUNDLES
from helpers.command import orilla as command

import orilla.runtime
from orilla.devices.errors import BundleError, ConfigError, MissingExtraError, OutputError
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle import keys, signature
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.trust import Trust
from orilla.runtime.cli import main

pytest.importorskip("cryptography", reason='needs pip install "orilla[sign]"')

ROAD = BUNDLES / "road.orilla"
MODEL_SIGNING = os.environ.get("ORILLA_MODEL_SIGNING") or shutil.which("model_signing")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with keys, and a separate state folder."""
    monkeypatch.setenv("ORILLA_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    keys.write_new(tmp_path / "robot.key")
    keys.write_new(tmp_path / "other.key")
    return tmp_path


def signed(
    home: Path, name: str = "road.orilla", counter: int = 5, key: str = "robot.key", source: Path = ROAD
) -> Path:
    path = home / name
    shutil.copy(source, path)
    assert main(["sign", str(path), "--key", str(home / key), "--counter", str(counter)]) == 0
    return path


def opened(path: Path, home: Path, key: str = "robot.key.pub") -> Bundle:
    return Bundle.open(path, trust=Trust.read(home / key))


def unpacked(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_signed_bundle_is_trusted(home, algorithm):
    keys.write_new(home / "new.key", algorithm)
    path = signed(home, key="new.key")
    bundle = opened(path, home, "new.key.pub")
    assert bundle.signed == signature.Signed(keys.read_public(home / "new.key.pub").fingerprint, 5)
    with zipfile.ZipFile(path) as now, zipfile.ZipFile(ROAD) as before:
        assert {name: now.read(name) for name in before.namelist()} == {n: before.read(n) for n in before.namelist()}
    assert opened(unpacked(path, home / "folder"), home, "new.key.pub").signed == bundle.signed
    assert Bundle.open(path).signed is None, "signatures are checked only on request"


def test_a_model_of_a_trusted_bundle_runs(home):
    path = signed(home)
    with orilla.runtime.open(path, trust=home / "robot.key.pub") as model:
        assert model.bundle.signed.counter == 5
    with pytest.raises(BundleError, match=r"road\.orilla: it is signed by the key"):
        orilla.runtime.open(path, trust=[home / "other.key.pub"])
    with orilla.runtime.open(path, trust=[home / "other.key.pub", home / "robot.key.pub"]) as model:
        assert model.bundle.signed is not None


def test_an_unsigned_bundle(home):
    with pytest.raises(BundleError, match=r"it is not signed, but only bundles signed by .*robot.key.pub are trusted"):
        opened(ROAD, home)


def changed_label(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"road"', b'"Road"'))


def changed_file(folder: Path) -> None:
    """Change a file, and its hash in the manifest."""
    file = folder / "golden" / "000.jpg"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] |= {"golden/000.jpg": json.loads(json.dumps(_entry(file)))}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _entry(file: Path) -> dict[str, object]:
    entry = bundles.entries({"x": file.read_bytes()})["x"]
    return {"size": entry.size, "sha256": entry.sha256}


def removed_file(folder: Path) -> None:
    (folder / "golden" / "000.jpg").unlink()


def added_file(folder: Path) -> None:
    (folder / "extra").write_text("x")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["extra"] = _entry(folder / "extra")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("change", [changed_label, changed_file, removed_file, added_file])
def test_a_changed_bundle(home, change):
    folder = unpacked(signed(home), home / "folder")
    assert opened(folder, home).signed
    change(folder)
    with pytest.raises(BundleError, match=r"differs from what was signed|is missing|is not covered by the signature"):
        opened(folder, home)


def payload_of(document: dict) -> dict:
    return json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))


def higher_counter(document: dict) -> None:
    statement = payload_of(document)
    statement["predicate"]["orilla"]["counter"] += 1
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def no_signature(document: dict) -> None:
    document["dsseEnvelope"]["signatures"] = []


def other_payload_type(document: dict) -> None:
    document["dsseEnvelope"]["payloadType"] = "text/plain"


def no_envelope(document: dict) -> None:
    del document["dsseEnvelope"]


def bad_base64(document: dict) -> None:
    document["dsseEnvelope"]["payload"] = "*"


def number_as_signature(document: dict) -> None:
    document["dsseEnvelope"]["signatures"][0]["sig"] = 7


@pytest.mark.parametrize(
    "change", [higher_counter, no_signature, other_payload_type, no_envelope, bad_base64, number_as_signature]
)
def test_a_changed_signature(home, change):
    folder = unpacked(signed(home), home / "folder")
    document = json.loads((folder / "model.sig").read_bytes())
    change(document)
    (folder / "model.sig").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"signature|model.sig"):
        opened(folder, home)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff\xfe", bytes(5 << 20)], ids=len)
def test_a_file_that_is_no_signature(home, data):
    folder = unpacked(ROAD, home / "folder")
    (folder / "model.sig").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.sig"):
        opened(folder, home)


def test_the_signature_of_another_bundle(home):
    other = signed(home, "other.orilla", source=BUNDLES / "animals.orilla")
    folder = unpacked(ROAD, home / "folder")
    with zipfile.ZipFile(other) as archive:
        (folder / "model.sig").write_bytes(archive.read("model.sig"))
    with pytest.raises(BundleError, match=r"is signed, but missing|is not covered by the signature"):
        opened(folder, home)


def test_another_signed_bundle_at_the_same_path(home, capsys):
    path = signed(home)
    opened(path, home)
    signed(home, source=BUNDLES / "animals.orilla")
    with pytest.raises(BundleError, match=r"it is the bundle .*, but .* was trusted at this path before"):
        opened(path, home)
    words = ["verify", str(path), "--trust", str(home / "robot.key.pub")]
    assert main(words) == 2
    assert main([*words, "--other-bundle"]) == 0
    assert opened(path, home).signed


def test_an_older_bundle(home):
    old, new = signed(home, "old.orilla", counter=5), signed(home, "new.orilla", counter=6)
    for path in (old, new, new):
        opened(path, home)
    with pytest.raises(BundleError, match=r"older than a bundle .* \(counter 5, but at least 6 is needed\)"):
        opened(old, home)


def test_verify_does_not_raise_the_counter(home):
    """A bundle that is only examined must not prevent the current one from running."""
    old, new = signed(home, "old.orilla", counter=5), signed(home, "new.orilla", counter=6)
    assert main(["verify", str(new), "--trust", str(home / "robot.key.pub"), "--variant", "litert_fp32"]) == 0
    assert opened(old, home).signed.counter == 5


def test_a_damaged_list_of_counters_is_not_ignored(home):
    path = signed(home)
    opened(path, home)
    state = home / "state" / "trust.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    state.write_text("{")
    with pytest.raises(BundleError, match="stores the counters of trusted bundles"):
        opened(path, home)


def test_rungs_must_be_signed_too(home):
    from orilla.runtime.loop.ladder import Ladder

    path = signed(home)
    unsigned = home / "unsigned.orilla"
    shutil.copy(ROAD, unsigned)
    with (
        orilla.runtime.open(path, trust=home / "robot.key.pub") as model,
        pytest.raises(BundleError, match=r"it is not signed"),
    ):
        model.stream("scenes", ladder=Ladder(80, rungs=(f"{unsigned}:litert_wi8_ai8",)))


def test_run_reads_trusted_keys_from_its_configuration(home, capsys):
    path = signed(home)
    config = home / "rover.toml"
    words = ["run", str(config), "--frames", "2", "--sink", "none"]
    for key, code in (("robot", 0), ("other", 2)):
        config.write_text(f'bundle = "{path}"\nsource = "scenes"\ntrust = "{home}/{key}.key.pub"\n')
        assert main(words) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("orilla: road.orilla: it is signed by the key")
    config.write_text(f'bundle = "{path}"\nsource = "scenes"\ntrust = ["other.key.pub", "robot.key.pub"]\n')
    assert main(words) == 0


def test_permissions_of_keys(home):
    private, public = home / "robot.key", home / "robot.key.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    for mode in (0o640, 0o604, 0o644):
        private.chmod(mode)
        with pytest.raises(ConfigError, match="other users can read this private key: run chmod 600"):
            keys.read_private(private)
    public.chmod(0o666)
    with pytest.raises(ConfigError, match="other users can change this key"):
        keys.read_public(public)
    with pytest.raises(OutputError, match="a key is never replaced"):
        keys.write_new(private)
    with pytest.raises(ConfigError, match="this is a private key: give the public key"):
        Trust.read(home / "other.key")
    assert "PrivateKey('" in repr(keys.read_private(home / "other.key"))


@pytest.mark.parametrize("kind", ["rsa", "text", "missing", "folder", "p384"])
def test_other_keys(home, kind):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    path = home / "key"
    if kind in ("rsa", "p384"):
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
        data = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(data)
        path.chmod(0o600)
    elif kind == "text":
        path.touch(0o600)
        path.write_text("secret words")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(ConfigError) as caught:
        keys.read_private(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_encrypted_key(home, monkeypatch):
    from cryptography.hazmat.primitives import serialization

    key = keys.read_private(home / "robot.key").key
    encrypted = serialization.BestAvailableEncryption(b"open sesame")
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    (home / "robot.key").write_bytes(data)
    monkeypatch.setenv("ORILLA_KEY_PASSWORD", "open sesame")
    signed(home)
    monkeypatch.setenv("ORILLA_KEY_PASSWORD", "wrong words")
    with pytest.raises(ConfigError, match="the password is wrong") as caught:
        keys.read_private(home / "robot.key")
    assert "wrong words" not in str(caught.value)


def test_no_output_contains_the_key(home):
    shutil.copy(ROAD, "road.orilla")
    secret = (home / "robot.key").read_text().splitlines()[1]
    ended = command("sign", "road.orilla", "--key", "robot.key", "--json")
    assert ended.returncode == 0, ended.stderr
    assert secret[:20] not in ended.stdout + ended.stderr + (home / "road.orilla").read_bytes().decode("latin-1")
    (home / "robot.key").chmod(0o644)
    refused = command("sign", "road.orilla", "--key", "robot.key")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert secret[:20] not in refused.stderr


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["road.orilla"], "give a bundle and --key"),
        (["road.orilla", "--key", "robot.key", "--counter", "0"], "--counter 0: must be from 1"),
        (["road", "--key", "robot.key"], "is a shipped bundle, which is not changed: give --out"),
        (["road.orilla", "--key", "robot.key.pub"], "other users can read|not a private key"),
        (["--new-key", "robot.key"], "a key is never replaced"),
        (["--new-key", "missing/robot.key"], "No such file"),
    ],
)
def test_refusals_of_sign(home, capsys, words, match):
    import re

    shutil.copy(ROAD, "road.orilla")
    assert main(["sign", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(match, line), line


def test_without_the_package(home, monkeypatch, capsys):
    """The base installation runs bundles without `cryptography`, and names the extra only if a key is used."""
    path = signed(home)
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives", None)
    assert Bundle.open(path).signature is not None
    with pytest.raises(MissingExtraError, match=r'pip install "orilla\[sign\]"'):
        Trust.read(home / "robot.key.pub")


@pytest.mark.skipif(MODEL_SIGNING is None, reason="needs model-signing: `make test-signing`")
class TestModelSigning:
    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([MODEL_SIGNING, *map(str, words)], capture_output=True, text=True, check=False)

    def test_it_accepts_our_signature(self, home):
        folder = unpacked(signed(home), home / "folder")
        words = ("verify", "key", folder, "--signature", folder / "model.sig", "--public_key", home / "robot.key.pub")
        ended = self.run(*words)
        assert ended.returncode == 0, ended.stderr
        changed_label(folder)
        assert self.run(*words).returncode != 0

    @pytest.mark.parametrize("form", ["folder", "file"])
    def test_its_signature_is_accepted(self, home, form):
        """`model-signing` signs a bundle that is a folder, or a bundle's file as a whole."""
        target = unpacked(ROAD, home / "folder") if form == "folder" else Path(shutil.copy(ROAD, home / "road.orilla"))
        place = target / "model.sig" if form == "folder" else home / "road.orilla.sig"
        ended = self.run("sign", "key", target, "--private_key", home / "robot.key", "--signature", place)
        assert ended.returncode == 0, ended.stderr
        assert opened(target, home).signed.counter == 0
        with pytest.raises(BundleError, match="is signed by the key"):
            opened(target, home, "other.key.pub")
        if form == "folder":
            changed_label(target)
        else:
            with target.open("ab") as stream:
                stream.write(b"\0\0")
        with pytest.raises(BundleError, match=r"differs from what was signed|cannot read"):
            opened(target, home)
