"""Sources of arrays: the rows of a file, JSON lines from standard input, or samples from the caller."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import SourceError, neighbour
from orilla.devices.gate import only_our_errors, reason_of
from orilla.devices.text_files import lines_of, read_text
from orilla.runtime.frame import Event, Line, Record
from orilla.runtime.preprocessing import npy
from orilla.runtime.preprocessing.tensor import Arrays
from orilla.runtime.sources.source import now_ns
from orilla.runtime.sources.text_lines import Lines

NAME = "x"
"""Name of an array for which the user gives no name."""

DELIMITERS = (";", "\t", ",")
"""Delimiters of a table's cells, starting with the most specific. A comma may also be a decimal comma."""

MAX_TABLE_BYTES = 1 << 30
"""Maximum size of a `.csv` file in bytes."""

KINDS = ".npz, .npy, .csv, .jsonl, or `-` for JSON lines from standard input"


class Records:
    """Delivers one sample of arrays at a time.

    Args:
        samples: Iterator over samples, or over events in place of damaged ones.
        close: Function that releases the file.
    """

    live = False
    rate_hz: float | None = None

    def __init__(self, samples: Iterator[Arrays | Event], close: Callable[[], None] = lambda: None) -> None:
        self._samples, self._close = samples, close
        self._index = 0

    @classmethod
    def open(cls, spec: str) -> Records:
        """Open a file, or standard input if `spec` is `-`.

        A `.npz` file contains one array `[N,...]` for each input of the model. A `.npy` file and a `.csv` file contain
        the only input, one sample per row. The first line of a `.csv` file may be a header. Each line of a `.jsonl`
        file is an object with an array for each input, or the only array.

        Raises:
            SourceError: The file does not exist, is damaged, or does not contain arrays.
        """
        path = Path(spec)
        if spec == "-" or path.suffix.lower() == ".jsonl":
            lines = Lines.open(spec)
            return cls(_parsed(lines), lines.close)
        if not path.is_file():
            msg = f"no such file: {spec}{neighbour(Path(spec))}; a model that takes arrays reads {KINDS}"
            raise SourceError(msg)
        readers = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv}
        reader = readers.get(path.suffix.lower())
        if reader is None:
            msg = f"{spec} is not a file of arrays: a model that takes arrays reads {KINDS}"
            raise SourceError(msg)
        with only_our_errors(spec, SourceError):
            arrays = reader(path)
        counts = {len(array) if array.ndim else 0 for array in arrays.values()}
        if len(counts) != 1 or not min(counts):
            msg = f"{spec} must have the same number of samples for each array, and at least one"
            raise SourceError(msg)
        return cls({name: array[index] for name, array in arrays.items()} for index in range(min(counts)))

    @classmethod
    def of(cls, samples: Iterable[Arrays | NDArray[Any]]) -> Records:
        """Return a source for samples of the caller: arrays by name, or the only array."""
        return cls(sample if isinstance(sample, Mapping) else {NAME: np.asarray(sample)} for sample in samples)

    def read(self) -> Record | Event | None:
        """Return the next sample or an event, or None at the end."""
        sample = next(self._samples, None)
        if sample is None or isinstance(sample, Event):
            return sample
        record = Record(self._index, sample, now_ns())
        self._index += 1
        return record

    def close(self) -> None:
        """Release the file."""
        self._close()
        self._samples = iter(())


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): npy.read_array(archive.open(name), name) for name in names}


def _read_npy(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as stream:
        return {NAME: npy.read_array(stream, path.name)}


def _read_csv(path: Path) -> dict[str, NDArray[Any]]:
    lines = [line for line in lines_of(read_text(path, limit_bytes=MAX_TABLE_BYTES, error=SourceError)) if line]
    delimiter = next((mark for mark in DELIMITERS if lines and mark in lines[-1]), ",")
    header = int(bool(lines) and not all(_is_number(cell) for cell in lines[0].split(delimiter)))
    if delimiter == ";":
        lines = [line.replace(",", ".") for line in lines]  # Tables with these delimiters have decimal commas.
    return {NAME: np.loadtxt(lines[header:], delimiter=delimiter, ndmin=2)}


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _parsed(lines: Lines) -> Iterator[Arrays | Event]:
    """Yield the sample of each JSON line, or an event if a line does not contain arrays of numbers."""
    while (line := lines.read()) is not None:
        if not isinstance(line, Line):
            yield line
            continue
        try:
            document = json.loads(line.text)
            arrays = document if isinstance(document, dict) else {NAME: document}
            sample = {name: np.asarray(value) for name, value in arrays.items()}
            if any(array.dtype.kind not in "iufb" for array in sample.values()):
                msg = "it does not contain arrays of numbers"
                raise ValueError(msg)
        except Exception as error:  # noqa: BLE001 - NumPy raises many types of errors for odd lists
            detail = f"line {line.index + 1} is skipped: {reason_of(error)}"
            yield Event("corrupt", line.index, line.captured_ns, detail)
            continue
        yield sample
