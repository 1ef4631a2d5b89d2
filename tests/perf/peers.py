"""Compare the camera loop with Ultralytics and MediaPipe, on the same clip and with the same networks.

    python -m venv peers && peers/bin/pip install ultralytics mediapipe onnxruntime
    orilla export runs/pets --out pets.orilla --recipes litert_wi8_ai8,onnx_wi8_ai8
    orilla export runs/road --out road.orilla --recipes litert_wi8_ai8,litert_wi8_ai8_u8
    python tests/perf/peers.py --python peers/bin/python --classifier pets.orilla --road road.orilla [--clip drive.mp4]

The two libraries run in a separate environment, each in a separate process, alternating with Orilla's loop:

- Ultralytics: `predict(stream=True)` on the classifier's ONNX file, as its documentation shows. Ultralytics passes an
  input `[1,3,H,W]` with values 0-1, so the script inserts a transposition and a multiplication before the network.
- MediaPipe Tasks: `ImageSegmenter` in video mode with a category mask, as its documentation shows. OpenCV decodes the
  frames. `orilla extract` writes the file: the int8 road model with uint8 input and output, because MediaPipe rejects
  int8 inputs. Orilla runs the same variant, and computes the same mask at the size of the frame.

Frames per second are counted from the first to the last answer, with each library's default number of threads. Orilla
adds inference workers if they increase the throughput.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from loop import draw_clip

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.metadata import with_metadata
from orilla.runtime.preprocessing.image import Preprocess

ORILLA = """
import sys, time
import orilla.runtime
with orilla.runtime.open(sys.argv[1], variant=sys.argv[2]) as model:
    ticks = iter(model.stream(sys.argv[3]))
    next(ticks)
    started, count = time.perf_counter(), 0
    for tick in ticks:
        count += 1
        seen = tick.result.top.label if hasattr(tick.result, "top") else tick.result.mask().mean()
print(count / (time.perf_counter() - started))
"""

ULTRALYTICS = """
import sys, time
import torch
try:
    import torchvision
except RuntimeError:
    # A torchvision without its compiled operators, as beside a CPU build of torch: a classifier needs none of them.
    for name in ("nms", "qnms"):
        torch.library.define("torchvision::" + name, "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
from ultralytics import YOLO
results = iter(YOLO(sys.argv[1], task="classify").predict(
    sys.argv[3], stream=True, verbose=False, imgsz=int(sys.argv[2]), device="cpu"))
next(results)
started, count = time.perf_counter(), 0
for result in results:
    count += 1
    seen = result.probs.top1
print(count / (time.perf_counter() - started))
"""

MEDIAPIPE = """
import sys, time
import cv2
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
options = vision.ImageSegmenterOptions(
    base_options=BaseOptions(model_asset_path=sys.argv[1]), running_mode=vision.RunningMode.VIDEO,
    output_category_mask=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    capture, count, started = cv2.VideoCapture(sys.argv[3]), -1, 0.0
    while True:
        ok, image = capture.read()
        if not ok:
            break
        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        result = segmenter.segment_for_video(picture, 33 * (count + 1))
        seen = (result.category_mask.numpy_view() > 0).mean()
        count += 1
        started = started or time.perf_counter()
print(count / (time.perf_counter() - started))
"""


def frames_per_second(python: str, script: str, *arguments: object) -> float:
    """Run a script, and return the last number that it prints."""
    command = [python, "-c", script, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{python} failed: {ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else '?'}")
    return float(ended.stdout.strip().splitlines()[-1])


def for_ultralytics(bundle: Bundle, variant: str, path: Path) -> int:
    """Write the variant's ONNX file with extra nodes that convert Ultralytics' input. Return the width of the input."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(bundle.read(bundle.manifest.variant(variant).file))
    inputs = model.graph.input[0]
    name, shape = inputs.name, [dimension.dim_value for dimension in inputs.type.tensor_type.shape.dim]
    side = shape[1]
    head = [
        helper.make_node("Transpose", ["images"], ["pictures"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["pictures", "levels"], [name]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "levels"))
    for index, node in enumerate(head):
        model.graph.node.insert(index, node)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side]))
    labels = dict(enumerate(bundle.manifest.labels))
    for key, value in {"names": labels, "imgsz": [side, side], "stride": 1, "task": "classify", "batch": 1}.items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, path)
    return int(side)


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="Python of the environment with ultralytics and mediapipe")
    parser.add_argument("--classifier", required=True, help="a bundle with an ONNX variant of an image classifier")
    parser.add_argument(
        "--road", required=True, help="a bundle with the variant litert_wi8_ai8_u8 of a segmentation model"
    )
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    classifier, road = Bundle.open(arguments.classifier), Bundle.open(arguments.road)
    segmentation = road.manifest.variant("litert_wi8_ai8_u8")
    onnx_variants = [variant.name for variant in classifier.manifest.variants if variant.format == "onnx"]
    if not onnx_variants or not isinstance(classifier.manifest.preprocess, Preprocess):
        sys.exit(f"{arguments.classifier} is not an image classifier with an ONNX variant")
    with tempfile.TemporaryDirectory() as folder:
        clip, onnx_file, tflite = (Path(folder, name) for name in ("clip.mp4", "classifier.onnx", "road.tflite"))
        if arguments.clip is None:
            draw_clip(clip, 400)
        side = for_ultralytics(classifier, onnx_variants[0], onnx_file)
        tflite.write_bytes(with_metadata(road, segmentation))
        video = arguments.clip or clip
        capture = cv2.VideoCapture(str(video))
        size = f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
        rows = [
            (
                frames_per_second(sys.executable, ORILLA, arguments.classifier, onnx_variants[0], video),
                frames_per_second(arguments.python, ULTRALYTICS, onnx_file, side, video),
                frames_per_second(sys.executable, ORILLA, arguments.road, segmentation.name, video),
                frames_per_second(arguments.python, MEDIAPIPE, tflite, 0, video),
            )
            for _ in range(arguments.rounds)
        ]
    names = ("orilla_classify", "ultralytics", "orilla_segment", "mediapipe")
    document: dict[str, object] = {"clip": size, "rounds": arguments.rounds}
    document |= {
        name: round(statistics.median(column), 1) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    document["classify_ratio"] = round(statistics.median(row[0] / row[1] for row in rows), 2)
    document["segment_ratio"] = round(statistics.median(row[2] / row[3] for row in rows), 2)
    if arguments.json:
        print(json.dumps(document, indent=2))
        return 0
    print(
        "classifier: orilla {orilla_classify}, ultralytics {ultralytics} frames/s: {classify_ratio} x".format(
            **document
        )
    )
    print("road:       orilla {orilla_segment}, mediapipe {mediapipe} frames/s: {segment_ratio} x".format(**document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
