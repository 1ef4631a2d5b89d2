"""The temporary folder of one export, with a named path for each file in it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of the files that the steps of an export pass to one another and to the converters' processes."""

    folder: Path

    @property
    def adapter(self) -> Path:
        """Return the path of the `InputAdapter` of a model from elsewhere."""
        return self.folder / "model.json"

    @property
    def model_info(self) -> Path:
        """Return the path of the model's properties."""
        return self.folder / "model_info.json"

    @property
    def calibration(self) -> Path:
        """Return the path of the calibration samples for the quantisers."""
        return self.folder / "calibration.npz"

    @property
    def jobs(self) -> Path:
        """Return the path of the jobs of the original model."""
        return self.folder / "jobs.json"

    def inputs(self, samples: str, name: str) -> Path:
        """Return the path of the prepared samples (`validation`, `calibration`, `golden`) for the input `name`."""
        return self.folder / f"{samples}.{name}.npy"

    def outputs(self, samples: str) -> Path:
        """Return the path of the original model's outputs for prepared samples."""
        return self.folder / f"{samples}.out.npy"

    def base(self, number: int, suffix: str) -> Path:
        """Return the path of a converted base."""
        return self.folder / f"base{number}{suffix}"

    def variant(self, name: str, suffix: str) -> Path:
        """Return the path of a quantised variant."""
        return self.folder / f"{name}{suffix}"


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array to a `.npy` file.

    `numpy.save` reports a full disk by an error that does not say so.

    Raises:
        OSError: The file cannot be written; `errno` says why.
    """
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
