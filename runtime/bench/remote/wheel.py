"""Build a wheel with the parts of Orilla that a robot needs, from the installed files and without build tools.

The same files always give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle.bundle import EPOCH

PARTS = ("devices", "runtime")
LEFT_OUT = (".orilla",)
"""Suffixes of files that are excluded from the wheel, except for the files in `LEFT_IN`. A benchmark sends its bundle
separately."""

LEFT_IN = ("probe.orilla",)

REQUIREMENTS = {
    "ai_edge_litert": "ai-edge-litert>=2.1",
    "av": "av>=17",
    "msgspec": "msgspec>=0.19",
    "numpy": "numpy>=1.26",
    "cv2": "opencv-python-headless>=4.10.0.84",
    "rich": "rich>=13",
    "tomli": "tomli>=2; python_version < '3.11'",
}
"""Requirements of Orilla without extras. The keys are the import names. A test compares them with `pyproject.toml`."""

ONNX = {"onnxruntime": "onnxruntime>=1.20"}
SIGN = {"cryptography": "cryptography>=43"}


def wheel() -> bytes:
    """Build the wheel and return its content.

    Raises:
        ConfigError: Orilla is not installed on this machine, so its metadata is missing.
    """
    try:
        installed = distribution("orilla")
    except PackageNotFoundError as error:
        msg = "cannot send orilla to other machines, because it is not installed here: install it with pip first"
        raise ConfigError(msg) from error
    folder = f"orilla-{installed.version}.dist-info"
    files = dict(sorted(_sources().items()))
    files[f"{folder}/METADATA"] = _metadata(installed)
    files[f"{folder}/entry_points.txt"] = (installed.read_text("entry_points.txt") or "").encode()
    files[f"{folder}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: orilla\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{folder}/RECORD"] = _record(files, f"{folder}/RECORD")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _sources() -> dict[str, bytes]:
    sources = {}
    for part in PARTS:
        spec = find_spec(f"orilla.{part}")
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        for path in root.rglob("*"):
            shipped = path.suffix not in LEFT_OUT or path.name in LEFT_IN
            if path.is_file() and shipped and "__pycache__" not in path.parts:
                sources[f"orilla/{part}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return sources


def _metadata(installed: Distribution) -> bytes:
    return (installed.read_text("METADATA") or installed.read_text("PKG-INFO") or "").encode()


def _record(files: dict[str, bytes], own: str) -> bytes:
    """Return the content of `RECORD`: the hash and size of every file.

    Source: PyPA, "Recording installed projects".
    """
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{own},,", ""]).encode()
