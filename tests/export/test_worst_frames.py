"""The export finds the samples on which int8 is worst, draws them, and calibrates with them."""

import base64

import cv2
import numpy as np
import pytest
from helpers.wide_channel import CLASSES, pictures, wide_channel_tflite

from orilla.export.check.compare import Reference
from orilla.export.check.worst import missing_classes, worst_samples
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target

STATED = ["--task", "classify", "--input-range", "0..1", "--color", "rgb", "--no-timing"]


def test_the_sheet_and_the_gain_are_written(tmp_path, capsys):
    images = pictures(80, 1)
    # Dark calibration samples and bright validation samples: int8 clips the values of the bright ones.
    np.savez(tmp_path / "dark.npz", x=images[:40] // 4)
    np.savez(tmp_path / "bright.npz", x=images[40:])
    model, out, sheet = wide_channel_tflite(tmp_path / "m.tflite"), tmp_path / "m.orilla", tmp_path / "worst.png"
    data = ["--calibration", str(tmp_path / "dark.npz"), "--validation", str(tmp_path / "bright.npz")]
    page = tmp_path / "m.html"
    more = ["--worst-frames", str(sheet), "--recalibrate", "--page", str(page)]
    assert main(["import", str(model), "--out", str(out), *STATED, *data, *more]) == 0
    text = capsys.readouterr().out
    assert "worst samples of litert_wi8_ai8, with the share of equal decisions: " in text
    worst = Bundle.open(out).manifest.report.worst
    agreements = [frame.agreement for frame in worst.frames]
    assert len(agreements) == 10  # This is a quarter of the validation samples.
    assert agreements == sorted(agreements)
    gain = worst.recalibration
    assert gain.count == 30
    assert gain.kept == (gain.drop_after < gain.drop_before)
    names = [variant.name for variant in Bundle.open(out).manifest.variants]
    assert ("litert_wi8_ai8_recalibrated" in names) == gain.kept
    assert f"is {gain.drop_after:+.2f} instead of {gain.drop_before:+.2f}" in text
    html = page.read_text()
    assert f"page: {page}" in text
    assert base64.b64encode(sheet.read_bytes()).decode() in html
    for title in ("Which variant", "Worst samples", "Layers that lose accuracy", "What the engines run", "Calibration"):
        assert f"<h2>{title}" in html
    assert "compared with litert_fp32 on" in html or "The layers were not compared" not in html
    image = cv2.imread(str(sheet))
    assert image.shape[1] == 3 * (2 * 320 + 8)


def reference_of(outputs):
    context = DecodeContext(tuple("abcd"), None)
    target = Target(task_of("classify"), context, tuple(range(CLASSES)), None, pseudo=True)
    truths = [GroundTruth(f"s{place}", int(np.argmax(output))) for place, output in enumerate(outputs)]
    return Reference(target, truths, {}, {"y": outputs}, [None] * len(outputs), sums_to_one=True)


def test_the_largest_error_comes_first_among_equal_agreements():
    outputs = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1, 2, 3]]
    changed = outputs.copy()
    changed[5] = 0.9 * np.eye(4)[2]  # A different class, with a smaller error than sample 6.
    changed[6] = np.eye(4)[0]
    found = worst_samples(reference_of(outputs), {"y": changed})
    assert [sample.name for sample in found] == ["s6", "s5"]
    assert [sample.agreement for sample in found] == [0.0, 0.0]


def test_classes_that_the_calibration_lacks_are_named():
    class Labelled:
        has_labels, classes = True, ("cat", "dog", "owl")

    worst = [GroundTruth("a", 2), GroundTruth("b", 0)]
    assert missing_classes(worst, [GroundTruth("c", 0), GroundTruth("d", 1)], Labelled()) == ["owl"]
    masks = [GroundTruth("e", np.array([[0, 2], [255, 0]]))]
    assert missing_classes(masks, worst, Labelled()) == []
    assert missing_classes(masks, worst[1:], Labelled()) == ["owl"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--worst-frames", "sheet.jpg"], "--worst-frames sheet.jpg: the name must end in .png"),
        pytest.param(["--recalibrate"], "no int8 variant whose worst samples could be found", marks=pytest.mark.slow),
    ],
)
def test_bad_input_is_reported_in_one_line(more, message, tmp_path, capsys):
    model = wide_channel_tflite(tmp_path / "m.tflite")
    assert main(["import", str(model), "--out", str(tmp_path / "m.orilla"), *STATED, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "m.orilla").exists()


def test_samples_are_added_to_the_calibration(tmp_path, capsys):
    images = pictures(24, 1)
    np.savez(tmp_path / "data.npz", x=images)
    for index in range(3):
        assert cv2.imwrite(str(tmp_path / f"0.9{index}00-1-{index}.jpg"), images[index])
    model, out = wide_channel_tflite(tmp_path / "m.tflite"), tmp_path / "m.orilla"
    data = ["--calibration", str(tmp_path / "data.npz"), "--add-calibration"]
    assert main(["import", str(model), "--out", str(out), *STATED, *data, str(tmp_path)]) == 0
    report = Bundle.open(out).manifest.report
    assert report.calibration_count == 19 + 3
    assert report.calibration == "data, and 3 of pictures"
    assert main(["import", str(model), "--out", str(tmp_path / "n.orilla"), *STATED, *data, str(tmp_path / "no")]) == 2
    recipes = ["--recipes", "litert_fp32"]
    assert (
        main(["import", str(model), "--out", str(tmp_path / "n.orilla"), *STATED, *recipes, *data, str(tmp_path)]) == 2
    )
    assert "--add-calibration" in capsys.readouterr().err
    assert not (tmp_path / "n.orilla").exists()
