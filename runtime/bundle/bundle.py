"""Read and write bundles, as a folder or a `.orilla` zip file.

`container` reads and checks the files of a bundle.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

from orilla.devices.errors import BundleError, unknown_name
from orilla.devices.gate import read_file
from orilla.runtime.bundle import manifest as manifests
from orilla.runtime.bundle.container import MANIFEST, container_of, read_container, read_entry
from orilla.runtime.bundle.deployment import Deployment, digest_of
from orilla.runtime.bundle.manifest import FileEntry, Manifest
from orilla.runtime.bundle.signature import MAX_SIGNATURE_BYTES, SIGNATURE, WHOLE_FILE, Signed
from orilla.runtime.bundle.trust import Trust
from orilla.runtime.files import checksum, replacing, replacing_folder, write_bytes
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.text import decode_vocabulary

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Modification time of every zip entry. It is constant, so that equal content gives equal bytes."""

ZOO = Path(__file__).parents[1] / "zoo"


class Bundle:
    """A bundle with a checked manifest. Each file is checked before its content is returned."""

    def __init__(self, path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_bytes = b""
        """Content of `manifest.json`."""
        self.signature: bytes | None = None
        """Content of `model.sig`. None if the bundle is not signed."""
        self.signed: Signed | None = None
        """The checked signature. None if the bundle was opened without trusted keys."""
        self.trust: Trust | None = None
        """The trusted keys with which the bundle was opened."""
        self._files = files

    @classmethod
    def open(cls, where: str | Path, *, every_file: bool = True, trust: Trust | None = None) -> Bundle:
        """Read and check a bundle.

        Args:
            where: A folder, a `.orilla` file, or the name of a shipped bundle.
            every_file: If True, read and check all files now. If False, check each file when it is read. A loop needs
                only one variant. With False, it starts sooner and needs less memory.
            trust: The trusted keys. If None, signatures are not checked.

        Raises:
            BundleError: The bundle is truncated, its schema is unknown, a file in it has a wrong hash, a wrong size
                or a path outside of the bundle, or the bundle is not trusted.
        """
        path = find(where)
        deployment = Deployment.read(path) if path.is_dir() else None
        if deployment is not None:
            path, trust = deployment.path, trust or Trust.read(deployment.record.trust)
        read, files = read_container(path, every_file=every_file)
        bundle = cls(path, read.manifest, files)
        bundle.manifest_bytes, bundle.signature = read.data, read.signature
        if deployment is not None and digest_of(read.data, read.signature) != deployment.record.current.digest:
            msg = (
                f"{path} is not the release that was deployed: deploy the bundle again, or use `orilla deploy "
                f"--rollback`"
            )
            raise BundleError(msg)
        if trust is not None:
            # A deployment records its accepted bundles itself.
            bundle.check_trust(trust, Path(where).absolute() if deployment is None else None)
        return bundle

    @property
    def is_trusted(self) -> bool:
        """True if the bundle is part of Orilla, or if a trusted key signed it."""
        return self.signed is not None or self.path.parent == ZOO

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 (hex) of every file except the signature. The keys are the paths."""
        listed = {name: entry.sha256 for name, entry in self.manifest.files.items()}
        return {MANIFEST: hashlib.sha256(self.manifest_bytes).hexdigest(), **listed}

    def check_trust(self, trust: Trust, place: Path | None) -> None:
        """Check the signature of the bundle, which may be in a file beside the bundle.

        Args:
            trust: The trusted keys.
            place: Path that identifies the bundle in the record of trusted bundles. If None, the record is neither read
                nor changed.

        Raises:
            BundleError: No trusted key signed the bundle, or it is older than before.
        """
        document, digests = self.signature, self.digests
        beside = self.path.with_name(f"{self.path.name}.sig")
        try:
            if document is None and self.path.is_file() and beside.is_file():
                document = read_file(beside, MAX_SIGNATURE_BYTES, BundleError)
                digests = {WHOLE_FILE: checksum(self.path)}
            self.signed = trust.check(document, digests, place=place, name=self.manifest.name)
        except BundleError as error:
            msg = f"{self.path.name}: {error}"
            raise BundleError(msg) from error
        self.trust = trust

    def read(self, name: str) -> bytes:
        """Return the content of a file that the manifest lists. Raise `BundleError` if the file is damaged."""
        if name not in self._files:
            with container_of(self.path) as container:
                return read_entry(container, name, self.manifest)
        return self._files[name]

    def preprocessor(self) -> InputPreprocessor:
        """Return the preprocessor of the bundle's variants. Raise `BundleError` if the vocabulary is invalid."""
        listed = self.manifest.vocabulary
        return self.manifest.preprocess.preprocessor(decode_vocabulary(self.read(listed)) if listed else ())


def shipped() -> dict[str, Path]:
    """Return the paths of the bundles that are part of the package. The keys are their names."""
    return {bundle.stem: bundle for bundle in ZOO.glob("*.orilla")}


def find(where: str | Path) -> Path:
    """Return the path of a bundle. `where` is the name of a shipped bundle or a path. `./road` is always a path.

    Raises:
        BundleError: The path does not exist.
        ConfigError: The name is unknown.
    """
    text = str(where)
    names = shipped()
    if text in names:
        return names[text]
    path = Path(where)
    try:
        if path.exists():
            return path
    except OSError as error:
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise BundleError(msg) from error
    if path.suffix or len(path.parts) > 1:
        from orilla.runtime.bundle.wrong_file import missing

        raise BundleError(missing(path, "bundle"))
    raise unknown_name(text, names, kind="bundle")


def write(path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a bundle, and replace an existing one. If an error occurs, `path` stays as it is.

    The bytes of the bundle depend only on its content. Call `destination.check_new` first, so that only a bundle is
    replaced.

    Args:
        path: Path of the bundle. A zip file is written if the path ends in `.orilla`, else a folder.
        manifest: The manifest, whose `files` list these files.
        files: Content of each file, by path.
    """
    content = {MANIFEST: manifests.encode(manifest), **{name: files[name] for name in sorted(files)}}
    manifests.decode(content[MANIFEST])  # Check the manifest now, so that no unreadable bundle is written.
    if path.suffix == ".orilla" and not path.is_dir():
        write_files(path, content)
        return
    with replacing_folder(path, replace=(path / MANIFEST).is_file()) as folder:
        for name, data in content.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def write_files(path: Path, content: dict[str, bytes]) -> None:
    """Write files as a zip file. The first file is the manifest. If an error occurs, `path` stays as it is."""
    with replacing(path) as temporary:
        _write_zip(temporary, content)


def write_signed(path: Path, bundle: Bundle, signature: bytes) -> None:
    """Write a bundle with a signature. All other files keep their bytes.

    Args:
        path: Path of the bundle. If it is the folder of `bundle` itself, only the signature is written.
        bundle: The bundle.
        signature: Content of `model.sig`.
    """
    if path.is_dir():
        write_bytes(path / SIGNATURE, signature)
        return
    content = {MANIFEST: bundle.manifest_bytes, **{name: bundle.read(name) for name in sorted(bundle.manifest.files)}}
    write_files(path, {**content, SIGNATURE: signature})


def entries(files: dict[str, bytes]) -> dict[str, FileEntry]:
    """Return the manifest's entry for each file."""
    return {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())}


def _write_zip(path: Path, content: dict[str, bytes]) -> None:
    # Entries are not compressed. Compression hardly shrinks weights, delays the start of a robot, and makes the bytes
    # depend on zlib's version.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
