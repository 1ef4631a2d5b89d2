"""The command `orilla demo`: train, export, verify and run a small road model with the commands of a user."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from orilla.devices.errors import ConfigError, MissingExtraError, OrillaError, OutputError
from orilla.runtime import scenes
from orilla.runtime.bundle.run_folder import read_run
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.files import make_folder, replacing, write_bytes
from orilla.runtime.html_page import Page

if TYPE_CHECKING:
    from orilla.runtime.terminal import ResultConsole

NEEDS = ("keras", "tensorflow", "matplotlib", "litert_quantizer", "tf2onnx", "onnxruntime")
"""Packages that the steps import. The extra `export` installs all of them."""

TRAIN = {"input": "96x160", "width": 0.35, "samples": 600, "epochs": 18, "batch": 16, "learning-rate": 2e-3}
"""Training options for two cores and a few minutes."""

CLIP_HW, CLIP_FRAMES, CLIP_HZ = (360, 640), 250, 25.0
CLIP_DRIVES = (7, 12, 18, 26, 31)
"""Drives of the clip, none of which is in the training split."""

SHEET_COLUMNS, SHEET_ROWS = 4, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (default: 0)")


@dataclass(frozen=True, slots=True)
class DemoResult(CommandResult):
    """The files of the demo, and its figures."""

    seconds: float
    made: dict[str, str]
    """Paths of the bundle, the video, the contact sheet and the page."""
    verdict: str
    fps: float
    variants: dict[str, float]
    """IoU of each variant."""

    @property
    def exit_code(self) -> int:
        """Return 0 if the bundle passes its verification, else 1."""
        return 0 if self.verdict == "pass" else 1

    def render(self, console: ResultConsole) -> None:
        """Print the results and further commands to try."""
        console.print_line(f"\ndone in {self.seconds:.0f} s; verification of the bundle: {self.verdict}")
        for name, path in self.made.items():
            console.print_line(f"  {name:<7} {path}")
        console.print_line("\ntry next:")
        for command in _next(self.made["bundle"]):
            console.print_line(f"  {command}")


def execute(arguments: argparse.Namespace) -> DemoResult:
    """Run every step."""
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: give a folder"
        raise ConfigError(msg)
    for package in NEEDS:
        if find_spec(package) is None:
            raise MissingExtraError(package, "export")
    make_folder(out)
    started = time.monotonic()
    run, bundle, clip, video = (out / name for name in ("run", "road.orilla", "clip.mp4", "road.mp4"))
    if (run / "model.keras").exists() and read_run(run)[0].seed != arguments.seed:
        msg = f"{run} was trained with seed {read_run(run)[0].seed}: remove {out}, or give another --out"
        raise ConfigError(msg)
    if not (run / "model.keras").exists():
        _print_step("1/5 train a small road model on procedural scenes")
        _orilla("train", "road", "--data", "scenes", "--out", run, "--seed", arguments.seed, *_options(), "--resume")
    else:
        _print_step(f"1/5 train: {run} exists already")
    _print_step("2/5 export it, and compare each variant with the original")
    exported = _orilla("export", run, "--out", bundle, "--validation-count", 100)
    _print_step("3/5 verify the bundle on this machine")
    verified = _orilla("verify", bundle)
    _print_step("4/5 run the camera loop on a generated clip")
    _write_clip(clip)
    ticks = out / "ticks.jsonl"
    loop = _orilla("run", bundle, "--source", clip, "--sink", f"jsonl:{ticks}")
    _orilla("run", bundle, "--source", clip, "--sink", f"video:{video}")
    _print_step("5/5 draw the contact sheet and the page")
    sheet, page = out / "sheet.png", out / "index.html"
    _contact_sheet(video, sheet)
    _plot_loop(ticks, out / "loop.png")
    write_bytes(page, _page(bundle, exported, verified, loop, sheet))
    files = {"bundle": bundle, "video": video, "sheet": sheet, "page": page}
    return DemoResult(
        seconds=round(time.monotonic() - started, 1),
        made={name: str(path) for name, path in files.items()},
        verdict=verified["verdict"],
        fps=loop["fps"],
        variants={variant["name"]: variant["check"]["metrics"]["iou"] for variant in exported["variants"]},
    )


def _next(bundle: str) -> list[str]:
    return [
        "orilla run road --source YOUR_VIDEO.mp4 --sink video:out.mp4    # the shipped model",
        "orilla run road --source 0                                      # your camera",
        f"orilla run {bundle} --source scenes --engine onnx",
        "orilla train road --data camvid.zip --weights imagenet --out runs/camvid",
    ]


def _options() -> list[object]:
    return [word for name, value in TRAIN.items() for word in (f"--{name}", value)]


def _print_step(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)


def _orilla(*words: object) -> dict[str, Any]:
    """Run one command in a process of its own, as a user would, and return its JSON document."""
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        msg = f"the demo stopped: orilla {words[0]} ended with code {done.returncode}"
        raise OrillaError(msg)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _write_clip(path: Path) -> None:
    height, width = CLIP_HW
    with replacing(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), CLIP_HZ, (width, height))
        if not writer.isOpened():
            msg = f"cannot write {path}: OpenCV cannot create the video"
            raise OutputError(msg)
        frames = CLIP_FRAMES // len(CLIP_DRIVES)
        for drive in CLIP_DRIVES:
            for frame in range(frames):
                writer.write(scenes.render(_unseen(drive), frame / CLIP_HZ, CLIP_HW)[0])
        writer.release()


def _unseen(drive: int) -> int:
    """Return a drive that is in no split of the `scenes` data sets."""
    return 10_000_000_000 + drive


def _contact_sheet(video: Path, sheet: Path) -> None:
    capture = cv2.VideoCapture(str(video))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA))
    capture.release()
    chosen = np.linspace(0, len(frames) - 1, SHEET_COLUMNS * SHEET_ROWS).round().astype(int)
    cells = [frames[index] for index in chosen]
    rows = [np.hstack(cells[row * SHEET_COLUMNS : (row + 1) * SHEET_COLUMNS]) for row in range(SHEET_ROWS)]
    write_bytes(sheet, cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def _plot_loop(ticks: Path, out: Path) -> None:
    """Plot the time in each stage per frame, and the distribution of the answers' age."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in ticks.read_text().splitlines()]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for stage in rows[0]["stages_ms"]:
        left.plot([row["index"] for row in rows], [row["stages_ms"][stage] for row in rows], lw=0.8, label=stage)
    left.set(xlabel="frame", ylabel="ms", title="Time in each stage")
    left.legend(loc="upper right")
    ages = sorted(row["age_ms"] for row in rows)
    right.step(ages, [(rank + 1) / len(ages) for rank in range(len(ages))], where="post")
    right.set(
        xlabel="ms from capture to result, including waiting", ylabel="share of frames", title="Age of the answer"
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


def _page(bundle: Path, exported: dict[str, Any], verified: dict[str, Any], loop: dict[str, Any], sheet: Path) -> bytes:
    card = exported["manifest"]["card"]
    page = Page(
        "Orilla: road segmentation",
        "A small network that was trained on procedural scenes, exported, verified and run on this machine.",
    )
    page.picture(sheet, "frames of the clip with the road tinted")
    page.heading("Training")
    page.text(
        f"{card['parameters']:,} parameters, {card['epochs']} epochs over {card['samples']} scenes in "
        f"{card['seconds']:.0f} s on {card['machine']}. Validation IoU {card['measured'][0]['metrics']['iou']:.4f}."
    )
    page.picture(bundle.parent / "run" / "curves.png", "loss and validation metrics by epoch")
    page.heading("Export: every variant compared with the original")
    original = exported["report"]["metrics"]["iou"]
    page.table(
        ("variant", "MiB", "IoU", "drop, points", "pixel agreement", "mean error", "max error"),
        [("original (Keras)", "", f"{original:.4f}", "", "", "", "")]
        + [_variant_row(variant, exported["default"]) for variant in exported["variants"]],
    )
    page.text("* default: the smallest variant that loses at most one point.")
    page.heading("Verification on this machine")
    page.table(
        ("variant", "engine", "verdict", "stages"),
        [
            (
                variant["variant"],
                variant["engine"],
                "pass" if variant["passed"] else "fail",
                ", ".join(stage["name"] for stage in variant["stages"]),
            )
            for variant in verified["variants"]
        ],
    )
    page.heading("The camera loop")
    page.text(
        f"{loop['frames']} frames in {loop['seconds']} s: {loop['fps']} per second with {loop['variant']}; "
        "the stages overlap, so the loop takes about as long as the slowest."
    )
    rows = [(name, f"{loop['p50_ms'][name]:.2f}", f"{loop['p90_ms'][name]:.2f}") for name in loop["p50_ms"]]
    page.table(("stage", "p50 ms", "p90 ms"), rows)
    page.picture(bundle.parent / "loop.png", "time in each stage, and the distribution of the answers' age")
    page.heading("Try next")
    page.commands(_next(str(bundle)))
    return page.html()


def _variant_row(variant: dict[str, Any], default: str) -> tuple[str, ...]:
    check = variant["check"]
    return (
        variant["name"] + (" *" if variant["name"] == default else ""),
        f"{variant['bytes'] / 2**20:.2f}",
        f"{check['metrics']['iou']:.4f}",
        f"{check['drop']:+.2f}",
        f"{100 * check['agreement']:.2f} %",
        f"{check['mean_error']:.5f}",
        f"{check['max_error']:.4f}",
    )
