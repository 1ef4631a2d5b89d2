"""Bundles of imported model files give the same results as these files in their own runtimes."""

import json
from contextlib import closing

import cv2
import numpy as np
import pytest

import orilla.runtime
from orilla.devices.errors import DataError
from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines import loader
from orilla.runtime.tasks.metrics.detection import iou_matrix
from orilla.runtime.verify import verify

pytestmark = pytest.mark.real_data

LETTERBOX = {"resize": "letterbox", "anchor": "top-left", "rounding": "down", "fill": 114}
YOLOX = {"task": "detect", "input_range": "0..255", "color": "bgr", **LETTERBOX}
FACES = {"task": "detect", "input_range": "-1..1", "color": "rgb", "resize": "letterbox"}
FILES = {
    "coral/mobilenet_v1_0.25_128_quant.tflite": {"task": "classify"},
    "coral/mobilenet_v1_0.5_160_quant.tflite": {"task": "classify"},
    "coral/mobilenet_v2_1.0_224_quant.tflite": {"task": "classify"},
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite": {"task": "classify"},
    "coral/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite": {"task": "tensor", "input_kind": "image"},
    "coral/deeplabv3_mnv2_dm05_pascal_quant.tflite": {
        "task": "segment",
        "labels": "pascal_voc_segmentation_labels.txt",
    },
    "coral/keras_lstm_mnist_ptq.tflite": {"task": "classify"},
    "coral/tools/split_concat.tflite": {"task": "tensor"},
    "onnx/mobilenet_v2_quant.onnx": {"task": "classify", "input_range": "torch", "color": "rgb"},
    "onnx/face_detection_yunet_2026may.onnx": {**YOLOX, "input": (320, 320)},
    "detection/yolox_nano/yolox_nano.onnx": {**YOLOX, "labels": "coco_classes.txt"},
    "detection/yolox_nano/yolox_nano_float16_quantize.tflite": {**YOLOX, "labels": "coco_classes.txt"},
    "mediapipe/face_detection_short_range.tflite": FACES,
    "mediapipe/face_detection_full_range.tflite": FACES,
    "mediapipe/face_detection_full_range_sparse.tflite": FACES,
    "mediapipe/selfie_segmentation.tflite": {"task": "segment", "input_range": "0..1", "color": "rgb"},
    "mediapipe/selfie_segmentation_landscape.tflite": {"task": "segment", "input_range": "0..1", "color": "rgb"},
    "mlperf_tiny/pretrainedResnet.tflite": {"task": "classify", "input_range": "0..255", "color": "rgb"},
    "mlperf_tiny/pretrainedResnet_quant.tflite": {"task": "classify"},
    "mlperf_tiny/vww_96_float.tflite": {"task": "classify", "input_range": "0..1", "color": "rgb"},
    "mlperf_tiny/vww_96_int8.tflite": {"task": "classify"},
    "mlperf_tiny/kws_ref_model.tflite": {"task": "classify"},
    "mlperf_tiny/ad01_int8.tflite": {"task": "tensor"},
}
"""Facts that a user states about each model file."""

MAX_ERROR = 1e-5
"""Largest difference between a bundle's outputs and the outputs of the file in its own runtime, after
dequantisation."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return a function that imports a file and returns the path of the bundle. Each file is imported once."""
    folder, known = tmp_path_factory.mktemp("imports"), {}

    def make(path, root):
        if path not in known:
            hints = dict(FILES[path])
            if "labels" in hints:
                hints["labels"] = (root / path).parent / hints["labels"]
            known[path] = folder / f"{(root / path).stem}.orilla"
            options = ExportOptions(recipes="default", validation_count=8, timing=False, hints=ModelHints(**hints))
            export(root / path, known[path], options)
        return known[path]

    return make


def own_answer(path, sample):
    """Return the dequantised outputs of a file in its own runtime for an input `[1,...]` of real numbers."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [np.asarray(output) for output in session.run(None, {session.get_inputs()[0].name: sample})]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    scale, zero_point = details["quantization"]
    if scale:
        limits = np.iinfo(details["dtype"])
        sample = np.clip(np.round(sample / scale) + zero_point, limits.min, limits.max)
    interpreter.set_tensor(details["index"], sample.astype(details["dtype"]))
    interpreter.invoke()
    outputs = []
    for output in interpreter.get_output_details():
        array, (scale, zero_point) = interpreter.get_tensor(output["index"]), output["quantization"]
        outputs.append((array.astype(np.float64) - zero_point) * scale if scale else array)
    return outputs


@pytest.mark.parametrize("path", [path for path in FILES if "split_concat" not in path])
def test_a_bundle_answers_as_the_file_does_in_its_own_runtime(path, imported, data_root):
    bundle = Bundle.open(imported(path, data_root))
    (variant,) = bundle.manifest.variants
    preprocessor = bundle.preprocessor()
    if preprocessor.kind == "image":
        prepared = preprocessor(cv2.imread(str(data_root / "coral_images" / "cat_720p.jpg")))
        spec = bundle.manifest.preprocess
        sample = ((prepared.astype(np.float32) - np.float32(spec.mean)) / np.float32(spec.std))[None]
        if variant.inputs[0].layout == "NCHW":
            sample = sample.transpose(0, 3, 1, 2)
    else:
        (tensor,) = bundle.manifest.preprocess.inputs
        prepared = {tensor.name: np.random.default_rng(1).uniform(0, 1, tensor.shape).astype(np.float32)}
        sample = prepared[tensor.name][None]
    with closing(loader.load(bundle, variant)) as session:
        outputs = session.run(prepared)
    expected = own_answer(data_root / path, np.ascontiguousarray(sample))
    assert len(expected) == len(outputs)
    for array in outputs.values():
        assert min(
            np.abs(array - other[0]).max() if array.shape == other.shape[1:] else np.inf for other in expected
        ) <= MAX_ERROR * max(1, np.abs(array).max())


@pytest.mark.parametrize("path", FILES)
def test_every_imported_bundle_verifies(path, imported, data_root):
    bundle = Bundle.open(imported(path, data_root))
    for verdict in verify(bundle, bundle.manifest.variants):
        assert verdict.passed, verdict


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("coral/") and "mobilenet" in path])
def test_coral_s_classifiers_name_the_cat(path, imported, data_root):
    if FILES[path]["task"] != "classify":
        pytest.skip("the file outputs an embedding")
    with orilla.runtime.open(imported(path, data_root)) as model:
        result = model(cv2.imread(str(data_root / "coral_images" / "cat_720p.jpg"))).result
    assert {"Egyptian cat", "tabby, tabby cat", "tiger cat"} & {score.label for score in result.top_k(3)}


def test_the_bird_is_segmented(imported, data_root):
    """In the mask that Coral publishes, the bird is the most frequent value that is not background."""
    image = cv2.imread(str(data_root / "coral_images" / "bird_segmentation.bmp"))
    published = cv2.imread(str(data_root / "coral_images" / "bird_segmentation_mask.bmp"), cv2.IMREAD_UNCHANGED)
    bird = published == np.bincount(published[published > 0]).argmax()
    with orilla.runtime.open(imported("coral/deeplabv3_mnv2_dm05_pascal_quant.tflite", data_root)) as model:
        found = model(image).result.mask("bird")
    assert (found & bird).sum() / (found | bird).sum() > 0.8


@pytest.mark.parametrize("name", ["yolox_nano.onnx", "yolox_nano_float16_quantize.tflite"])
def test_yolox_finds_the_expected_objects(name, imported, data_root):
    folder = data_root / "detection" / "yolox_nano"
    expected = json.loads((folder / "expected_onnxruntime.json").read_text())["detections"]
    # The weights of the second file are float16, so its boxes are at slightly different positions.
    tolerance, least = (0.01, 0.95) if name.endswith("onnx") else (0.02, 0.85)
    with orilla.runtime.open(imported(f"detection/yolox_nano/{name}", data_root)) as model:
        for picture, objects in expected.items():
            boxes = model(cv2.imread(str(folder / "pictures" / picture))).result.boxes
            for entry in objects:
                x, y, width, height = entry["xywh"]
                same = [box for box in boxes if box.label == entry["label"]]
                ious = iou_matrix(
                    np.array([box.xyxy for box in same], np.float32),
                    np.array([[max(0, x), max(0, y), x + width, y + height]], np.float32),
                )[:, 0]
                best = int(ious.argmax())
                assert ious[best] > least
                assert abs(same[best].score - entry["score"]) <= tolerance


@pytest.mark.parametrize(
    ("path", "operator"),
    [
        ("coral/posenet/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite", "PosenetDecoderOp"),
        ("coral/invalid_models/model_invoking_error.tflite", "fake-op-double"),
    ],
)
def test_custom_operators_are_refused_by_name(path, operator, data_root, tmp_path):
    options = ExportOptions(recipes="default", timing=False, hints=ModelHints(task="tensor"))
    with pytest.raises(DataError, match=operator):
        export(data_root / path, tmp_path / "m.orilla", options)
