"""Reject files that a command does not read. The message states the kind of the file, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import DataError
from orilla.export.imports.registry import IMPORTERS, is_import_path
from orilla.runtime.bundle.file_kind import FileKind, kind_of
from orilla.runtime.bundle.file_kinds import recognise
from orilla.runtime.bundle.wrong_file import COMMANDS, make_bundle, missing, unusable

SIGNED = {
    "tflite": ("a TFLite model", "give a .tflite file that a converter of TensorFlow wrote"),
    "torch": ("a PyTorch program", "give a .pt2 file that torch.export.save wrote"),
}
"""For each importer whose files have a signature: the kind of the files, and what to do if a file has none."""

WEIGHTS = {"layers", "_layer_checkpoint_dependencies", "vars"}
"""Groups in a file with the weights of a Keras model."""

KERAS = "give a run folder of `orilla train`, a .keras file, a .h5 file or a SavedModel folder"


def kind_of_model(path: Path) -> FileKind | None:
    """Return the kind of a file or folder, or None if it is unknown.

    Raises:
        DataError: The path does not exist or cannot be read, or its content does not match its name.
    """
    try:
        if not path.exists():
            raise DataError(missing(path, "model"))
        kind = recognise(path)
        if kind is not None and (kind.unusable or kind.reader == "bundle"):
            raise DataError(_unsuitable(path, kind, "a model", ""))
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error
    return kind


def check_importable(path: Path, importer: str | None) -> None:
    """Raise `DataError` if a file is not of the kind that the importer reads.

    Args:
        path: The file, or an object `module:object`.
        importer: Name of the importer for its suffix. None if there is none.
    """
    if importer is not None and is_import_path(str(path)):
        return
    kind = kind_of_model(path)
    if importer is not None and (importer not in IMPORTERS.built_in or kind is None or kind.format == importer):
        _check_format(path, kind, importer)
        return
    if kind is not None and kind.reader == "import":
        raise DataError(_misnamed(path, kind))
    suffixes = ", ".join(suffix for known in IMPORTERS.values() for suffix in known.suffixes)
    advice = f"give a file with one of the suffixes {suffixes}, or a PyTorch network as MODULE:OBJECT"
    raise DataError(_unsuitable(path, kind, "a model that `orilla import` reads", advice))


def _check_format(path: Path, kind: FileKind | None, importer: str) -> None:
    """Raise `DataError` for a file of an unknown format, if every file of the importer's format has a signature."""
    if kind is None and importer in SIGNED:
        wanted, advice = SIGNED[importer]
        raise DataError(unusable(path, kind, wanted, advice))


def check_keras(path: Path) -> FileKind:
    """Return the kind of a run folder or a Keras model. Raise `DataError` for anything else."""
    if is_import_path(str(path)) and not path.exists():
        msg = f"{path} is an object from a Python module: use `{COMMANDS['import'].format(path)}`"
        raise DataError(msg)
    kind = kind_of_model(path)
    if kind is None or kind.reader != "export":
        raise DataError(_unsuitable(path, kind, "a Keras model", KERAS))
    in_hdf5 = path.is_file() and ".h5" in kind.suffixes
    if in_hdf5:
        _check_hdf5(path)
    if path.is_file() and path.suffix.lower() not in kind.suffixes and not (in_hdf5 and _named_by_keras_2(path)):
        raise DataError(_misnamed(path, kind))
    if kind.format == "saved_model":
        _check_saved_model(path)
    return kind


def _named_by_keras_2(path: Path) -> bool:
    """Return True for an HDF5 file named `.keras`, which Keras 1 and 2 wrote under any name."""
    from orilla.export.keras2.file import origin_of

    return path.suffix.lower() == ".keras" and origin_of(path) is not None


def _check_hdf5(path: Path) -> None:
    """Raise `DataError` if an HDF5 file contains no model, or only the weights of one."""
    import h5py

    try:
        with h5py.File(path) as file:
            attributes, names = set(file.attrs), sorted(file)
    except (OSError, RuntimeError) as error:
        msg = f"{path.name} cannot be read as an HDF5 file: {str(error).splitlines()[0]}"
        raise DataError(msg) from error
    if "model_config" in attributes:
        return
    if "layer_names" in attributes or set(names) & WEIGHTS:
        msg = f"{path.name} contains the weights of a Keras model without the model: {kind_of('', 'checkpoint').advice}"
        raise DataError(msg)
    inside = ", ".join(names[:5]) or "nothing"
    msg = f"{path.name} is an HDF5 file without a Keras model (it contains {inside}): {KERAS}"
    raise DataError(msg)


def _check_saved_model(folder: Path) -> None:
    """Raise `DataError` if a SavedModel's graph file has the wrong content, or is truncated."""
    file = folder / "saved_model.pb"
    kind = recognise(file)
    if kind is not None and kind.unusable:
        msg = f"{folder.name} is a SavedModel whose {unusable(file, kind, '', '')}"
        raise DataError(msg)
    with file.open("rb") as stream:
        if stream.read(1) != b"\x08":
            msg = (
                f"{folder.name} is not a SavedModel: the content of its saved_model.pb is not one; save the model again"
            )
            raise DataError(msg)


def _misnamed(path: Path, kind: FileKind) -> str:
    return f"{path.name} is {kind.what}: rename it to {path.with_suffix(kind.suffixes[0]).name}"


def _unsuitable(path: Path, kind: FileKind | None, wanted: str, advice: str) -> str:
    if kind is not None and kind.reader == "bundle":
        return (
            f"{path.name} is a bundle, not {wanted}: it can be run as it is; `orilla extract {path.name} --out FILE` "
            "writes a model file in it"
        )
    if kind is not None and kind.reader:
        return f"{path.name} is {kind.what}, not {wanted}: use {make_bundle(path, kind)}"
    return unusable(path, kind, wanted, advice)
