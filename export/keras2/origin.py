"""The Keras version that wrote a model file, and the reasons for which a layer of it cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass


class UntranslatableError(ValueError):
    """A layer, or the way it is used, has no equivalent in Keras 3. The message is the reason, without the layer."""


class UnreadableLayersError(ValueError):
    """Layers of a file cannot be read. The message lists them with their reasons."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The Keras version that wrote a file, and the backend that ran the model."""

    text: str
    """Version as it stands in the file, such as `2.2.4-tf`. Empty if the file does not state it."""
    backend: str | None
    """`tensorflow`, `theano` or `cntk`. None if the file does not state it, as in files of Keras 1."""

    cell_names: bool = True
    """False if the weights of recurrent layers are named without their cells, as until TensorFlow 2.1."""

    @property
    def version(self) -> tuple[int, int, int]:
        """Return the version as numbers. Files without a version are those of early releases of Keras 1."""
        numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.text)
        return (int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)) if numbers else (1, 0, 0)

    @property
    def in_tensorflow(self) -> bool:
        """Return True if the Keras that wrote the file is the one inside TensorFlow (`tf.keras`), or follows it."""
        return "tf" in self.text or self.version >= (2, 4, 0)

    @property
    def flips_kernels(self) -> bool:
        """Return True if the backend turned each kernel around before it multiplied, as Theano did."""
        return self.backend == "theano"

    def __str__(self) -> str:
        return f"Keras {self.text}" if self.text else "Keras 1"
