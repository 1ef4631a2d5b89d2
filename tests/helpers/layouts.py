"""Small data sets in common layouts. The tests of the readers open them."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers import annotation_tools, factories

Change = Literal["input", "label"] | None
"""The part of the first training sample that a builder changes. If None, the builder changes nothing."""

SIZE_HW = (24, 32)


class Layout(NamedTuple):
    """A layout of a data set, and how Orilla reads it."""

    build: Callable[[Path, Change], Path]
    """Function that writes the data set into a folder, and returns the path to open."""
    kind: str
    """Kind of data set as which Orilla reads the files. Empty if Orilla rejects them."""
    counts: dict[str, int]
    """Number of samples of each split. Without splits, the sum is stated under an empty name."""
    classes: tuple[str, ...] = ()
    refusal: str = ""
    """Regular expression that the message of a rejected data set matches."""


def photo(seed: int) -> NDArray[np.uint8]:
    """Return a random image."""
    return factories.picture(*SIZE_HW, seed)


def scene(folder: Path, name: str, seed: int) -> None:
    """Write a random image."""
    factories.write_picture(folder / name, photo(seed))


def values(change: Change = None) -> NDArray[np.uint8]:
    """Return a mask with the values 0, 1 and 2."""
    mask = np.zeros(SIZE_HW, np.uint8)
    mask[8 if change == "label" else 12 :] = 1
    mask[20:, 10:] = 2
    return mask


COLOURS = np.array([(70, 130, 180), (128, 64, 128), (0, 0, 142)], np.uint8)
"""RGB colour of each mask value."""


def coloured(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask as a colour image in BGR."""
    return np.ascontiguousarray(COLOURS[mask][..., ::-1])


def pairs(
    path: Path, folders: dict[str, tuple[str, str]], change: Change, *, ending: str = "", colours: bool = False
) -> Path:
    """Write four images with masks for each entry of `folders`, which states the folders of images and of masks."""
    for number, (split, (images, masks)) in enumerate(folders.items()):
        for index in range(4):
            own = change if (number, index) == (0, 0) else None
            mask = values(own)
            scene(path / images, f"{split}{index}.png", 99 if own == "input" else 10 * number + index)
            factories.write_picture(path / masks / f"{split}{index}{ending}.png", coloured(mask) if colours else mask)
    return path


CLASS_DICT = "name,r,g,b\nSky,70,130,180\nRoad,128,64,128\nCar,0,0,142\n"


def fastai(path: Path, change: Change = None) -> Path:
    """Write CamVid in the fastai layout. `valid.txt` names the images of `val`."""
    for index in range(8):
        own = change if index == 0 else None
        scene(path / "images", f"{index}.png", 99 if own == "input" else index)
        factories.write_picture(path / "labels" / f"{index}_P.png", values(own))
    (path / "codes.txt").write_text("Sky\r\nRoad\r\nVoid\r\n")
    (path / "valid.txt").write_text("6.png\n7.png\n")
    return path


def kaggle_camvid(path: Path, change: Change = None) -> Path:
    """Write CamVid in the Kaggle layout, with colour masks."""
    folders = {"train": ("train", "train_labels"), "val": ("val", "val_labels")}
    pairs(path, folders, change, ending="_L", colours=True)
    (path / "class_dict.csv").write_text(CLASS_DICT)
    return path


def kaggle_without_list(path: Path, change: Change = None) -> Path:
    """Write CamVid in the Kaggle layout, without the list of colours."""
    kaggle_camvid(path, change)
    (path / "class_dict.csv").unlink()
    return path


def colours_in_masks(path: Path, change: Change = None) -> Path:
    """Write colour masks in the folder masks/, with the list of Kaggle."""
    pairs(path, {"": ("images", "masks")}, change, colours=True)
    (path / "class_dict.csv").write_text(CLASS_DICT)
    return path


def colours_without_list(path: Path, change: Change = None) -> Path:
    """Write colour masks in the folder masks/, without a list. They are rejected."""
    colours_in_masks(path, change)
    (path / "class_dict.csv").unlink()
    return path


def values_without_list(path: Path, change: Change = None) -> Path:
    """Write masks of several values in the folder masks/, without a list. They are rejected."""
    return pairs(path, {"": ("images", "masks")}, change)


def nested_camvid(path: Path, change: Change = None) -> Path:
    """Write CamVid in the Kaggle layout, in a zip with two folders around it and macOS files."""
    kaggle_camvid(path / "archive" / "CamVid", change)
    (path / "archive" / "__MACOSX").mkdir()
    (path / "archive" / "__MACOSX" / "._train.png").write_bytes(b"x")
    (path / "archive" / ".DS_Store").write_bytes(b"x")
    return factories.zip_folder(path / "archive", path / "camvid.zip")


def label_colors(path: Path, change: Change = None) -> Path:
    """Write images and colour masks whose list states the colours first, as in CamVid itself."""
    pairs(path, {"train": ("train/img", "train/gt"), "val": ("val/img", "val/gt")}, change, colours=True)
    (path / "label_colors.txt").write_text("70 130 180\tSky\n128 64 128\tRoad\n0 0 142\tCar\n")
    return path


def inner_splits(path: Path, change: Change = None) -> Path:
    """Write images and masks with the split folders inside."""
    pairs(path, {"train": ("images/train", "annotations/train"), "val": ("images/val", "annotations/val")}, change)
    (path / "classes.txt").write_text("sky\nroad\ncar\n")
    return path


def beside(path: Path, change: Change = None) -> Path:
    """Write masks beside their images, as Roboflow does."""
    pairs(path, {"train": ("train", "train"), "valid": ("valid", "valid")}, change, ending="_mask")
    for split in ("train", "valid"):
        (path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, road\n2, car\n")
    return path


def beside_in_folders(path: Path, change: Change = None) -> Path:
    """Write masks of one class beside their images, in one folder per patient, as in medical data sets."""
    for name in ("TCGA_1", "TCGA_2", "TCGA_3"):
        binary(path, {"train": (name, name)}, change if name == "TCGA_1" else None, ending="_mask")
    return path


def carvana(path: Path, change: Change = None) -> Path:
    """Write masks of one class, as in Carvana."""
    pairs(path, {"train": ("train", "train_masks")}, change, ending="_mask")
    for file in (path / "train_masks").iterdir():
        with Image.open(file) as mask:
            road = np.where(np.asarray(mask) > 0, 255, 0).astype(np.uint8)
        Image.fromarray(road).save(file)
    return path


def binary(path: Path, folders: dict[str, tuple[str, str]], change: Change = None, *, ending: str = "") -> Path:
    """Write images and masks of one class, with 0 and 255. See `pairs`."""
    pairs(path, folders, change, ending=ending)
    for _, masks in folders.values():
        for file in (path / masks).glob(f"*{ending}.png"):
            with Image.open(file) as mask:
                values = np.asarray(mask)
            if values.ndim == 2:
                Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8)).save(file)
    return path


def two_kinds(path: Path, *kinds: str, change: Change = None) -> Path:
    """Write photographs in several folders, with the same names in each."""
    del change
    for start, kind in enumerate(kinds):
        for index in range(4):
            scene(path / kind, f"{index}.png", 100 * start + index)
    return path


def one_folder_per_image(path: Path, change: Change = None) -> Path:
    """Write a folder with images/ and masks/ for each image, as in the Data Science Bowl. It is rejected."""
    del change
    for index in range(45):
        binary(path / "stage1_train" / f"id{index}", {"a": ("images", "masks")})
    return path


def json_labels(path: Path, change: Change = None) -> Path:
    """Write images and annotations in JSON in an unknown format."""
    del change
    scene(path / "images", "1.png", 1)
    (path / "labels").mkdir()
    (path / "labels" / "1.json").write_text("{}")
    return path


def kitti_semantics(path: Path, change: Change = None) -> Path:
    """Write KITTI semantics: the values are the ids of Cityscapes."""
    for index in range(10):
        own = change if index == 0 else None
        scene(path / "training" / "image_2", f"{index:06}_10.png", 99 if own == "input" else index)
        labels = np.array([23, 7, 26], np.uint8)[values(own)]
        factories.write_picture(path / "training" / "semantic" / f"{index:06}_10.png", labels)
        factories.write_picture(path / "training" / "semantic_rgb" / f"{index:06}_10.png", coloured(values(own)))
    return path


def cityscapes(path: Path, change: Change = None) -> Path:
    """Write Cityscapes with one city per split."""
    for split, city in (("train", "ulm"), ("val", "bonn"), ("test", "mainz")):
        for index in range(2):
            own = change if (split, index) == ("train", 0) else None
            stem = f"{city}_{index:06}_000019"
            scene(
                path / "leftImg8bit" / split / city,
                f"{stem}_leftImg8bit.png",
                99 if own == "input" else index + len(city),
            )
            labels = np.array([23, 7, 26], np.uint8)[values(own)]
            factories.write_picture(path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", labels)
            factories.write_picture(path / "gtFine" / split / city / f"{stem}_gtFine_color.png", coloured(values(own)))
    return path


def voc_masks(path: Path, change: Change = None) -> Path:
    """Write a data set in the Pascal VOC layout, with palette masks."""
    (path / "SegmentationClass").mkdir(parents=True)
    (path / "ImageSets" / "Segmentation").mkdir(parents=True)
    for index in range(6):
        own = change if index == 0 else None
        scene(path / "JPEGImages", f"{index}.png", 99 if own == "input" else index)
        mask = Image.fromarray(values(own), "P")
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
        mask.save(path / "SegmentationClass" / f"{index}.png")
    for split, names in (("train", "0\n1\n2\n3\n"), ("val", "4\n5\n")):
        (path / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)
    return path


def cvat_masks(path: Path, change: Change = None) -> Path:
    """Write colour masks in the Pascal VOC layout, as CVAT does."""
    pairs(path, {"train": ("JPEGImages", "SegmentationClass")}, change, colours=True)
    (path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nsky:70,130,180::\nroad:128,64,128::\ncar:0,0,142::\n"
    )
    return path


def ade20k(path: Path, change: Change = None) -> Path:
    """Write ADE20K with three classes. The value 0 is ignored."""
    for split in ("training", "validation"):
        for index in range(2):
            own = change if (split, index) == ("training", 0) else None
            scene(path / "images" / split, f"ADE_{split}_{index}.jpg", 99 if own == "input" else index + len(split))
            factories.write_picture(path / "annotations" / split / f"ADE_{split}_{index}.png", values(own))
    lines = ["Idx\tRatio\tTrain\tVal\tName", "1\t0.15\t11664\t1172\twall", "2\t0.1\t6046\t612\tbuilding, edifice"]
    (path / "objectInfo150.txt").write_text("\n".join([*lines, "3\t0.08\t8265\t796\tsky", ""]))
    return path


def supervisely(path: Path, change: Change = None) -> Path:
    """Write a project of Supervisely, which is rejected."""
    del change
    scene(path / "ds" / "img", "1.png", 1)
    (path / "ds" / "ann").mkdir()
    (path / "ds" / "ann" / "1.png.json").write_text("{}")
    (path / "meta.json").write_text("{}")
    return path


def flat_cats(path: Path, change: Change = None) -> Path:
    """Write images in the layout of Kaggle's cats and dogs, with unlabelled test images."""
    for number, name in enumerate(("cat", "dog")):
        for index in range(10):
            own = change if (number, index) == (0, 0) else None
            if own == "label":
                scene(path / "train", "dog.99.jpg", 100 * number + index)
            else:
                scene(path / "train", f"{name}.{index}.jpg", 999 if own == "input" else 100 * number + index)
    for index in range(3):
        scene(path / "test1", f"{index + 1}.jpg", 500 + index)
    (path / "train" / "Thumbs.db").write_bytes(b"x")
    return path


def flat_with_template(path: Path, change: Change = None) -> Path:
    """Write images in the layout of Kaggle's cats and dogs, with the template for the answers of the test images."""
    flat_cats(path, change)
    (path / "sampleSubmission.csv").write_text("id,label\n1,0\n2,1\n3,0\n")
    return path


def flat_splits(path: Path, change: Change = None) -> Path:
    """Write images that are named by their class, in split folders."""
    for start, split in enumerate(("train", "val")):
        for number, name in enumerate(("cat", "dog")):
            for index in range(3):
                own = change if (split, number, index) == ("train", 0, 0) else None
                label, seed = ("dog.9" if own == "label" else f"{name}.{index}"), 100 * start + 10 * number + index
                scene(path / split, f"{label}.png", 999 if own == "input" else seed)
    return path


def _digits(count: int, seed: int, side: int = 28) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, side, side), np.uint8), (np.arange(count) % 10).astype(np.uint8)


def mnist_arrays(path: Path, form: str) -> Path:
    """Write MNIST as a `.npz` in a different form: `one-hot`, `float`, `signed`, `flat` or `channel`."""
    path.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    for split, count in (("train", 20), ("test", 10)):
        images, labels = _digits(count, count)
        truth: NDArray[Any] = np.eye(10, dtype=np.float32)[labels] if form == "one-hot" else labels
        converted: dict[str, NDArray[Any]] = {
            "float": (images / 255).astype(np.float32),
            "signed": (images / 127.5 - 1).astype(np.float32),
            "flat": images.reshape(count, -1),
            "channel": images[..., None],
        }
        arrays |= {f"x_{split}": converted.get(form, images), f"y_{split}": truth}
    np.savez(path / f"mnist_{form}.npz", **arrays)  # type: ignore[arg-type]
    return path / f"mnist_{form}.npz"


def image_arrays(path: Path, change: Change = None) -> Path:
    """Write colour images in a `.npz` with the names of MedMNIST."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for split, count in (("train", 9), ("val", 6), ("test", 6)):
        arrays |= {
            f"{split}_images": rng.integers(0, 256, (count, 12, 12, 3), np.uint8),
            f"{split}_labels": (np.arange(count) % 3).reshape(-1, 1).astype(np.uint8),
        }
    if change == "input":
        arrays["train_images"][0] ^= 1
    if change == "label":
        arrays["train_labels"][0] = 2
    path.mkdir(parents=True, exist_ok=True)
    np.savez(path / "path.npz", **arrays)  # type: ignore[arg-type]
    return path / "path.npz"


def pixel_tables(path: Path, change: Change = None) -> Path:
    """Write images as rows of tables, as in Kaggle's Fashion-MNIST, and a table without classes."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True, exist_ok=True)
    header = ",".join(f"pixel{number}" for number in range(1, 65))
    for split, count in (("train", 9), ("test", 6)):
        rows = np.column_stack([np.arange(count) % 3, rng.integers(0, 256, (count, 64))])
        if split == "train" and change is not None:
            rows[0, 1 if change == "input" else 0] ^= 1
        lines = "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
        (path / f"fashion-mnist_{split}.csv").write_text(f"label,{header}\n{lines}")
    (path / "another.csv").write_text(f"{header}\n{','.join(['0'] * 64)}\n")
    return path


def _idx(path: Path, magic: int, array: NDArray[np.uint8]) -> None:
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    data = magic.to_bytes(4, "big") + sides + array.tobytes()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def emnist(path: Path, change: Change = None) -> Path:
    """Write EMNIST letters: labels from 1, and transposed images."""
    path.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 6), ("test", 3)):
        images, _ = _digits(count, count)
        labels = (1 + np.arange(count) % 3).astype(np.uint8)
        if split == "train" and change == "input":
            images[0] ^= 1
        if split == "train" and change == "label":
            labels[0] = 2
        _idx(path / f"emnist-letters-{split}-images-idx3-ubyte.gz", 2051, images.transpose(0, 2, 1).copy())
        _idx(path / f"emnist-letters-{split}-labels-idx1-ubyte", 2049, labels)
    (path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    return path


def cifar(path: Path, change: Change = None) -> Path:
    """Write CIFAR-10 in the Python version."""
    folder = path / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        data, labels = rng.integers(0, 256, (4, 3072), np.uint8), [0, 1, 2, 3]
        if name == "data_batch_1" and change is not None:
            if change == "input":
                data[0, 0] ^= 1
            else:
                labels[0] = 3
        (folder / name).write_bytes(pickle.dumps({b"data": data, b"labels": labels, b"batch_label": name.encode()}, 2))
    names = [b"airplane", b"automobile", b"bird", b"cat"]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names, b"num_vis": 3072}, 2))
    return path


def cifar_binary(path: Path, change: Change = None) -> Path:
    """Write CIFAR-10 in the binary version."""
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        rows = rng.integers(0, 256, (4, 3073), np.uint8)
        rows[:, 0] = [0, 1, 2, 3]
        if name == "data_batch_1.bin" and change is not None:
            rows[0, 1 if change == "input" else 0] ^= 1
        (path / name).write_bytes(rows.tobytes())
    (path / "batches.meta.txt").write_text("airplane\nautomobile\nbird\ncat\n\n")
    return path


def cifar_100(path: Path, change: Change = None) -> Path:
    """Write CIFAR-100 in the Python version."""
    del change
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        content = {
            b"data": rng.integers(0, 256, (4, 3072), np.uint8),
            b"fine_labels": [0, 1, 2, 1],
            b"coarse_labels": [0] * 4,
        }
        (path / name).write_bytes(pickle.dumps(content, 2))
    meta = {b"fine_label_names": [b"apple", b"bear", b"cup"], b"coarse_label_names": [b"x"]}
    (path / "meta").write_bytes(pickle.dumps(meta, 2))
    return path


def image_labels(path: Path, change: Change = None) -> Path:
    """Write a table per split with the names of images without a suffix, and their classes."""
    for start, split in enumerate(("train", "val")):
        lines = ["id;breed"]
        for index in range(6):
            own = change if (split, index) == ("train", 0) else None
            scene(path / split, f"{split}{index}.jpg", 999 if own == "input" else 10 * start + index)
            lines.append(f"{split}{index};{('collie', 'pug')[(index + (own == 'label')) % 2]}")
        (path / f"{split}.csv").write_text("\r\n".join(lines) + "\r\n")
    return path


SIGNS = (0, 1, 14)
"""Classes of traffic signs in the examples of GTSRB."""


def gtsrb(path: Path, change: Change = None) -> Path:
    """Write GTSRB as published: one folder and one table per class, with five frames of each of four signs."""
    heading = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    for sign in SIGNS:
        lines, folder = [heading], path / "GTSRB" / "Final_Training" / "Images" / f"{sign:05}"
        for index in range(20):
            own = change if (sign, index) == (0, 0) else None
            name = f"{index // 5:05}_{index % 5:05}.ppm"
            scene(folder, name, 999 if own == "input" else 100 * sign + index)
            lines.append(f"{name};{SIZE_HW[1]};{SIZE_HW[0]};5;5;20;20;{14 if own == 'label' else sign}")
        (folder / f"GT-{sign:05}.csv").write_text("\r\n".join(lines) + "\r\n")
    return path


def gtsrb_with_test(path: Path, change: Change = None) -> Path:
    """Write GTSRB as published, with the test images and their table."""
    gtsrb(path, change)
    folder = path / "GTSRB" / "Final_Test" / "Images"
    for index in range(3):
        scene(folder, f"{index:05}.ppm", 5000 + index)
    rows = "".join(f"{index:05}.ppm;{sign}\n" for index, sign in enumerate(SIGNS))
    (folder / "GT-final_test.csv").write_text(f"Filename;ClassId\n{rows}")
    return path


def gtsrb_of_kaggle(path: Path, change: Change = None) -> Path:
    """Write GTSRB in the Kaggle layout: tables for training and test, and a table with one image per class."""
    heading = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n"
    for start, (split, count) in enumerate((("Train", 4), ("Test", 2))):
        rows = []
        for sign in SIGNS:
            for index in range(count):
                own = change if (split, sign, index) == ("Train", 0, 0) else None
                name = f"{split}/{sign}/{sign:05}_00000_{index:05}.png" if start == 0 else f"Test/{sign}{index:04}.png"
                scene(path, name, 999 if own == "input" else 1000 * start + 10 * sign + index)
                rows.append(f"32,24,5,5,20,20,{14 if own == 'label' else sign},{name}\n")
        (path / f"{split}.csv").write_text(heading + "".join(rows))
    for sign in SIGNS:
        scene(path, f"Meta/{sign}.png", 5000 + sign)
    (path / "Meta.csv").write_text("Path,ClassId,ShapeId\n" + "".join(f"Meta/{s}.png,{s},0\n" for s in SIGNS))
    return path


def gtsrb_without_classes(path: Path, change: Change = None) -> Path:
    """Write the test images of GTSRB, whose first published table has no classes."""
    del change
    for index in range(4):
        scene(path, f"{index:05}.ppm", index)
    rows = "".join(f"{index:05}.ppm;{30 + index};{40 + index};5;5;20;20\n" for index in range(4))
    (path / "GT-final_test.test.csv").write_text(f"Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2\n{rows}")
    return path


def celeba(path: Path, form: str = "txt") -> Path:
    """Write CelebA with its attribute table beside the image folder, as published or as on Kaggle."""
    names = ("5_o_Clock_Shadow", "Male", "Smiling")
    values = [[1 if index >> bit & 1 else -1 for bit in range(3)] for index in range(8)]
    folder = path / "img_align_celeba" / ("img_align_celeba" if form == "csv" else "")
    for index in range(8):
        scene(folder, f"{index + 1:06}.jpg", index)
    if form == "txt":
        rows = "".join(f"{n + 1:06}.jpg " + " ".join(f"{v:2}" for v in row) + "\n" for n, row in enumerate(values))
        (path / "list_attr_celeba.txt").write_text(f"8\n{' '.join(names)} \n{rows}")
        return path
    rows = "".join(f"{n + 1:06}.jpg," + ",".join(map(str, row)) + "\n" for n, row in enumerate(values))
    (path / "list_attr_celeba.csv").write_text(f"image_id,{','.join(names)}\n{rows}")
    (path / "list_bbox_celeba.csv").write_text(
        "image_id,x_1,y_1\n" + "".join(f"{n + 1:06}.jpg,1,2\n" for n in range(8))
    )
    return path


def one_hot_labels(path: Path, change: Change = None) -> Path:
    """Write a table with a column for each class, as Roboflow does."""
    for start, split in enumerate(("train", "valid")):
        lines = ["filename, cat, dog"]
        for index in range(4):
            own = change if (split, index) == ("train", 0) else None
            scene(path / split, f"{split}{index}.jpg", 999 if own == "input" else 10 * start + index)
            is_cat = (index + (own == "label")) % 2 == 0
            lines.append(f"{split}{index}.jpg, {int(is_cat)}, {int(not is_cat)}")
        (path / split / "_classes.csv").write_text("\n".join(lines) + "\n")
    return path


def box_table(path: Path, change: Change = None) -> Path:
    """Write a table of boxes in each split folder, as Roboflow does."""
    for start, split in enumerate(("train", "valid")):
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for index in range(3):
            own = change if (split, index) == ("train", 0) else None
            scene(path / split, f"{split}{index}.jpg", 999 if own == "input" else 10 * start + index)
            left = 3 if own == "label" else 2
            lines.append(f"{split}{index}.jpg,32,24,{('cat', 'dog')[index % 2]},{left},4,20,22")
        (path / split / "_annotations.csv").write_text("\n".join(lines) + "\n")
    return path


def _boxes(path: Path, change: Change, write: Callable[[Path, str], None], splits: tuple[str, str]) -> Path:
    for start, split in enumerate(splits):
        for index in range(3):
            own = change if (start, index) == (0, 0) else None
            scene(path / split, f"{split}{index}.jpg", 999 if own == "input" else 10 * start + index)
            write(path / split / f"{split}{index}", "0.3" if own == "label" else "0.25")
    return path


def darknet(path: Path, change: Change = None) -> Path:
    """Write label files beside the images of split folders, as Roboflow does for Darknet."""

    def write(stem: Path, x: str) -> None:
        stem.with_suffix(".txt").write_text(f"0 {x} 0.5 0.25 0.5\n")

    _boxes(path, change, write, ("train", "valid"))
    for split in ("train", "valid"):
        (path / split / "_darknet.labels").write_text("cat\ndog\n")
    (path / "README.roboflow.txt").write_text("exported\n")
    return path


def darknet_lists(path: Path, change: Change = None) -> Path:
    """Write images and label files in one folder, with lists of the splits, as Darknet expects it."""
    for index in range(6):
        own = change if index == 0 else None
        scene(path / "data" / "obj", f"{index}.jpg", 999 if own == "input" else index)
        x = "0.3" if own == "label" else "0.25"
        (path / "data" / "obj" / f"{index}.txt").write_text(f"{index % 2} {x} 0.5 0.25 0.5\n")
    names = [f"data/obj/{index}.jpg" for index in range(6)]
    (path / "data" / "train.txt").write_text("\n".join(names[:4]) + "\n")
    (path / "data" / "valid.txt").write_text("\n".join(names[4:]) + "\n")
    (path / "data" / "obj.names").write_text("cat\ndog\n")
    return path


def voc_beside(path: Path, change: Change = None) -> Path:
    """Write XML files beside the images of split folders, as Roboflow does."""

    def write(stem: Path, x: str) -> None:
        box = f"<xmin>{round(32 * float(x))}</xmin><ymin>4</ymin><xmax>30</xmax><ymax>20</ymax>"
        content = f"<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
        stem.with_suffix(".xml").write_text(content)

    return _boxes(path, change, write, ("train", "valid"))


def coco_splits(path: Path, change: Change = None) -> Path:
    """Write an annotation file with a byte order mark beside the images of each split folder."""
    for start, split in enumerate(("train", "valid")):
        images, rows = [], []
        for index in range(3):
            own = change if (start, index) == (0, 0) else None
            scene(path / split, f"{index}.jpg", 999 if own == "input" else 10 * start + index)
            images.append({"id": index, "file_name": f"{index}.jpg", "width": 32, "height": 24})
            box = [3 if own == "label" else 2, 4, 10, 12]
            rows.append({"id": index, "image_id": index, "category_id": 1, "bbox": box, "iscrowd": 0})
        document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
        (path / split / "_annotations.coco.json").write_text(json.dumps(document), "utf-8-sig")
    return path


def table(path: Path, text: str, name: str = "reviews.csv", encoding: str = "utf-8") -> Path:
    """Write a table."""
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(text.encode(encoding))
    return path / name


REVIEWS = (
    'text{0}label{0}split\n"good{0} and\n""fine"" film"{0}pos{0}train\nbad{0}neg{0}train\ncaf\u00e9{0}pos{0}test\n'
)


def tables_of_texts(path: Path, change: Change = None) -> Path:
    """Write a table of texts for each split."""
    del change
    for split, count in (("train", 4), ("test", 2)):
        rows = "".join(f"{split} {index},{('neg', 'pos')[index % 2]}\n" for index in range(count))
        table(path, f"Text,Label\n{rows}", f"{split}.csv")
    return path


def classes_in_zip(path: Path, change: Change = None) -> Path:
    """Write class folders in a zip with a folder around them, hidden files, and test images without labels."""
    del change
    factories.class_folders(path / "archive" / "pets", {"train": 8})
    scene(path / "archive" / "pets" / "test", "1.png", 900)
    (path / "archive" / "pets" / "train" / "cat" / "._1.png").write_bytes(b"x")
    (path / "archive" / "pets" / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    (path / "archive" / "pets" / ".ipynb_checkpoints").mkdir()
    return factories.zip_folder(path / "archive", path / "pets.zip")


def only_splits(path: Path, change: Change = None) -> Path:
    """Write split folders with images and without classes."""
    del change
    for split in ("train", "test"):
        for index in range(3):
            scene(path / split, f"{index}.png", index)
    return path


def archive(path: Path, name: str) -> Path:
    """Write a file that is not a data set."""
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(b"not a data set")
    return path / name


LAYOUTS = {
    "fastai": Layout(fastai, "mask_folders", {"train": 6, "val": 2}, ("Sky", "Road")),
    "colours_in_masks": Layout(colours_in_masks, "masks", {"": 4}, ()),
    "colours_without_list": Layout(
        colours_without_list, "", {}, refusal="has colours, but there is no list of classes"
    ),
    "values_without_list": Layout(values_without_list, "", {}, refusal="has the value 2, but there is no list"),
    "kaggle_camvid": Layout(kaggle_camvid, "mask_folders", {"train": 4, "val": 4}, ("Sky", "Road", "Car")),
    "kaggle_without_list": Layout(
        kaggle_without_list, "", {}, refusal="has colours, .* add class_dict.csv with the columns name"
    ),
    "nested_camvid": Layout(nested_camvid, "mask_folders", {"train": 4, "val": 4}, ("Sky", "Road", "Car")),
    "label_colors": Layout(label_colors, "mask_folders", {"train": 4, "val": 4}, ("Sky", "Road", "Car")),
    "inner_splits": Layout(inner_splits, "mask_folders", {"train": 4, "val": 4}, ("sky", "road", "car")),
    "beside": Layout(beside, "mask_folders", {"train": 4, "val": 4}, ("background", "road", "car")),
    "beside_in_folders": Layout(beside_in_folders, "mask_folders", {"": 12}, ("background", "road")),
    "carvana": Layout(carvana, "mask_folders", {"": 4}, ("background", "road")),
    **{
        name: Layout(
            lambda path, change, folders=folders, ending=ending: binary(path, folders, change, ending=ending),  # type: ignore[misc]
            "mask_folders",
            {"": 4 * len(folders)} if len(folders) != 2 else {"train": 4, "val": 4},
            ("background", "road"),
        )
        for name, folders, ending in (
            ("DeepGlobe", {"train": ("train", "train")}, "_mask"),
            ("BDD100K", {s: (f"images/10k/{s}", f"labels/sem_seg/masks/{s}") for s in ("train", "val")}, ""),
            ("ISIC", {"train": ("ISIC_Training_Data", "ISIC_Training_Part1_GroundTruth")}, "_segmentation"),
            ("Lyft", {"A": ("dataA/CameraRGB", "dataA/CameraSeg")}, ""),
            ("x and y", {"a": ("x", "y")}, ""),
            ("one folder per class", {n: (f"{n}/images", f"{n}/masks") for n in ("covid", "normal", "other")}, ""),
        )
    },
    "one folder per image": Layout(one_folder_per_image, "", {}, refusal="is images with annotation images"),
    "json labels": Layout(json_labels, "", {}, refusal="is images with annotations in an unknown format"),
    "depth images": Layout(
        lambda path, _: two_kinds(path, "rgb", "depth"), "", {}, refusal="is images with annotation images"
    ),
    "pairs of kinds": Layout(
        lambda path, _: two_kinds(path, "trainA", "trainB", "testA", "testB"), "", {}, refusal="without labels"
    ),
    "kitti_semantics": Layout(kitti_semantics, "kitti_semantics", {"train": 8, "val": 2}),
    "cityscapes": Layout(cityscapes, "cityscapes", {"train": 2, "val": 2}),
    "voc_masks": Layout(voc_masks, "voc_masks", {"train": 4, "val": 2}),
    "cvat_masks": Layout(cvat_masks, "voc_masks", {"": 4}, ("sky", "road", "car")),
    "ade20k": Layout(ade20k, "ade20k", {"train": 2, "val": 2}, ("wall", "building", "sky")),
    "supervisely": Layout(supervisely, "", {}, refusal="is Supervisely, which Orilla does not read.*export it as COCO"),
    "createml": Layout(annotation_tools.createml, "createml", {"train": 3, "val": 3}, ("cat", "dog")),
    "labelme": Layout(annotation_tools.labelme, "labelme", {"train": 3, "val": 3}, ("cat", "dog")),
    "via": Layout(annotation_tools.via_json, "via", {"train": 3, "val": 3}, ("cat", "dog")),
    "via csv": Layout(annotation_tools.via_csv, "via", {"train": 3, "val": 3}, ("cat", "dog")),
    "flat_cats": Layout(flat_cats, "flat_files", {"": 20}, ("cat", "dog")),
    "flat_with_template": Layout(flat_with_template, "flat_files", {"": 20}, ("cat", "dog")),
    "flat_splits": Layout(flat_splits, "flat_files", {"train": 6, "val": 6}, ("cat", "dog")),
    **{
        f"mnist {form}": Layout(
            lambda path, _, form=form: mnist_arrays(path, form),  # type: ignore[misc]
            "mnist",
            {"train": 20, "test": 10},
            tuple("0123456789"),
        )
        for form in ("one-hot", "float", "signed", "flat", "channel")
    },
    "pixel_tables": Layout(pixel_tables, "pixel_tables", {"train": 9, "test": 6}, ("0", "1", "2")),
    "image_arrays": Layout(image_arrays, "image_arrays", {"train": 9, "val": 6, "test": 6}, ("0", "1", "2")),
    "emnist": Layout(emnist, "emnist", {"train": 6, "test": 3}, ("A", "B", "C")),
    "cifar": Layout(cifar, "cifar", {"train": 8, "test": 4}, ("airplane", "automobile", "bird", "cat")),
    "cifar_binary": Layout(cifar_binary, "cifar", {"train": 4, "test": 4}, ("airplane", "automobile", "bird", "cat")),
    "cifar_100": Layout(cifar_100, "cifar", {"train": 4, "test": 4}, ("apple", "bear", "cup")),
    "image_labels": Layout(image_labels, "image_labels", {"train": 6, "val": 6}, ("collie", "pug")),
    "gtsrb": Layout(gtsrb, "image_labels", {"": 60}, ("0", "1", "14")),
    "gtsrb with test": Layout(gtsrb_with_test, "image_labels", {"train": 60, "test": 3}, ("0", "1", "14")),
    "gtsrb of kaggle": Layout(gtsrb_of_kaggle, "image_labels", {"train": 12, "test": 6}, ("0", "1", "14")),
    "gtsrb without classes": Layout(gtsrb_without_classes, "", {}, refusal="only sizes and regions of images: add a"),
    "celeba": Layout(
        lambda path, _: celeba(path), "", {}, refusal=r"3 attributes, .*set `label_column` to one of them \(5_o_Clock"
    ),
    "one_hot_labels": Layout(one_hot_labels, "image_labels", {"train": 4, "val": 4}, ("cat", "dog")),
    "box_table": Layout(box_table, "box_table", {"train": 3, "val": 3}, ("cat", "dog")),
    "darknet": Layout(darknet, "yolo", {"train": 3, "val": 3}, ("cat", "dog")),
    "darknet_lists": Layout(darknet_lists, "yolo", {"train": 4, "val": 2}, ("cat", "dog")),
    "voc_beside": Layout(voc_beside, "voc", {"train": 3, "val": 3}, ("cat",)),
    "coco_splits": Layout(coco_splits, "coco", {"train": 3, "val": 3}, ("cat",)),
    **{
        f"texts {name}": Layout(
            lambda path, _, text=text, file=file, kind=kind: table(path, text, file, kind),  # type: ignore[misc]
            "texts",
            {"train": 2, "test": 1},
            ("neg", "pos"),
        )
        for name, text, file, kind in (
            ("with commas", REVIEWS.format(","), "a.csv", "utf-8"),
            ("with semicolons", REVIEWS.format(";"), "a.csv", "utf-8-sig"),
            ("with tabs", REVIEWS.format("\t"), "a.tsv", "utf-16"),
            ("with tabs and commas", REVIEWS.format("\t"), "a.txt", "utf-8"),
            ("of Excel", "sep=;\r\n" + REVIEWS.format(";").replace("\n", "\r\n"), "a.csv", "utf-8-sig"),
        )
    },
    **{
        f"no names of columns: {name}": Layout(
            lambda path, _, text=text, file=file: table(path, text, file),  # type: ignore[misc]
            "",
            {},
            refusal=f"the first line of {file} is data, .*Name all columns with `columns`, such as {names}, or add",
        )
        for name, text, file, names in (
            (
                "SMS",
                "".join(f"{'spam' if n % 4 else 'ham'}\ttext, number {n}\n" for n in range(9)),
                "SMS",
                "label,text",
            ),
            ("stars", "".join(f"great, number {n}\t{n % 2}\n" for n in range(9)), "a.tsv", "text,label"),
            ("news", "".join(f'"{n % 4}","Title","A text {n}"\n' for n in range(9)), "a.csv", "label,value2,text"),
            ("images", "".join(f"{n}.png,{'cat' if n % 2 else 'dog'}\n" for n in range(9)), "a.csv", "image,label"),
            ("steering", "".join(f"{n}.png,{n / 9:.2f},3\n" for n in range(9)), "a.csv", "image,value2,value3"),
            (
                "boxes",
                "".join(f"{n}.png,{n},1,9,9,cat\n" for n in range(9)),
                "a.csv",
                "filename,xmin,ymin,xmax,ymax,class",
            ),
        )
    },
    "texts in a table per split": Layout(tables_of_texts, "texts", {"train": 4, "test": 2}, ("neg", "pos")),
    "classes_in_zip": Layout(classes_in_zip, "folders", {"": 16}, ("cat", "dog")),
    "only_splits": Layout(only_splits, "", {}, refusal="images in split folders without labels.*train/cat/1.jpg"),
    "a tar": Layout(lambda path, _: archive(path, "a.tar"), "", {}, refusal="an archive that is not a zip"),
    "a spreadsheet": Layout(lambda path, _: archive(path, "a.xlsx"), "", {}, refusal="a spreadsheet: export it"),
}
"""Layouts by name."""
