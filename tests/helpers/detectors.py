"""A small detector, built without training. It finds red and blue areas of an image."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from helpers.bundles import BUNDLES
from orilla.runtime.bundle import bundle as bundle_files
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import encode_outputs, read_frames
from orilla.runtime.bundle.manifest import FileTensor
from orilla.runtime.engines import loader
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.tasks.heads.head import HeadSpec

INPUT_HW = (32, 48)
CELL = 8
"""Side of a cell in pixels of the input."""
HEAD = HeadSpec("yolo_plain", {"predictions": "predictions"}, {"transposed": True, "activated": False})
LABELS = ("red", "blue")


def color_detector() -> bytes:
    """Return an ONNX model with an input `[1,32,48,3]` RGB 0-255 and an output `[1,6,24]` in the layout `yolo_plain`.

    The candidate box of each cell is twice as large as the cell. The logit of a class is above 0 if the mean of its
    colour in the cell is above 128.
    """
    import onnx
    from onnx import TensorProto, helper

    rows, columns = INPUT_HW[0] // CELL, INPUT_HW[1] // CELL
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    constant = np.zeros((1, 6, rows * columns), np.float32)
    constant[0, :2] = (np.stack([x, y]) + 0.5) * CELL
    constant[0, 2:4] = 2 * CELL
    constant[0, 4:] = -12.8
    mix = np.zeros((6, 3), np.float32)
    mix[4, 0] = mix[5, 2] = 0.1
    shape = np.array([1, 3, rows * columns], np.int64)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["means", "shape"], ["cells"]),
        helper.make_node("MatMul", ["mix", "cells"], ["mixed"]),
        helper.make_node("Add", ["mixed", "constant"], ["predictions"]),
    ]
    arrays: dict[str, NDArray[np.generic]] = {"mix": mix, "constant": constant, "shape": shape}
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *INPUT_HW, 3])],
        [helper.make_tensor_value_info("predictions", TensorProto.FLOAT, [1, 6, rows * columns])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def detector_bundle(path: Path) -> Path:
    """Write a bundle with the colour detector. Its golden images are those of `animals.orilla`."""
    original = Bundle.open(BUNDLES / "animals.orilla")
    manifest, model = original.manifest, color_detector()
    output = TensorSpec("predictions", (6, 24), "float32")
    chosen = manifest.variant("onnx_fp32")
    files = {chosen.file: model} | {
        name: original.read(name) for one in manifest.golden for name in (one.raw, one.prepared)
    }
    session = loader.load_bytes("onnx", model, threads=1)
    for frame, golden, own in zip(read_frames(original), manifest.golden, chosen.golden, strict=True):
        answer = encode_outputs(session.run(frame.prepared), (output,), np.float32)
        files |= {golden.output: answer, own: answer}
    session.close()
    metrics = {"map": 1.0}
    variant = msgspec.structs.replace(
        chosen,
        check=msgspec.structs.replace(chosen.check, metrics=metrics),
        inputs=(FileTensor("image", (1, *INPUT_HW, 3), "float32", layout="NHWC"),),
        outputs=(FileTensor("predictions", (1, 6, 24), "float32"),),
    )
    changes = {
        "task": "detect",
        "labels": LABELS,
        "outputs": (output,),
        "variants": (variant,),
        "default": chosen.name,
        "card": None,
        "head": HEAD,
        "report": msgspec.structs.replace(manifest.report, metrics=metrics),
        "files": bundle_files.entries(files),
    }
    bundle_files.write(path, msgspec.structs.replace(manifest, **changes), files)
    return path
