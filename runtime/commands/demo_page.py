"""The page of results that `orilla demo` writes, from the JSON documents of the commands that it ran."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orilla.runtime.bundle.choices import choice_lines
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.files import replacing
from orilla.runtime.html_page import Page
from orilla.runtime.verify import VariantVerdict


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Files of the demo."""

    run: Path
    """Run folder of the training run."""
    bundle: Path
    clip: Path
    """Generated video, which is the source of the loop."""
    shipped: Path
    """Copy of the clip in which the shipped model tinted the road."""
    shipped_sheet: Path
    """Contact sheet of `shipped`."""
    video: Path
    """Copy of the clip in which the trained model tinted the road."""
    ticks: Path
    """JSON Lines file with the answers of the loop."""
    plot: Path
    """Plot of the loop's times."""
    sheet: Path
    """Contact sheet of the video."""
    page: Path

    @classmethod
    def under(cls, folder: Path) -> DemoFiles:
        """Return the files in a folder."""
        return cls(
            run=folder / "run",
            bundle=folder / "road.orilla",
            clip=folder / "clip.mp4",
            shipped=folder / "shipped.mp4",
            shipped_sheet=folder / "shipped.png",
            video=folder / "road.mp4",
            ticks=folder / "ticks.jsonl",
            plot=folder / "loop.png",
            sheet=folder / "sheet.png",
            page=folder / "index.html",
        )


class ExportDocument(msgspec.Struct, frozen=True):
    """The keys of `orilla export --json` that the demo needs."""

    manifest: Manifest


class VerifyDocument(msgspec.Struct, frozen=True):
    """The keys of `orilla verify --json` that the demo needs."""

    verdict: str
    variants: list[VariantVerdict]


class LoopDocument(msgspec.Struct, frozen=True):
    """The keys of `orilla run --json` that the demo needs."""

    variant: str
    frames: int
    seconds: float
    fps: float
    p50_ms: dict[str, float]
    """Median time of each stage in milliseconds."""
    p90_ms: dict[str, float]
    """90th percentile of each stage's time in milliseconds."""


def plot_loop(ticks: Path, out: Path) -> None:
    """Plot the time in each stage per frame, and the distribution of the answers' age.

    Args:
        ticks: JSON Lines file with the answers.
        out: PNG file to write.
    """
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


def first_page(files: DemoFiles, loop: LoopDocument, commands: Sequence[str]) -> bytes:
    """Return the HTML page that is written before a model is trained.

    Args:
        files: Files of the demo. The page embeds the contact sheet, and links the video.
        loop: Result of the camera loop with the shipped model.
        commands: Commands to try next.
    """
    page = Page(
        "Orilla: the shipped road model",
        "The shipped model finds the road in a generated drive. It was trained on photographs of real streets, and has "
        "not seen this drive.",
    )
    page.picture(files.shipped_sheet, "frames of the clip with the road tinted")
    page.video(files.shipped.name, "the clip with the road tinted")
    page.text(
        f"{loop.frames} frames in {loop.seconds} s, {loop.fps} per second with {loop.variant}. This includes drawing "
        "and writing the video."
    )
    page.heading("Try next")
    page.commands(commands)
    return page.html()


def page(
    files: DemoFiles, exported: ExportDocument, verified: VerifyDocument, loop: LoopDocument, commands: Sequence[str]
) -> bytes:
    """Return the HTML page of the whole demo.

    Args:
        files: Files of the demo. The page embeds the images, and links the videos.
        exported: Result of the export.
        verified: Result of the verification.
        loop: Result of the camera loop with the trained model.
        commands: Commands to try next.
    """
    page = Page(
        "Orilla: road segmentation",
        "A small network that was trained on procedural scenes, exported, verified and run on this machine.",
    )
    page.picture(files.sheet, "frames of the clip with the road tinted")
    page.video(files.video.name, "the clip with the road tinted by the trained model")
    page.video(files.shipped.name, "the same clip with the shipped model, which was trained on real streets")
    _add_training(page, exported.manifest, files.run / "curves.png")
    _add_export(page, exported.manifest)
    _add_verification(page, verified)
    _add_loop(page, loop, files.plot)
    page.heading("Try next")
    page.commands(commands)
    return page.html()


def _add_training(page: Page, manifest: Manifest, curves: Path) -> None:
    card = manifest.card
    assert card is not None, "the demo exports a run folder, which has a card"
    page.heading("Training")
    page.text(
        f"{card.parameters:,} parameters, {card.epochs} epochs over {card.samples} scenes in {card.seconds:.0f} s on "
        f"{card.machine}. Validation IoU {card.measured[0].metrics['iou']:.4f}."
    )
    page.picture(curves, "loss and validation metrics by epoch")


def _add_export(page: Page, manifest: Manifest) -> None:
    page.heading("Export: every variant compared with the original")
    page.table(
        ("variant", "MiB", "IoU", "drop, points", "pixel agreement", "mean error", "max error"),
        [
            ("original (Keras)", "", f"{manifest.report.metrics['iou']:.4f}", "", "", "", ""),
            *(_variant_row(manifest, variant) for variant in manifest.variants),
        ],
    )
    page.text("* the default: the fastest variant whose accuracy drops by at most one point.")
    if manifest.report.warning is not None:
        page.text(f"Warning: {manifest.report.warning}.")
    for line in choice_lines(manifest.report.choices):
        page.text(line.strip())


def _variant_row(manifest: Manifest, variant: Variant) -> tuple[str, ...]:
    check = variant.check
    return (
        variant.name + (" *" if variant.name == manifest.default else ""),
        f"{manifest.files[variant.file].size / 2**20:.2f}",
        f"{check.metrics['iou']:.4f}",
        f"{check.drop:+.2f}",
        f"{100 * check.agreement:.2f} %",
        f"{check.mean_error:.5f}",
        f"{check.max_error:.4f}",
    )


def _add_verification(page: Page, verified: VerifyDocument) -> None:
    page.heading("Verification on this machine")
    rows = [
        (
            verdict.variant,
            verdict.engine,
            "pass" if verdict.passed else "fail",
            ", ".join(stage.name for stage in verdict.stages),
        )
        for verdict in verified.variants
    ]
    page.table(("variant", "engine", "verdict", "stages"), rows)


def _add_loop(page: Page, loop: LoopDocument, plot: Path) -> None:
    page.heading("The camera loop")
    page.text(
        f"{loop.frames} frames in {loop.seconds} s: {loop.fps} per second with {loop.variant}; the stages overlap, so "
        "the time per frame is about that of the slowest stage."
    )
    rows = [(stage, f"{loop.p50_ms[stage]:.2f}", f"{loop.p90_ms[stage]:.2f}") for stage in loop.p50_ms]
    page.table(("stage", "p50 ms", "p90 ms"), rows)
    page.picture(plot, "time in each stage, and the distribution of the answers' age")
