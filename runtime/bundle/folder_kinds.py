"""Recognise folders: run folders, bundles, and folders of other frameworks."""

from __future__ import annotations

from pathlib import Path

from orilla.runtime.bundle.file_kind import FileKind, folders, kind_of, kinds

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".heic", ".avif")


def of_folder(path: Path) -> FileKind | None:
    """Return the kind of a folder, or None if it is unknown.

    Raises:
        OSError: The folder cannot be read.
    """
    names = {file.name for file in path.iterdir()}
    if not names:
        return kind_of("an empty folder")
    for kind in folders():
        if kind.contains in names:
            return kind
    if any(name.endswith(".index") for name in names) and any(".data-" in name for name in names):
        return kind_of("a TensorFlow checkpoint with weights only", "checkpoint")
    readable = {suffix for kind in kinds() if kind.reader for suffix in kind.suffixes} | {".onnx", ".pt2", ".orilla"}
    models = sorted(name for name in names if Path(name).suffix.lower() in readable)
    if models:
        more = f" and {len(models) - 1} more" if len(models) > 1 else ""
        return kind_of("a folder", f"give the file in it: {path / models[0]}{more}")
    inner = [file for file in sorted(path.iterdir()) if file.is_dir()][:5]
    images = any(Path(name).suffix.lower() in IMAGES for name in names) or any(
        file.suffix.lower() in IMAGES for folder in inner for file in folder.iterdir()
    )
    return kind_of("a folder of images") if images else None
