"""The command `orilla demo`: run the shipped road model, and train, export, verify and run a small one.

It uses the same commands as a user. With `--quick`, it only runs the shipped model, which the base installation can do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orilla.devices.errors import ConfigError, MissingExtraError, OrillaError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.files import make_folder, write_bytes
from orilla.runtime.terminal.messages import print_message

if TYPE_CHECKING:
    from orilla.runtime.commands.demo_page import DemoFiles
    from orilla.runtime.terminal.console import ResultConsole

T = TypeVar("T")

NEEDS = ("keras", "tensorflow", "matplotlib", "litert_quantizer", "tf2onnx", "onnxruntime")
"""Packages that the steps import. The extra `export` installs all of them."""

TRAIN = {"input": "96x160", "width": 0.35, "samples": 600, "epochs": 18, "batch": 16, "learning-rate": 2e-3}
"""Options of the training run, which takes a few minutes on two cores."""


@dataclass(frozen=True, slots=True)
class DemoResult(CommandResult):
    """The files of the demo, and its main figures."""

    seconds: float
    """Duration of all steps."""
    made: dict[str, str]
    """Paths of the video, the contact sheet, the page, and the bundle if a model was trained."""
    verdict: str
    """`pass` or `fail`: the verdict of `orilla verify`."""
    fps: float
    """Number of answers per second of the camera loop."""
    variants: dict[str, float]
    """IoU of each variant of the trained model. Empty with `--quick`."""

    @property
    def exit_code(self) -> int:
        """Return 0 if the bundle passed its verification, else 1."""
        return 0 if self.verdict == "pass" else 1

    def render(self, console: ResultConsole) -> None:
        """Print the results and further commands to try."""
        console.print_line(f"\ndone in {self.seconds:.0f} s; verification of the bundle: {self.verdict}")
        for name, path in self.made.items():
            console.print_line(f"  {name:<7} {path}")
        console.print_line("\ntry next:")
        for command in _next_commands(self.made.get("bundle")):
            console.print_line(f"  {command}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training run (default: 0)")
    parser.add_argument(
        "--quick", action="store_true", help="only run the shipped road model, which needs no TensorFlow"
    )


def execute(arguments: argparse.Namespace) -> DemoResult:
    """Run every step of the demo. If an earlier demo has made the first video or trained the model, reuse it."""
    # Import this module only here, because it imports msgspec.
    from orilla.runtime.commands.demo_page import DemoFiles

    started = time.monotonic()
    files = DemoFiles.under(arguments.out)
    _check(arguments.out, files.run, arguments.seed, quick=arguments.quick)
    if arguments.quick:
        return _run_shipped(files, started)
    if not files.shipped.exists():
        _run_shipped(files, started)
    return _run_trained(files, arguments.seed, started)


def _run_shipped(files: DemoFiles, started: float) -> DemoResult:
    """Run the shipped model on the generated clip, and write the first page."""
    from orilla.runtime.commands.demo_clip import write_clip, write_contact_sheet
    from orilla.runtime.commands.demo_page import LoopDocument, VerifyDocument, first_page

    _announce("verify the shipped road model on this machine, and run it on a generated drive (some seconds)")
    write_clip(files.clip)
    verified = _orilla(VerifyDocument, "verify", "road")
    sink = f"video:{files.shipped}?overwrite"
    loop = _orilla(LoopDocument, "run", "road", "--source", files.clip, "--sink", sink)
    write_contact_sheet(files.shipped, files.shipped_sheet)
    write_bytes(files.page, first_page(files, loop, _next_commands(None)))
    print_message(f"video: {files.shipped}; page: {files.page}")
    made = {"video": files.shipped, "sheet": files.shipped_sheet, "page": files.page}
    return DemoResult(
        seconds=round(time.monotonic() - started, 1),
        made={name: str(path) for name, path in made.items()},
        verdict=verified.verdict,
        fps=loop.fps,
        variants={},
    )


def _run_trained(files: DemoFiles, seed: int, started: float) -> DemoResult:
    """Train a model, export, verify and run it, and write the page."""
    # Import these modules only here, because they import NumPy and OpenCV.
    from orilla.runtime.commands.demo_clip import write_clip, write_contact_sheet
    from orilla.runtime.commands.demo_page import ExportDocument, LoopDocument, VerifyDocument, page, plot_loop

    _train(files.run, seed)
    _announce("2/5 export it, and compare each variant with the original (about a minute)")
    exported = _orilla(
        ExportDocument, "export", files.run, "--out", files.bundle, "--overwrite", "--validation-count", 100
    )
    _announce("3/5 verify the bundle on this machine (some seconds)")
    verified = _orilla(VerifyDocument, "verify", files.bundle)
    _announce("4/5 run the camera loop on the generated clip (some seconds)")
    if not files.clip.exists():
        write_clip(files.clip)
    loop = _orilla(
        LoopDocument, "run", files.bundle, "--source", files.clip, "--sink", f"jsonl:{files.ticks}?overwrite"
    )
    _orilla(LoopDocument, "run", files.bundle, "--source", files.clip, "--sink", f"video:{files.video}?overwrite")
    _announce("5/5 draw the contact sheet and the page")
    write_contact_sheet(files.video, files.sheet)
    plot_loop(files.ticks, files.plot)
    write_bytes(files.page, page(files, exported, verified, loop, _next_commands(str(files.bundle))))
    made = {"bundle": files.bundle, "video": files.video, "sheet": files.sheet, "page": files.page}
    return DemoResult(
        seconds=round(time.monotonic() - started, 1),
        made={name: str(path) for name, path in made.items()},
        verdict=verified.verdict,
        fps=loop.fps,
        variants={variant.name: variant.check.metrics["iou"] for variant in exported.manifest.variants},
    )


def _check(folder: Path, run: Path, seed: int, *, quick: bool) -> None:
    """Create the folder. Raise an error if a package is missing, or if the folder has a model with another seed."""
    from orilla.runtime.bundle.run_folder import read_run

    if folder.exists() and not folder.is_dir():
        msg = f"--out {folder} is a file: give a folder"
        raise ConfigError(msg)
    for package in () if quick else NEEDS:
        if find_spec(package) is None:
            raise MissingExtraError(package, "export")
    make_folder(folder)
    if not quick and _is_trained(run) and read_run(run)[0].seed != seed:
        msg = f"{run} was trained with seed {read_run(run)[0].seed}: remove {folder}, or give another --out"
        raise ConfigError(msg)


def _is_trained(run: Path) -> bool:
    return (run / "model.keras").exists()


def _train(run: Path, seed: int) -> None:
    """Train the model unless an earlier demo has trained it."""
    if _is_trained(run):
        _announce(f"1/5 train: skipped, because {run} exists")
        return
    _announce("1/5 train a small road model on procedural scenes (some minutes; it continues after an interruption)")
    options = [word for name, value in TRAIN.items() for word in (f"--{name}", value)]
    _orilla(object, "train", "road", "--data", "scenes", "--out", run, "--seed", seed, *options, "--resume")


def _next_commands(bundle: str | None) -> list[str]:
    """Return commands to try after the demo. `bundle` is the path of the trained model, or None."""
    shipped = [
        "orilla run road --source YOUR_VIDEO.mp4 --sink video:out.mp4    # the shipped model",
        "orilla run road --source 0                                      # your camera",
    ]
    if bundle is None:
        return [*shipped, "orilla demo                                                     # train a model"]
    return [
        *shipped,
        f"orilla run {bundle} --source scenes --engine onnx",
        "orilla train road --data camvid.zip --weights imagenet --out runs/camvid",
    ]


def _announce(step: str) -> None:
    print_message(f"\n{step}")


def _orilla(document: type[T], *words: object) -> T:
    """Run one command in a separate process, as a user would, and return its JSON document."""
    import msgspec

    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words), "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ended.returncode not in (0, 1) or not ended.stdout:
        msg = f"the demo stopped: orilla {words[0]} ended with code {ended.returncode}"
        raise OrillaError(msg)
    return msgspec.json.decode(ended.stdout, type=document)
