"""Read the archives of models that old versions of Keras stored, and compare Orilla's answers with the stored ones."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARCHIVES = Path(__file__).parents[1] / "export" / "keras2"
"""Folder with one archive per version of Keras, which `make.py` in it wrote."""

TOLERANCE = 1e-5
"""Largest allowed difference from the stored answers, relative to the largest answer or 1."""

LOOSE = {"mixed-precision": 5e-3}
"""Tolerance of models for which 1e-5 is too strict.

`mixed-precision` computed its answers in float16. Orilla exports it in float32.
"""

REFUSED = {
    "refused-lambda": "Lambda",
    "refused-lambda-in-nested": "Lambda",
    "refused-custom-layer": "Doubled",
    "refused-custom-activation": "my_activation",
    "refused-merge-function": "my_merge",
}
"""Models that Orilla must reject, and a word of the message."""

REFUSED_IN: dict[str, dict[str, str]] = {
    "3.0.5": {"functional-in-sequential": "cannot read", "random-augmentation": "value_range"},
}
"""Models that Orilla must reject only if a certain version of Keras wrote them, and a word of the message."""

JOINED = "later versions of Keras 3 join masks in another way"

DIFFERS = {
    "3.0.5": {
        "discretization": "Keras 3.0.5 rounds the values to integers first, which later versions of Keras 3 do not",
        "masked-and-unmasked-multiply": JOINED,
        "masked-concatenate-in-time": JOINED,
        "masked-merge": JOINED,
        "partly-frozen": "Keras 3.15 reads the Sequential with one axis too many",
    },
}
"""Models for which Orilla and the Keras that wrote them give different answers, and the reason."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One model of an archive, with the answers of the Keras that wrote it."""

    name: str
    text: str
    """Description of what the model tests: the code of its layers, or a sentence."""
    files: tuple[Path, ...]
    """The same model in each format of its Keras."""
    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]

    @property
    def tolerance(self) -> float:
        """Return the largest allowed difference, as a share of the largest answer."""
        return LOOSE.get(self.name, TOLERANCE)


@dataclass(frozen=True, slots=True)
class Archive:
    """The models that one version of Keras stored."""

    versions: dict[str, str]
    """Versions of Keras and of the packages below it."""
    models: dict[str, StoredModel]
    missing: dict[str, str]
    """Reason for each model that this version of Keras cannot build."""


def archive_names() -> tuple[str, ...]:
    """Return the names of the stored archives, oldest Keras first."""
    return tuple(sorted((path.name.removesuffix(".tar.xz") for path in ARCHIVES.glob("*.tar.xz")), key=_age))


def _age(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in name.split("-")[0].split("."))


def refusal(archive: str, name: str) -> str | None:
    """Return a word of the message with which Orilla rejects a model, or None for a model that it reads."""
    return REFUSED_IN.get(archive, {}).get(name) or REFUSED.get(name)


def known_difference(archive: str, name: str) -> str | None:
    """Return the reason why a model's answers may differ from those of its Keras, or None if they must not."""
    return DIFFERS.get(archive, {}).get(name)


def read_index(path: Path) -> dict[str, Any]:
    """Return the index of an archive, without the models."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("index.json")
        assert member is not None
        index: dict[str, Any] = json.load(member)
        return index


def unpack(path: Path, folder: Path) -> Archive:
    """Extract an archive into a folder and return its models."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    index = json.loads((folder / "index.json").read_text())
    models = {}
    with np.load(folder / "answers.npz") as arrays:
        for name, entry in index["models"].items():
            inputs, outputs = (
                tuple(arrays[key] for key in sorted(arrays) if key[:-1] == f"{name}/{letter}") for letter in "xy"
            )
            files = tuple(folder / file for file in entry["files"])
            models[name] = StoredModel(name, entry["text"], files, inputs, outputs)
    return Archive(index["versions"], models, index["missing"])


def difference(file: Path, stored: StoredModel) -> float:
    """Return the largest difference between the answers of a file, as `orilla export` loads it, and the stored ones.

    The difference is relative to the largest stored answer of each output, or absolute if that is below 1.

    Raises:
        ValueError: Orilla rejects the file.
    """
    import keras

    from orilla.export.convert.frozen import load

    model = load(str(file))
    given = [keras.ops.convert_to_tensor(x) for x in stored.inputs]
    outputs = keras.tree.flatten(model(given if len(given) > 1 else given[0], training=False))
    answers = [keras.ops.convert_to_numpy(output) for output in outputs]
    keras.backend.clear_session()
    return max_difference(answers, stored.outputs)


def max_difference(answers: Any, expected: tuple[NDArray[Any], ...]) -> float:
    """Return the largest difference between two lists of arrays, relative to the largest expected value or 1.

    The difference is infinite if the shapes are not equal.
    """
    if [answer.shape for answer in answers] != [array.shape for array in expected]:
        return float("inf")
    differences = [
        np.abs(answer.astype(np.float64) - array).max() / max(1.0, np.abs(array).max())
        for answer, array in zip(answers, expected, strict=True)
    ]
    return float(np.max(differences))
