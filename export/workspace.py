"""Paths of the files in the temporary folder of an export."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of the files that the steps of an export and the converter processes exchange."""

    folder: Path

    @property
    def adapter(self) -> Path:
        """Return the path of the `InputAdapter` file of a model that Orilla did not train."""
        return self.folder / "model.json"

    @property
    def model_info(self) -> Path:
        """Return the path of the file with the properties of the model."""
        return self.folder / "model_info.json"

    @property
    def calibration(self) -> Path:
        """Return the path of the file with the calibration samples for the quantisers."""
        return self.folder / "calibration.npz"

    @property
    def binding(self) -> Path:
        """Return the path of the file with the output names and the pixel values of an imported model."""
        return self.folder / "binding.npz"

    @property
    def jobs(self) -> Path:
        """Return the path of the file that lists the samples on which the original model runs."""
        return self.folder / "jobs.json"

    def inputs(self, samples: str, name: str) -> Path:
        """Return the path of the prepared samples for one input of the network.

        Args:
            samples: Set of samples: `validation`, `calibration` or `golden`.
            name: Name of the input.
        """
        # A name in a model file may contain any character, so the path contains its hash instead.
        return self.folder / f"{samples}.{hashlib.sha256(name.encode()).hexdigest()[:16]}.npy"

    def outputs(self, samples: str, place: int) -> Path:
        """Return the path of one output of the original model.

        Args:
            samples: Set of samples: `validation` or `golden`.
            place: Index of the output in the order of their names.
        """
        return self.folder / f"{samples}.out{place}.npy"

    def base(self, number: int, suffix: str) -> Path:
        """Return the path of a converted file from which recipes make variants."""
        return self.folder / f"base{number}{suffix}"

    def variant(self, name: str, suffix: str) -> Path:
        """Return the path of a quantised variant."""
        return self.folder / f"{name}{suffix}"


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array to a `.npy` file.

    The array is encoded in memory first, because `numpy.save` hides the reason for a failure such as a full disk.

    Raises:
        OSError: The file cannot be written. Its `errno` gives the reason.
    """
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
