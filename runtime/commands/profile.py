"""The command `orilla profile`: show the time of each layer of a variant, and what to change."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.runtime.commands.page_option import add_page, check_page
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.devices.detect import Machine
    from orilla.runtime.bench.profile.layer import Layer
    from orilla.runtime.bench.profile.profile import Profile
    from orilla.runtime.terminal.console import ResultConsole

SHOWN = 15
"""Number of layers in the table. `--all` shows every layer."""

NAME_WIDTH, KERNEL_WIDTH = 27, 19
"""Widths of the text columns in characters. With them, the table fits into 80 characters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument("--variant", help="variant to profile (default: the bundle's default)")
    parser.add_argument("--engine", help="engine: litert, or one that begins with onnx (default: the variant's)")
    parser.add_argument(
        "--all", dest="every", action="store_true", help=f"show every layer, not only the {SHOWN} slowest"
    )
    add_page(parser)


@dataclass(frozen=True, slots=True)
class ProfileResult(CommandResult):
    """Result of `orilla profile`."""

    hidden = ("every",)
    optional = ("page",)

    bundle: str
    machine: Machine
    profile: Profile
    page: str | None
    """The page that was written."""
    every: bool
    """If True, the table shows every layer."""

    def render(self, console: ResultConsole) -> None:
        """Print the slowest layers in the order of the network, and what to change."""
        from rich.table import Table

        profile = self.profile
        slowest = sorted(profile.layers, key=lambda layer: -layer.ms)[: None if self.every else SHOWN]
        shown = [layer for layer in profile.layers if layer in slowest]
        for line in heading(self.bundle, profile, self.machine):
            _print(console, line)
        table = Table(box=None, padding=(0, 2, 0, 0))
        for index, column in enumerate(("layer", "runs as", "ms", "time", "GMAC/s", "of peak")):
            table.add_column(column, justify="left" if index < 2 else "right", no_wrap=True)
        for layer in shown:
            table.add_row(*row(layer, NAME_WIDTH, KERNEL_WIDTH))
        console.print_table(table)
        if len(shown) < len(profile.layers):
            rest = 100 * (1 - sum(layer.share for layer in shown))
            count = len(profile.layers) - len(shown)
            console.print_line(f"{count} layers with {rest:.0f} % of the time are not shown: use --all")
        if any(layer.place == "LiteRT" for layer in shown):
            console.print_line("!: LiteRT runs this operator without XNNPACK")
        for line in summary(profile):
            _print(console, line)
        for number, advice in enumerate(profile.advice, 1):
            _print(console, f"{number}. {100 * advice.share:.0f} %: {advice.problem}")
            _print(console, f"   {advice.change}")
        if self.page is not None:
            console.print_line(f"page: {self.page}")


def _print(console: ResultConsole, text: str) -> None:
    """Print a sentence, wrapped to the width of the terminal."""
    for line in textwrap.wrap(text, console.width, subsequent_indent="   ", break_on_hyphens=False) or [""]:
        console.print_line(line)


def heading(bundle: str, profile: Profile, machine: Machine) -> list[str]:
    """Return the lines above the table: what was measured, and how."""
    lines = [
        f"{bundle}: {profile.variant} on {profile.engine}, {profile.threads} thread",
        f"machine: {machine}",
        f"method: {profile.method}",
        f"{profile.inference_ms:.3f} ms per inference without the profiler; the layers add up to "
        f"{profile.layers_ms:.3f} ms ({profile.runs} inferences)",
    ]
    if profile.disturbed is not None:
        lines.append(profile.disturbed)
    return lines


def summary(profile: Profile) -> list[str]:
    """Return the lines below the table: the peak, the bound, and the shares of the time."""
    rates = ", ".join(f"{rate:.1f} GMAC/s in {numbers}" for numbers, rate in profile.peaks.items())
    lines = []
    if profile.peaks:
        lines.append(f"peak: {rates}, measured now with a {profile.peak_method}")
        lines.append(
            f"{profile.macs / 1e6:.1f} million multiply-accumulates would take {profile.bound_ms:.3g} ms at the peak"
        )
    parts = {"work": "layers with weights", "copy": "copies", "convert": "conversions", "other": "others"}
    shares = ", ".join(f"{name} {100 * profile.share(kind):.0f} %" for kind, name in parts.items())
    return [*lines, f"time: {shares}"]


def row(layer: Layer, name_width: int, kernel_width: int) -> list[str]:
    """Return the cells of a layer. Long texts are truncated."""
    return [
        _cut(layer.name or "(added by the engine)", name_width),
        _cut(("! " if layer.place == "LiteRT" else "") + layer.short_kernel, kernel_width),
        f"{layer.ms:.3f}",
        f"{100 * layer.share:.1f} %",
        "" if layer.gmac_per_s is None else f"{layer.gmac_per_s:.1f}",
        "" if layer.of_peak is None else f"{100 * layer.of_peak:.0f} %",
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def execute(arguments: argparse.Namespace) -> ProfileResult:
    """Profile a variant."""
    from orilla.devices.detect import detect
    from orilla.runtime.bench.profile.page import page
    from orilla.runtime.bench.profile.profile import profile
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines import loader
    from orilla.runtime.files import write_bytes
    from orilla.runtime.terminal.progress import TerminalProgress

    if arguments.page is not None:
        check_page(arguments.page)
    bundle = Bundle.open(arguments.bundle, every_file=False)
    variant = loader.choose(bundle, arguments.variant, arguments.engine)
    with TerminalProgress() as progress:
        measured = profile(bundle, variant, arguments.engine, progress)
    machine = detect()
    if arguments.page is not None:
        write_bytes(arguments.page, page(str(arguments.bundle), measured, machine))
    return ProfileResult(
        bundle=str(arguments.bundle),
        machine=machine,
        profile=measured,
        page=None if arguments.page is None else str(arguments.page),
        every=arguments.every,
    )
