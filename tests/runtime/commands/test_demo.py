"""The parts of `orilla demo` that need no training: the clip, and the page with the output of other commands."""

import json

import cv2
import msgspec
from helpers import factories

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import encode
from orilla.runtime.cli import main
from orilla.runtime.commands.demo_clip import CLIP_FRAMES, write_clip, write_contact_sheet
from orilla.runtime.commands.demo_page import DemoFiles, ExportDocument, LoopDocument, VerifyDocument, page, plot_loop


def document(capsys, kind, *words):
    """Run a command and return its decoded JSON document."""
    assert main([*map(str, words), "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=kind)


def test_the_page_shows_the_documents_of_the_commands(tmp_path, capsys):
    files = DemoFiles.under(tmp_path)
    source = factories.video(tmp_path / "source.avi", 8, (90, 120))
    sink = f"jsonl:{files.ticks}"
    verified = document(capsys, VerifyDocument, "verify", "road")
    loop = document(capsys, LoopDocument, "run", "road", "--source", source, "--sink", sink)
    manifest = Bundle.open("road").manifest
    exported = msgspec.json.decode(json.dumps({"manifest": json.loads(encode(manifest))}), type=ExportDocument)
    files.run.mkdir()
    for path in (files.sheet, files.shipped_sheet, files.run / "curves.png"):
        cv2.imwrite(str(path), factories.picture())
    plot_loop(files.ticks, files.plot)
    html = page(files, exported, verified, loop, ["orilla run road --source 0"]).decode()
    assert all(variant.name in html for variant in manifest.variants)
    assert "8 frames in" in html
    assert "orilla run road --source 0" in html


def test_the_contact_sheet_shows_frames_of_the_clip(tmp_path):
    clip, sheet = tmp_path / "clip.mp4", tmp_path / "sheet.png"
    write_clip(clip)
    assert int(cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT)) == CLIP_FRAMES
    write_contact_sheet(clip, sheet)
    assert cv2.imread(str(sheet)).shape == (540, 1280, 3)


def test_the_quick_demo_shows_the_shipped_model(tmp_path, capsys):
    assert main(["demo", "--quick", "--out", str(tmp_path / "demo"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    files = DemoFiles.under(tmp_path / "demo")
    assert result["verdict"] == "pass"
    assert result["variants"] == {}
    assert result["made"] == {"video": str(files.shipped), "sheet": str(files.shipped_sheet), "page": str(files.page)}
    assert int(cv2.VideoCapture(str(files.shipped)).get(cv2.CAP_PROP_FRAME_COUNT)) == CLIP_FRAMES
    html = files.page.read_text()
    assert '<video controls muted playsinline preload="metadata" src="shipped.mp4"' in html
    assert f"{CLIP_FRAMES} frames in" in html
