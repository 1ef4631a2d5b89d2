"""Small data sets of every kind. The contract tests of the readers open, change and damage these data sets."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from helpers import annotation_tools, factories, layouts

Change = Literal["input", "label"] | None
"""The part of the first training sample that a builder changes. If None, the builder changes nothing."""


class Example(NamedTuple):
    """A small data set."""

    kind: str
    """Name of the data set's reader in `READERS`."""
    build: Callable[[Path, Change], str | Path]
    """Function that writes the data set at a path, and returns the argument with which `open_dataset` opens it."""


def scenes(path: Path, change: Change = None) -> str:
    """Return a specification of computer-generated scenes. They need no files."""
    del path
    return "scenes:4" if change else "scenes:3"


def camvid(path: Path, change: Change = None) -> Path:
    """Write road scenes in CamVid's layout."""
    factories.camvid_folder(path, {"train": 3, "val": 2})
    if change == "input":
        factories.write_picture(path / "train" / "A_train000.png", factories.picture(seed=99))
    if change == "label":
        labels = factories.road_labels()
        labels[0, 0] = 5
        factories.write_picture(path / "trainannot" / "A_train000.png", labels)
    return path


def kitti(path: Path, change: Change = None) -> Path:
    """Write road scenes in KITTI's layout."""
    for index in range(6):
        labels = np.zeros((40, 60, 3), np.uint8)
        labels[..., 2] = 255
        labels[10 if change == "label" and index == 0 else 20 :, :, 0] = 255
        seed = 99 if change == "input" and index == 0 else index
        factories.write_picture(path / "training" / "image_2" / f"um_{index:06}.png", factories.picture(40, 60, seed))
        factories.write_picture(path / "training" / "gt_image_2" / f"um_road_{index:06}.png", labels)
    return path


def masks(path: Path, change: Change = None) -> Path:
    """Write images with masks in two splits."""
    for start, split in enumerate(("train", "val")):
        for index in range(3):
            changed = change if (split, index) == ("train", 0) else None
            mask = np.zeros((40, 60), np.uint8)
            mask[10 if changed == "label" else 20 :] = 255
            image = factories.picture(40, 60, 99 if changed == "input" else 10 * start + index)
            factories.write_picture(path / split / "images" / f"{index}.png", image)
            factories.write_picture(path / split / "masks" / f"{index}.png", mask)
    return path


def palette_masks(path: Path, change: Change = None) -> Path:
    """Write images with masks of several classes. The values of a mask are indices of a palette."""
    masks(path, change)
    for file in sorted(path.rglob("masks/*.png")):
        with Image.open(file) as image:
            mask = Image.fromarray((np.asarray(image) > 0).astype(np.uint8), "P")
        mask.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
        mask.save(file)
    (path / "classes.txt").write_text("background\nroad\ncar\n")
    return path


def colour_masks(path: Path, change: Change = None) -> Path:
    """Write images with masks of several classes. The values of a mask are colours."""
    masks(path, change)
    for file in sorted(path.rglob("masks/*.png")):
        with Image.open(file) as image:
            road = np.asarray(image)[..., None] > 0
        Image.fromarray(np.where(road, (128, 64, 128), (70, 130, 180)).astype(np.uint8)).save(file)
    (path / "classes.txt").write_text("sky 70 130 180\nroad 128 64 128\nvoid 0 0 0\n")
    return path


def folders(path: Path, change: Change = None) -> Path:
    """Write images in class folders."""
    factories.class_folders(path, {"train": 3, "validation": 2})
    first = path / "train" / "cat" / "cat000.png"
    if change == "input":
        factories.write_picture(first, factories.picture(seed=99))
    if change == "label":
        first.rename(path / "train" / "dog" / "cat000.png")
    return path


def zipped_folders(path: Path, change: Change = None) -> Path:
    """Write a zip file with images in class folders."""
    return factories.zip_folder(folders(path / "unpacked", change), path / "animals.zip")


def _digits(change: Change) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"x_train": (20, 28, 28), "y_train": (20,), "x_test": (10, 28, 28), "y_test": (10,)}
    arrays = {name: rng.integers(0, 10, shape, np.uint8) for name, shape in shapes.items()}
    if change is not None:
        changed = arrays["x_train" if change == "input" else "y_train"].reshape(-1)
        changed[0] = (changed[0] + 1) % 10
    return arrays


def mnist(path: Path, change: Change = None) -> Path:
    """Write digits in the format of the file `mnist.npz` of Keras."""
    return write_npz(path / "mnist.npz", _digits(change))


def mnist_idx(path: Path, change: Change = None) -> Path:
    """Write digits in the format of the original idx files. The image files are compressed with gzip."""
    arrays = _digits(change)
    path.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        sizes = b"".join(size.to_bytes(4, "big") for size in images.shape)
        packed = gzip.compress((2051).to_bytes(4, "big") + sizes + images.tobytes(), mtime=0)
        (path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(packed)
        header = (2049).to_bytes(4, "big") + len(labels).to_bytes(4, "big")
        (path / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return path


def imdb(path: Path, change: Change = None) -> Path:
    """Write reviews in the format of the file `imdb.npz` of Keras, and the word index."""
    reviews = np.empty(10, object)
    reviews[:] = [[1, 4, 5], [1, 6, 4, 5]] * 5
    labels = np.array([0, 1] * 5)
    arrays = {"x_train": reviews, "y_train": labels, "x_test": reviews[::-1].copy(), "y_test": labels[::-1].copy()}
    if change == "input":
        reviews[0] = [2, 4, 5]
    if change == "label":
        labels[0] = 1
    path.mkdir(parents=True, exist_ok=True)
    words = ("good", "film", "bad", "plot", "dull", "of")
    (path / "imdb_word_index.json").write_text(json.dumps({word: rank for rank, word in enumerate(words, 1)}))
    return write_npz(path / "imdb.npz", arrays)


def arrays(path: Path, change: Change = None) -> Path:
    """Write vectors, and for each vector the values that a network should output."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(30, 2))
    if change is not None:
        (x if change == "input" else y)[0, 0] += 1
    return write_npz(path / "arrays.npz", {"x": x, "y": y})


def image_arrays(path: Path, change: Change = None) -> Path:
    """Write RGB images and their masks into an `.npz` file."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (5, 20, 30, 3), np.uint8), rng.integers(0, 2, (5, 20, 30), np.uint8)
    if change is not None:
        (x if change == "input" else y)[0, 0, 0] ^= 1
    return write_npz(path / "images.npz", {"x": x, "y": y})


def texts(path: Path, change: Change = None) -> Path:
    """Write a table of texts."""
    path.mkdir(parents=True)
    table = factories.text_table(path / "reviews.csv")
    lines = table.read_text().splitlines()
    text, label, split = lines[1].split(",")
    if change == "input":
        lines[1] = f"a {text},{label},{split}"
    if change == "label":
        lines[1] = f"{text},{'good' if label == 'bad' else 'bad'},{split}"
    table.write_text("\n".join(lines) + "\n")
    return table


def text_folders(path: Path, change: Change = None) -> Path:
    """Write texts in class folders."""
    for split in ("train", "test"):
        for name in ("neg", "pos"):
            (path / split / name).mkdir(parents=True)
            for index in range(3):
                (path / split / name / f"{index}.txt").write_text(f"{split} {name} caf\u00e9 {index}")
    first = path / "train" / "neg" / "0.txt"
    if change == "input":
        first.write_text("another text")
    if change == "label":
        first.rename(path / "train" / "pos" / "9.txt")
    return path


def scene_boxes(path: Path, change: Change = None) -> str:
    """Return a specification of computer-generated scenes with boxes. They need no files."""
    del path
    return "scene_boxes:4" if change else "scene_boxes:3"


def no_road(path: Path, change: Change = None) -> str:
    """Return a specification of computer-generated frames without a road. They need no files."""
    del path
    return "no_road:4" if change else "no_road:3"


def scene_steering(path: Path, change: Change = None) -> str:
    """Return a specification of computer-generated images of a car. They need no files."""
    del path
    return "scene_steering:4" if change else "scene_steering:3"


DRIVEN = 40
"""Number of images of a recording."""


def driven(index: int, change: Change = None) -> tuple[np.ndarray, float, float]:
    """Return an image of a recording, its steering from -1 to 1, which is visible, and its throttle."""
    changed = change if index == 0 else None
    steering, throttle = float(np.sin(0.7 * index)), 0.25 + 0.01 * (index % 5)
    image = factories.picture(40, 60, 99 if changed == "input" else index) // 4
    column = round(30 + 24 * steering)
    image[:, max(0, column - 4) : column + 4] = 250
    return image, 0.5 if changed == "label" else steering, throttle


def image_table(path: Path, change: Change = None) -> Path:
    """Write images, and a table with the values of each image."""
    lines = ["frame,steering [deg],speed [m/s]"]
    for index in range(DRIVEN):
        image, steering, throttle = driven(index, change)
        factories.write_picture(path / "frames" / f"{index:03}.png", image)
        lines.append(f"frames/{index:03}.png,{25 * steering:.4f},{10 * throttle:.2f}")
    (path / "numbers.csv").write_text("\n".join(lines) + "\n")
    return path


def tub_v2(path: Path, change: Change = None) -> Path:
    """Write a recording in the format of donkeycar 4 and 5: two catalogues, and a deleted record."""
    catalogues: list[list[str]] = [[], []]
    for index in range(DRIVEN):
        image, angle, throttle = driven(index, change)
        name = f"{index}_cam_image_array_.jpg"
        factories.write_picture(path / "images" / name, image)
        record = {"_index": index, "_session_id": "26-01-01_0", "_timestamp_ms": 50 * index, "cam/image_array": name}
        record |= {"user/angle": angle, "user/mode": "user", "user/throttle": throttle}
        catalogues[index >= 25].append(json.dumps(record, sort_keys=True))
    names = [f"catalog_{number}.catalog" for number in range(2)]
    for name, lines in zip(names, catalogues, strict=True):
        (path / name).write_text("\r\n".join(lines) + "\r\n", newline="")
    listed = {"paths": names, "current_index": DRIVEN, "max_len": 25, "deleted_indexes": [7]}
    inputs, types = ["cam/image_array", "user/angle", "user/throttle"], ["image_array", "float", "float"]
    parts: tuple[Any, ...] = (inputs, types, {}, {"created_at": 0.0}, listed)
    (path / "manifest.json").write_text("\r\n".join(map(json.dumps, parts)) + "\r\n", newline="")
    return path


def tub_v1(path: Path, change: Change = None) -> Path:
    """Write a recording in the format of donkeycar 2 and 3: one file per record."""
    for index in range(DRIVEN):
        image, angle, throttle = driven(index, change)
        name = f"{index}_cam-image_array_.jpg"
        factories.write_picture(path / name, image)
        record = {"cam/image_array": name, "user/angle": angle, "user/throttle": throttle, "user/mode": "user"}
        (path / f"record_{index}.json").write_text(json.dumps(record))
    (path / "meta.json").write_text(json.dumps({"inputs": ["cam/image_array"], "types": ["image_array"]}))
    return path


SIZE_HW = (40, 60)
"""Height and width of the images with boxes."""
BOXES = ((5.0, 6.0, 25.0, 30.0), (30.0, 2.0, 50.0, 38.0))
"""Left, top, right and bottom edges of a cat and a dog, in pixels. The second image of a split has no objects."""


def _boxed_images(path: Path, places: dict[str, str], change: Change) -> dict[str, list[tuple[float, ...]]]:
    """Write three images per split. Return the boxes of each image. The keys are the paths."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for split, place in places.items():
        for index in range(3):
            changed = change if (split, index) == ("train", 0) else None
            seed = 99 if changed == "input" else 10 * (split == "val") + index
            name = f"{place}/{split}{index}.png"
            factories.write_picture(path / name, factories.picture(*SIZE_HW, seed))
            own: list[tuple[float, ...]] = [] if index == 1 else [(0, *BOXES[0]), (1, *BOXES[1])]
            boxes[name] = own[:1] if changed == "label" else own
    return boxes


def coco_document(boxes: dict[str, list[tuple[float, ...]]]) -> dict[str, Any]:
    """Return an annotation file in COCO's format. The ids of the categories have gaps, as in COCO itself."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, (name, rows) in enumerate(boxes.items(), start=10):
        images.append({"id": image, "file_name": name, "height": SIZE_HW[0], "width": SIZE_HW[1]})
        for cls, left, top, right, bottom in rows:
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": [3, 7][int(cls)]}
            annotations.append(row | {"bbox": [left, top, right - left, bottom - top], "iscrowd": 0})
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco(path: Path, change: Change = None) -> Path:
    """Write images and one annotation file. The images of each split are in a separate folder."""
    boxes = _boxed_images(path, {"train": "images/train", "val": "images/val"}, change)
    (path / "annotations.json").write_text(json.dumps(coco_document(boxes)))
    return path


def coco_files(path: Path, change: Change = None) -> Path:
    """Write images and one annotation file per split, in the layout of the published COCO data set."""
    (path / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        boxes = _boxed_images(path, {split: f"{split}2017"}, change)
        document = coco_document({Path(name).name: rows for name, rows in boxes.items()})
        (path / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(document))
    return path


def coco_file(path: Path, change: Change = None) -> Path:
    """Write an annotation file beside its images, without splits."""
    boxes = _boxed_images(path, {"train": "."}, change)
    (path / "cats.json").write_text(json.dumps(coco_document(boxes)))
    return path / "cats.json"


def _yolo_line(row: tuple[float, ...]) -> str:
    cls, left, top, right, bottom = row
    height, width = SIZE_HW
    values = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return f"{int(cls)} " + " ".join(f"{value:.6f}" for value in values)


def yolo(path: Path, change: Change = None) -> Path:
    """Write images and label files. The split folders are inside `images/` and `labels/`."""
    for name, rows in _boxed_images(path, {"train": "images/train", "val": "images/val"}, change).items():
        file = (path / name.replace("images/", "labels/", 1)).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{_yolo_line(row)}\n" for row in rows))
    (path / "classes.txt").write_text("cat\ndog\n")
    return path


def yolo_splits(path: Path, change: Change = None) -> Path:
    """Write images, label files and `data.yaml`. The folders `images/` and `labels/` are inside the split folders."""
    for name, rows in _boxed_images(path, {"train": "train/images", "val": "valid/images"}, change).items():
        file = (path / name.replace("images/", "labels/", 1)).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{_yolo_line(row)}\n" for row in rows))
    (path / "data.yaml").write_text("train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n")
    return path


def voc_xml(rows: list[tuple[float, ...]]) -> str:
    """Return an XML file in the format of Pascal VOC, which counts pixels from 1."""
    objects = "".join(
        f"<object><name>{('cat', 'dog')[int(cls)]}</name><difficult>0</difficult><bndbox><xmin>{left + 1:g}</xmin>"
        f"<ymin>{top + 1:g}</ymin><xmax>{right:g}</xmax><ymax>{bottom:g}</ymax></bndbox></object>"
        for cls, left, top, right, bottom in rows
    )
    size = f"<size><width>{SIZE_HW[1]}</width><height>{SIZE_HW[0]}</height><depth>3</depth></size>"
    return f"<annotation>{size}{objects}</annotation>"


def voc(path: Path, change: Change = None) -> Path:
    """Write images, XML files and lists of the splits."""
    for name in ("Annotations", "ImageSets/Main"):
        (path / name).mkdir(parents=True)
    stems: dict[str, list[str]] = {"train": [], "val": []}
    for name, rows in _boxed_images(path, dict.fromkeys(stems, "JPEGImages"), change).items():
        stem = Path(name).stem
        (path / "Annotations" / f"{stem}.xml").write_text(voc_xml(rows))
        stems["train" if stem.startswith("train") else "val"].append(stem)
    for split, names in stems.items():
        (path / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return path


EXAMPLES = {
    "scenes": Example("scenes", scenes),
    "camvid": Example("camvid", camvid),
    "kitti": Example("kitti", kitti),
    "masks": Example("masks", masks),
    "masks with a palette": Example("masks", palette_masks),
    "masks of colours": Example("masks", colour_masks),
    "folders": Example("folders", folders),
    "folders in a zip": Example("folders", zipped_folders),
    "mnist": Example("mnist", mnist),
    "mnist in idx files": Example("mnist", mnist_idx),
    "imdb": Example("imdb", imdb),
    "arrays": Example("arrays", arrays),
    "arrays of images": Example("arrays", image_arrays),
    "texts": Example("texts", texts),
    "texts in folders": Example("texts", text_folders),
    "scene_boxes": Example("scene_boxes", scene_boxes),
    "no_road": Example("no_road", no_road),
    "coco": Example("coco", coco),
    "coco with a file per split": Example("coco", coco_files),
    "coco in one file": Example("coco", coco_file),
    "yolo": Example("yolo", yolo),
    "yolo with splits outside": Example("yolo", yolo_splits),
    "voc": Example("voc", voc),
    "scene_steering": Example("scene_steering", scene_steering),
    "image_labels with a table per class": Example("image_labels", layouts.gtsrb),
    "image_table": Example("image_table", image_table),
    "donkeycar": Example("donkeycar", tub_v2),
    "donkeycar of version 1": Example("donkeycar", tub_v1),
    "mask_folders": Example("mask_folders", layouts.kaggle_camvid),
    "masks beside the images": Example("mask_folders", layouts.beside),
    "kitti_semantics": Example("kitti_semantics", layouts.kitti_semantics),
    "cityscapes": Example("cityscapes", layouts.cityscapes),
    "ade20k": Example("ade20k", layouts.ade20k),
    "voc_masks": Example("voc_masks", layouts.voc_masks),
    "box_table": Example("box_table", layouts.box_table),
    "createml": Example("createml", annotation_tools.createml),
    "labelme": Example("labelme", annotation_tools.labelme),
    "via": Example("via", annotation_tools.via_json),
    "via as csv": Example("via", annotation_tools.via_csv),
    "image_labels": Example("image_labels", layouts.image_labels),
    "flat_files": Example("flat_files", layouts.flat_splits),
    "image_arrays": Example("image_arrays", layouts.image_arrays),
    "pixel_tables": Example("pixel_tables", layouts.pixel_tables),
    "emnist": Example("emnist", layouts.emnist),
    "cifar": Example("cifar", layouts.cifar),
    "yolo beside the images": Example("yolo", layouts.darknet),
    "voc beside the images": Example("voc", layouts.voc_beside),
}
"""Examples by name. There is at least one example for every reader."""


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    """Write a compressed `.npz` file. Each entry is an array, or the bytes of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else encode(array))
    return path


def replace_in_npz(path: Path, replaced: dict[str, Any]) -> None:
    """Replace entries of an `.npz` file with other arrays or bytes. An entry is removed if its replacement is None."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    write_npz(path, {name: data for name, data in (members | replaced).items() if data is not None})


def encode(array: Any) -> bytes:
    """Return an array as the bytes of a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()
