"""Functions that build small data, models and bundles when a test needs them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle import bundle as bundle_files
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.card import Card, DataCard, EvaluationResult, SplitCard
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.bundle.run_folder import Run, encode_json
from orilla.runtime.evaluation.datasets import Source
from orilla.runtime.frame import Frame
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.preprocessing.text import TextPreprocess, encode_vocabulary
from orilla.runtime.tasks.registry import task_of

ROAD = 3
"""CamVid's label for the road."""

HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(200)
"""Start of a HEIC image from a mobile phone: the first box of the file, followed by zeros."""

SMALL_CONVNET = {
    "model": "convnet",
    "input": (48, 48),
    "batch": 8,
    "epochs": 6,
    "learning_rate": 3e-3,
    "augment": False,
}
"""Training options with which a network learns in seconds to classify the images of `class_folders`."""


def picture(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Return a smooth random image, `[H,W,3]` BGR."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def road_labels(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return labels with sky in the upper half, road in the lower half, and a column of unlabelled pixels."""
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = ROAD
    labels[:, :2] = 11
    return labels


def road_picture(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Return an image for `road_labels` that is easy to learn: its upper part is bright and its lower part is dark."""
    image = picture(height, width, seed) // 4
    image[: height // 2] += 150
    return image


def boxed_picture(side: int, seed: int) -> tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]:
    """Return an image with a bright red or blue square, and the class and edges of this square."""
    rng = np.random.default_rng(seed)
    image, cls = picture(side, side, seed) // 4, int(rng.integers(2))
    size = int(rng.integers(side // 4, side // 2))
    left, top = (int(rng.integers(side - size)) for _ in range(2))
    image[top : top + size, left : left + size, (2, 0)[cls]] = 250
    return image, [(cls, left, top, left + size, top + size)]


def boxed_folder(folder: Path, counts: dict[str, int], side: int = 64) -> Path:
    """Write images of `boxed_picture` in the YOLO layout."""
    for split, count in counts.items():
        (folder / split / "labels").mkdir(parents=True)
        for index in range(count):
            image, rows = boxed_picture(side, 1000 * len(split) + index)
            write_picture(folder / split / "images" / f"{index}.png", image)
            lines = (
                f"{cls} {(left + right) / 2 / side} {(top + bottom) / 2 / side} {(right - left) / side} "
                f"{(bottom - top) / side}\n"
                for cls, left, top, right, bottom in rows
            )
            (folder / split / "labels" / f"{index}.txt").write_text("".join(lines))
    (folder / "classes.txt").write_text("red\nblue\n")
    return folder


def camvid_folder(folder: Path, counts: dict[str, int], size_hw: tuple[int, int] = (48, 64)) -> Path:
    """Write a data set in CamVid's layout."""
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for index in range(count):
            stem = f"{'AB'[index % 2]}_{split}{index:03d}"
            image = road_picture(*size_hw, seed=1000 * len(split) + index)
            cv2.imwrite(str(folder / split / f"{stem}.png"), image)
            cv2.imwrite(str(folder / f"{split}annot" / f"{stem}.png"), road_labels(*size_hw))
    return folder


def zip_folder(folder: Path, path: Path) -> Path:
    """Write the folder's files into a zip file."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def video(path: Path, frames: int = 12, size_hw: tuple[int, int] = (48, 64), codec: str = "MJPG") -> Path:
    """Write a short clip whose images become brighter from frame to frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, size_hw[::-1])
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((*size_hw, 3), (10 * index + 5) % 256, np.uint8))
    writer.release()
    return path


def card(input_hw: tuple[int, int]) -> Card:
    """Return the card of an untrained segmentation model."""
    return Card(
        model="tiny",
        task="segment",
        labels=("road",),
        data=DataCard((Source("camvid", "made by a test", "none"),), (SplitCard("train", 10, "0" * 64),)),
        start_weights="random",
        parameters=10,
        input=input_hw,
        seed=0,
        epochs=1,
        best_epoch=1,
        batch=1,
        learning_rate=0.1,
        samples=10,
        seconds=1.0,
        machine="a test",
        precision="float32",
        versions={},
        command="orilla train road",
        measured=(EvaluationResult("val", {"iou": 0.5}, {"iou": (0.4, 0.6)}),),
    )


class ListSource:
    """Source that returns given images. After the last image, it raises `error` if one is given."""

    def __init__(self, images: list[NDArray[np.uint8]], *, live: bool = False, error: Exception | None = None) -> None:
        self.live = live
        self.rate_hz: float | None = None
        self.closed = False
        self._images, self._error, self._index = images, error, 0

    def read(self) -> Frame | None:
        if self._index == len(self._images):
            if self._error is not None:
                raise self._error
            return None
        frame = Frame(self._index, self._images[self._index], 1_000_000 * self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        self.closed = True


def write_picture(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write an image file. Its folder is created if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def class_folders(
    folder: Path,
    counts: dict[str, int],
    *,
    classes: tuple[str, ...] = ("cat", "dog"),
    seed: int = 0,
    grey: bool = False,
    size_hw: tuple[int, int] = (40, 48),
) -> Path:
    """Write images in class folders.

    The images are easy to learn: images of the first class are dark on the left, and
    images of the second class are dark on the right.
    """
    for split, count in counts.items():
        for label, name in enumerate(classes):
            for index in range(count):
                image = picture(*size_hw, seed=seed + 7919 * len(split) + 1000 * label + index)
                half = size_hw[1] // 2
                image[:, half * label : half * (label + 1)] //= 6
                write_picture(folder / split / name / f"{name}{index:03d}.png", image[..., 0] if grey else image)
    return folder


def text_table(path: Path, count: int = 60) -> Path:
    """Write a table of texts in two classes. One word of each text shows its class."""
    rng = np.random.default_rng(3)
    fill = ["film", "plot", "actor", "the", "of", "scene", "music"]
    rows = ["text,label,split"]
    for index in range(count):
        words = rng.choice(fill, 12).tolist()
        words[int(rng.integers(12))] = ("dreadful", "lovely")[index % 2]
        rows.append(
            f"{' '.join(words)} {index},{('bad', 'good')[index % 2]},{'train' if index < count * 2 // 3 else 'test'}"
        )
    path.write_text("\n".join(rows) + "\n")
    return path


def card_of(task: str, labels: tuple[str, ...], size: tuple[int, ...]) -> Card:
    """Return the card of an untrained model for any task."""
    base = card((1, 1))
    metric = task_of(task).metric
    measured = tuple(
        msgspec.structs.replace(result, metrics={metric: 0.5}, intervals={metric: (0.4, 0.6)})
        for result in base.measured
    )
    return msgspec.structs.replace(base, model=f"tiny_{task}", task=task, labels=labels, input=size, measured=measured)


def classifier_run(folder: Path, data: Path) -> Path:
    """Write a run folder with a small classifier for `class_folders`.

    The classifier compares the brightness of the left and right halves of an image.
    """
    import keras

    image = keras.Input((32, 48, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="normalise")(image)
    x = keras.layers.AveragePooling2D((32, 24), name="pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    kernel = np.array([[-4.0, 4.0]] * 3 + [[4.0, -4.0]] * 3)
    dense = keras.layers.Dense(2, activation="softmax", name="probabilities")
    model = keras.Model(image, dense(x), name="animals")
    dense.set_weights([kernel, np.zeros(2)])
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "card.json").write_bytes(encode_json(card_of("classify", ("cat", "dog"), (32, 48))))
    (folder / "run.json").write_bytes(encode_json(Run(Preprocess(size_hw=(32, 48)), str(data))))
    return folder


def text_run(folder: Path, data: Path, embedding: tuple[int, int] = (9, 4), units: int = 6) -> Path:
    """Write a run folder with a small recurrent model for `text_table`.

    The model has random weights, and outputs one probability.

    Args:
        folder: The run folder.
        data: The table.
        embedding: Number of tokens, and length of a token's vector.
        units: Number of LSTM units in each direction.
    """
    import keras

    keras.utils.set_random_seed(1)
    vocabulary = ("film", "plot", "dreadful", "lovely", "the", "of")
    tokens = keras.Input((12,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(*embedding, embeddings_initializer="normal", name="embedding")(tokens)
    x = keras.layers.Bidirectional(keras.layers.LSTM(units, name="lstm"), name="both")(x)
    x = keras.layers.Rescaling(40.0, name="scale")(x)
    model = keras.Model(tokens, keras.layers.Dense(1, activation="sigmoid", name="probability")(x), name="reviews")
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "vocabulary.txt").write_bytes(encode_vocabulary(vocabulary))
    (folder / "card.json").write_bytes(encode_json(card_of("text", ("bad", "good"), (12,))))
    (folder / "run.json").write_bytes(encode_json(Run(TextPreprocess(length=12), str(data))))
    return folder


def array_bundle(path: Path) -> Path:
    """Write a bundle with the task `tensor`. It contains the model of `animals.orilla`, and its input is an image."""
    from helpers.bundles import BUNDLES

    original = Bundle.open(BUNDLES / "animals.orilla")
    manifest = original.manifest
    files: dict[str, bytes] = {}
    spec = TensorPreprocess((TensorSpec("pixels", (32, 48, 3), "float32"),))
    samples, preprocessor = [], spec.preprocessor()
    for number, (entry, frame) in enumerate(zip(manifest.golden, read_frames(original), strict=True)):
        name = f"golden/{number:03}.input.npy"
        arrays = {"pixels": np.asarray(frame.prepared)}
        data, raw = preprocessor.encode_raw(arrays, name)
        files |= {name: data, entry.output: original.read(entry.output)}
        samples.append(msgspec.structs.replace(entry, raw=name, prepared=name, raw_sha256=preprocessor.digest(raw)))
    chosen = manifest.variant("litert_fp32")
    files |= {name: original.read(name) for name in chosen.files}
    metrics = {"cosine": 1.0}
    check = msgspec.structs.replace(chosen.check, metrics=metrics)
    changes = {
        "task": "tensor",
        "labels": (),
        "preprocess": spec,
        "variants": (msgspec.structs.replace(chosen, check=check),),
        "default": chosen.name,
        "golden": tuple(samples),
        "card": None,
        "report": msgspec.structs.replace(manifest.report, metrics=metrics),
        "files": bundle_files.entries(files),
    }
    bundle_files.write(path, msgspec.structs.replace(manifest, **changes), files)
    return path


def trained_weights(folder: Path) -> list[NDArray[np.float32]]:
    """Return the trained weights of a run folder."""
    import keras

    weights: list[NDArray[np.float32]] = keras.models.load_model(folder / "model.keras", compile=False).get_weights()
    return weights
