"""A bundle is checked before it is used: malicious and damaged bundles are rejected with a one-line error."""

import io
import json
import stat
import zipfile

import pytest

from orilla.devices.errors import BundleError, ConfigError, OutputError
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle import container
from orilla.runtime.bundle.bundle import Bundle


def unpack(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def repack(path, change):
    """Return the bytes of a changed bundle. `change` is a function that modifies a dictionary `{name: bytes}`."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def edit_manifest(**values):
    def change(content):
        manifest = json.loads(content["manifest.json"])
        manifest.update(values)
        content["manifest.json"] = json.dumps(manifest).encode()

    return change


def assert_rejected(path, match):
    with pytest.raises(BundleError, match=match) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)


def test_equal_content_gives_equal_bytes(tiny_bundle, tmp_path):
    bundle = Bundle.open(tiny_bundle)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    bundles.write(tmp_path / "again.orilla", bundle.manifest, files)
    assert (tmp_path / "again.orilla").read_bytes() == tiny_bundle.read_bytes()


def test_a_bundle_may_be_a_folder(tiny_bundle, tmp_path):
    folder = unpack(tiny_bundle, tmp_path / "tiny")
    assert Bundle.open(folder).manifest == Bundle.open(tiny_bundle).manifest
    bundle = Bundle.open(folder)
    bundles.write(tmp_path / "copy", bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.files})
    assert Bundle.open(tmp_path / "copy").manifest == bundle.manifest


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_rejected(tiny_bundle, tmp_path, share):
    data = tiny_bundle.read_bytes()
    (tmp_path / "cut.orilla").write_bytes(data[: int(len(data) * share)])
    assert_rejected(tmp_path / "cut.orilla", "is only the beginning of a zip file" if share else "is empty")


def test_any_flipped_byte_is_detected(tiny_bundle, tmp_path):
    data = bytearray(tiny_bundle.read_bytes())
    for place in range(200, len(data) - 2000, len(data) // 40):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        (tmp_path / "flipped.orilla").write_bytes(changed)
        try:
            opened = Bundle.open(tmp_path / "flipped.orilla")
        except BundleError:
            continue
        # Some bytes of a zip file, such as its timestamps, do not affect the content of its entries.
        original = Bundle.open(tiny_bundle)
        assert opened.manifest == original.manifest
        assert all(opened.read(name) == original.read(name) for name in original.manifest.files)


def test_a_wrong_hash_is_rejected(tiny_bundle, tmp_path):
    def change(content):
        name = next(name for name in content if name.endswith(".tflite"))
        content[name] = content[name][:-1] + bytes([content[name][-1] ^ 1])

    (tmp_path / "bad.orilla").write_bytes(repack(tiny_bundle, change))
    assert_rejected(tmp_path / "bad.orilla", "wrong hash")


def test_a_wrong_size_is_rejected(tiny_bundle, tmp_path):
    (tmp_path / "bad.orilla").write_bytes(repack(tiny_bundle, lambda c: c.update({"golden/000.jpg": b"short"})))
    assert_rejected(tmp_path / "bad.orilla", "has 5 bytes, but the manifest states")


def test_missing_and_unlisted_files_are_rejected(tiny_bundle, tmp_path):
    (tmp_path / "less.orilla").write_bytes(repack(tiny_bundle, lambda c: c.pop("golden/000.jpg")))
    assert_rejected(tmp_path / "less.orilla", "golden/000.jpg is missing")
    (tmp_path / "more.orilla").write_bytes(repack(tiny_bundle, lambda c: c.update({"run.sh": b"rm"})))
    assert_rejected(tmp_path / "more.orilla", "run.sh is not in the manifest")


@pytest.mark.parametrize("schema", [0, 1, 2, 99])
def test_an_unknown_schema_is_rejected(tiny_bundle, tmp_path, schema):
    (tmp_path / "new.orilla").write_bytes(repack(tiny_bundle, edit_manifest(schema=schema)))
    assert_rejected(tmp_path / "new.orilla", f"schema {schema} is unknown")


@pytest.mark.parametrize("change", [{"surprise": 1}, {"variants": "none"}, {"labels": []}, {"default": "no_such"}])
def test_manifest_is_read_strictly(tiny_bundle, tmp_path, change):
    (tmp_path / "odd.orilla").write_bytes(repack(tiny_bundle, edit_manifest(**change)))
    assert_rejected(tmp_path / "odd.orilla", "manifest.json")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "c:evil", "a\\evil", "./evil", "a//evil"])
def test_paths_outside_of_the_bundle_are_rejected(tiny_bundle, tmp_path, name):
    (tmp_path / "evil.orilla").write_bytes(repack(tiny_bundle, lambda c: c.update({name: b"x"})))
    assert_rejected(tmp_path / "evil.orilla", "must stay inside|not in the manifest")


def test_a_manifest_with_a_path_outside_of_the_bundle_is_rejected(tiny_bundle, tmp_path):
    def change(content):
        manifest = json.loads(content["manifest.json"])
        manifest["variants"][0]["file"] = "../../secret"
        content["manifest.json"] = json.dumps(manifest).encode()

    (tmp_path / "evil.orilla").write_bytes(repack(tiny_bundle, change))
    assert_rejected(tmp_path / "evil.orilla", "refers to ../../secret")


def test_links_are_rejected(tiny_bundle, tmp_path):
    buffer = io.BytesIO(repack(tiny_bundle, lambda c: None))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "link.orilla").write_bytes(buffer.getvalue())
    assert_rejected(tmp_path / "link.orilla", "is a link")
    folder = unpack(tiny_bundle, tmp_path / "tiny")
    (folder / "link").symlink_to("/etc/passwd")
    assert_rejected(folder, "is a link")


def test_two_files_of_the_same_name_are_rejected(tiny_bundle, tmp_path):
    buffer = io.BytesIO(repack(tiny_bundle, lambda c: None))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("golden/000.jpg", b"other")
    (tmp_path / "twice.orilla").write_bytes(buffer.getvalue())
    assert_rejected(tmp_path / "twice.orilla", "twice")


def test_too_large_bundles_are_rejected_before_they_are_read(tiny_bundle, monkeypatch):
    monkeypatch.setattr(container, "MAX_FILE_BYTES", 1000)
    assert_rejected(tiny_bundle, "at most 1000 are allowed")
    monkeypatch.setattr(container, "MAX_FILE_BYTES", 1 << 30)
    monkeypatch.setattr(container, "MAX_TOTAL_BYTES", 10_000)
    assert_rejected(tiny_bundle, "at most 10000 are allowed")
    monkeypatch.setattr(container, "MAX_FILES", 3)
    assert_rejected(tiny_bundle, "at most 3 are allowed")


def test_unlisted_files_are_never_unpacked(tiny_bundle, tmp_path, monkeypatch):
    data = repack(tiny_bundle, lambda c: c.update({"huge": b"\0" * 1_000_000}))
    (tmp_path / "bomb.orilla").write_bytes(data)
    read = []
    real = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, name, *a: (read.append(name), real(self, name, *a))[1])
    assert_rejected(tmp_path / "bomb.orilla", "huge is not in the manifest")
    assert read == ["manifest.json"]


def test_a_folder_does_not_shadow_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "road").mkdir()
    assert Bundle.open("road").manifest.name == "road"
    assert_rejected("./road", "road is an empty folder, not a bundle")


def test_unknown_names_and_missing_paths_are_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown bundle 'raod'.*road"):
        Bundle.open("raod")
    assert_rejected(tmp_path / "none.orilla", "no such bundle")
    assert_rejected(tmp_path, "is an empty folder, not a bundle")
    (tmp_path / "text.orilla").write_text("hello")
    assert_rejected(tmp_path / "text.orilla", "is a text that begins with 'hello'")


def test_a_failed_write_leaves_no_files(tiny_bundle, tmp_path):
    bundle = Bundle.open(tiny_bundle)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    with pytest.raises(OutputError, match="does not exist"):
        bundles.write(tmp_path / "no" / "tiny.orilla", bundle.manifest, files)
    assert list(tmp_path.iterdir()) == []
