"""The Keras version that wrote a model file, and the errors for layers that cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass


class UntranslatableError(ValueError):
    """Raised if a layer, or the way it is used, has no equivalent in Keras 3. The message does not name the layer."""


class UnreadableLayersError(ValueError):
    """Raised if layers of a file cannot be read. The message lists them with the reasons."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The Keras version that wrote a file, and the backend that ran the model."""

    text: str
    """Version that the file states, such as `2.2.4-tf`. Empty if the file does not state it."""
    backend: str | None
    """`tensorflow`, `theano` or `cntk`. None if the file does not state it, as in Keras 1 files."""

    cell_names: bool = True
    """False if the weight names of recurrent layers do not contain the cell, as in files up to TensorFlow 2.1."""

    @property
    def version(self) -> tuple[int, int, int]:
        """Return the version as numbers. A file without a version was written by an early release of Keras 1."""
        numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.text)
        return (int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)) if numbers else (1, 0, 0)

    @property
    def in_tensorflow(self) -> bool:
        """Return True if the file was written by `tf.keras`, or by Keras 2.4 or later, which is the same code."""
        return "tf" in self.text or self.version >= (2, 4, 0)

    @property
    def flips_kernels(self) -> bool:
        """Return True if the backend flipped each kernel before the convolution, as Theano did."""
        return self.backend == "theano"

    def __str__(self) -> str:
        return f"Keras {self.text}" if self.text else "Keras 1"
