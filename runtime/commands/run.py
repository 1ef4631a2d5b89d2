"""The command `orilla run`: run the camera loop from a source to sinks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands import ladder_options, shadow_options, track_options
from orilla.runtime.commands.lazy_help import lazy_help
from orilla.runtime.commands.trust_options import add_trust
from orilla.runtime.loop.checks import CHECKS
from orilla.runtime.sinks.registry import SINKS
from orilla.runtime.sources.registry import SOURCES

if TYPE_CHECKING:
    from orilla.runtime.commands.run_plan import Plan, PrintedConfig
    from orilla.runtime.commands.run_result import RunResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle",
        nargs="+",
        help="path of a bundle, or the name of a shipped one: road, convnet, mobilenet, sentiment; several bundles "
        "process the same frames; or a configuration file (.toml) with these options",
    )
    lazy_help(
        parser.add_argument("--source", action="append"),
        lambda: (
            f"{SOURCES.described(lambda _, kind: kind.example)}; for a text model a text file, or - for standard "
            "input; NAME=SOURCE for each of several sources"
        ),
    )
    lazy_help(
        parser.add_argument("--sink", action="append"),
        lambda: (
            f"{SINKS.described(lambda _, kind: kind.usage)}; may be repeated (default: text on a terminal, else jsonl)"
        ),
    )
    parser.add_argument(
        "--policy",
        action="append",
        help="latest, every, rate:HZ or deadline:MS (default: latest for a live source, every for a file); NAME=POLICY "
        "for one of several sources",
    )
    parser.add_argument(
        "--cascade",
        metavar="BUNDLE",
        help="second model, which runs on the crops of the frame in which the first model finds something",
    )
    parser.add_argument(
        "--guard",
        metavar="CHECKS",
        help=f"mark answers to frames that cannot be trusted: {', '.join(CHECKS)}, separated by commas, all or none "
        "(default: all for a live source, none for a file)",
    )
    track_options.add_arguments(parser)
    add_trust(parser)
    parser.add_argument("--variant", help="name of a variant (default: the bundle's default)")
    parser.add_argument(
        "--engine",
        help="engine, as listed by orilla devices: litert, onnx, onnx:openvino, edgetpu, ... (default: the variant's)",
    )
    parser.add_argument("--threads", type=int, help="inference threads (default: all cores except one, at most 4)")
    parser.add_argument(
        "--workers",
        type=int,
        help="maximum number of inferences at the same time, for a recorded source with the policy every "
        "(default: workers are added while the throughput increases, at most one per core)",
    )
    ladder_options.add_arguments(parser)
    shadow_options.add_arguments(parser)
    parser.add_argument("--frames", type=int, help="stop after this number of answers")
    parser.add_argument("--stats", action="store_true", help="show rate, dropped frames and times while the loop runs")
    parser.add_argument(
        "--record", metavar="FILE", help="record times, dropped frames and results in a file for orilla replay"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the options as a configuration file, without running"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would run and why, without running it")
    parser.add_argument(
        "--clock",
        action="store_true",
        help="measure the latency from display to answer: the camera must film a screen that shows scenes+clock",
    )


def expand(words: list[str]) -> list[str]:
    """Replace a configuration file with the equivalent command-line arguments."""
    if not any(word.endswith(".toml") for word in words):
        return words
    from orilla.runtime.commands import run_config

    return run_config.expand(words, add_arguments)


def execute(arguments: argparse.Namespace) -> PrintedConfig | Plan | RunResult:
    """Run the loop until its source ends, a limit is reached, or the user stops it."""
    if arguments.print_config:
        from orilla.runtime.commands import run_config
        from orilla.runtime.commands.run_plan import PrintedConfig

        return PrintedConfig(run_config.to_toml(arguments, add_arguments))
    if not arguments.source:
        msg = "no source: give --source, as in --source 0 or --source drive.mp4"
        raise ConfigError(msg)
    if arguments.frames is not None and arguments.frames < 1:
        msg = f"--frames {arguments.frames}: must be 1 or more"
        raise ConfigError(msg)
    from orilla.runtime.commands.run_result import ClosingInterrupted, RunResult

    try:
        from orilla.runtime.commands.run_loop import run

        return run(arguments)
    except ClosingInterrupted:
        raise
    except KeyboardInterrupt:
        if arguments.dry_run:
            raise
        return RunResult.before_start()
