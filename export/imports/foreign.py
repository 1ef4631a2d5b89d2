"""Description of a model file: its tensors, operators and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.quantization import Quantization

USUAL_SIZE = 224
"""Input height and width of most image networks, in pixels."""

USUAL_LENGTH = 128
"""Proposed size of an axis that is not fixed and not the height or width of an image."""


class ForeignTensor(msgspec.Struct, frozen=True):
    """An input or output of a model file."""

    name: str
    shape: tuple[int, ...]
    """Shape with the batch axis. The size of an axis that is not fixed is 0."""
    dtype: str
    quantisation: Quantization | None = None

    def describe(self) -> str:
        """Return the name, shape and type, as in `images [1,3,416,416] float32`. A size that is not fixed is `?`."""
        return f"{self.name} [{','.join(str(size) if size else '?' for size in self.shape)}] {self.dtype}"


class OpenSizes(msgspec.Struct, frozen=True):
    """Input axes of unknown size, with guesses of their sizes."""

    inputs: str
    """Descriptions of the inputs with such axes, as returned by `ForeignTensor.describe`."""
    guess: tuple[int, ...]
    """Probable sizes. The description of the model applies to these sizes."""
    reason: str
    """Reason why these sizes are probable."""


class FileHints(msgspec.Struct, frozen=True):
    """Facts that a model file states about the use of the model. A fact that it does not state is None."""

    labels: tuple[str, ...] | None = None
    task: str | None = None
    mean: tuple[float, ...] | None = None
    """Mean in grey levels 0–255."""
    std: tuple[float, ...] | None = None
    """Standard deviation in grey levels."""
    color: Literal["rgb", "bgr", "grey"] | None = None
    preprocess: Preprocess | None = None
    """The whole image preprocessing, if Orilla itself wrote the metadata."""


class ForeignModel(msgspec.Struct, frozen=True):
    """Description of a model file that another tool wrote."""

    format: str
    """`tflite` or `onnx`."""
    inputs: tuple[ForeignTensor, ...]
    outputs: tuple[ForeignTensor, ...]
    weights: str
    """Type of most weights, such as `float32` or `int8`."""
    activations: str
    """Type of most activations."""
    parameters: int
    convolutions: tuple[str, ...] = ()
    """Names of the operators that are convolutions."""
    recurrent: tuple[str, ...] = ()
    """Names of the operators that are recurrent layers or loops."""
    normalising: str | None = None
    """Name of the network's first operator if it normalises the input, else None."""
    activation: Literal["softmax", "sigmoid"] | None = None
    """Activation that computes the output of a model with one output. None if there is no such activation."""
    values: Literal["indices", "fractions"] | None = None
    """Kind of the values of the only output, if it is a float output: class indices or fractions. None if unknown."""
    hints: FileHints = FileHints()
    changing: dict[str, str] = {}
    """For each output whose size depends on input values, the operator that causes this."""
    open_sizes: OpenSizes | None = None
    """Sizes that the user must state. None if all sizes are known."""

    @property
    def quantised(self) -> bool:
        """Return True if the network computes with integers."""
        return self.activations.startswith(("int", "uint"))

    def write(self, path: str) -> None:
        """Write the description as JSON."""
        Path(path).write_bytes(msgspec.json.encode(self))


def read(path: Path) -> ForeignModel:
    """Read a description that `ForeignModel.write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=ForeignModel)


def usual_sizes(described: str, count: int, *, image: bool) -> OpenSizes:
    """Return the most usual sizes for axes that a file does not fix.

    Args:
        described: Descriptions of the inputs with such axes.
        count: Number of these axes.
        image: True if these axes are the height and width of an image.
    """
    if image:
        return OpenSizes(described, (USUAL_SIZE,) * count, "most networks for images take this size")
    return OpenSizes(described, (USUAL_LENGTH,) * count, "the file does not show it; use the size of your samples")


def check_count(stated: int, needed: int, described: str) -> None:
    """Raise `ValueError` if the user states too few or too many sizes of axes that are not fixed.

    Args:
        stated: Number of sizes that the user states.
        needed: Number of axes that are not fixed.
        described: Descriptions of the inputs with such axes.
    """
    if stated > needed:
        where = f" ({described})" if described else ""
        msg = f"`input` has {stated - needed} more sizes than the model has axes that are not fixed{where}: omit them"
        raise ValueError(msg)
    if stated < needed:
        msg = (
            f"`input` has {stated} sizes, but {needed} axes of the model are not fixed: {described}; give a size for "
            "each ?"
        )
        raise ValueError(msg)


def most_frequent(counts: dict[str, int], otherwise: str) -> str:
    """Return the type with the largest number of values, or `otherwise` if there are no values."""
    return max(counts, key=lambda name: counts[name]) if counts else otherwise
