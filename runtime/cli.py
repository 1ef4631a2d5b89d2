"""The `orilla` command.

It imports only the module of the requested subcommand, and reports an error on a single line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from orilla.devices.errors import MissingExtraError, OrillaError, unknown_name
from orilla.devices.signals import end_at_once, end_without_main_thread, interrupt_on_signals
from orilla.runtime.commands.command import Command, CommandModule, ExpandsWords
from orilla.runtime.terminal.messages import print_message

if TYPE_CHECKING:
    import argparse

    from orilla.runtime.commands.result import CommandResult

USAGE_ERROR = 2
INTERRUPTED = 130

LAST_STREAM = 2
"""File descriptor of standard error, the last of the standard streams."""

INFERENCE = "orilla-infer"
"""Name of the inference thread of a camera loop."""

MAX_MESSAGE = 4000
"""Maximum length of an error message in characters. Longer messages, which quote long values, are cut."""

QUIET = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Environment variables that silence the messages of libraries. Orilla reports errors itself."""


COMMANDS = {
    "run": Command(
        "orilla.runtime.commands.run",
        "run a bundle on a camera, video, folder of images or procedural scenes",
        (
            "orilla run road --source drive.mp4 --sink video:out.mp4",
            "orilla run mobilenet --source 0 --sink jsonl:log.jsonl --stats",
        ),
    ),
    "tune": Command(
        "orilla.runtime.commands.tune",
        "find the fastest variant, engine and thread count on this machine",
        ("orilla tune road", "orilla tune mine.orilla --threads 1,2"),
    ),
    "profile": Command(
        "orilla.runtime.commands.profile",
        "show the time of each layer of a variant, and what to change",
        ("orilla profile road", "orilla profile mine.orilla --variant onnx_wi8_ai8 --page profile.html"),
    ),
    "bench": Command(
        "orilla.runtime.commands.bench.command",
        "measure the latency of a bundle, and compare results",
        ("orilla bench run road --out now.json", "orilla bench compare before.json now.json"),
    ),
    "report": Command(
        "orilla.runtime.commands.report",
        "write a page of benchmark results",
        ("orilla report now.json --out report.html", "orilla report before.json now.json --out report.html"),
        extra="report",
    ),
    "replay": Command(
        "orilla.runtime.commands.replay",
        "repeat the decisions of a recorded loop, or simulate another policy",
        ("orilla replay drive.rec --policy deadline:80", "orilla replay drive.rec"),
    ),
    "verify": Command(
        "orilla.runtime.commands.verify",
        "check that a bundle gives the same results on this machine as at export",
        ("orilla verify road --data camvid.zip", "orilla verify mine.orilla --budget"),
    ),
    "data": Command(
        "orilla.runtime.commands.data",
        "download published data sets, and show the contents of any data set",
        ("orilla data get mnist", "orilla data show IMAGES"),
    ),
    "train": Command(
        "orilla.train.cli",
        "train a model",
        (
            "orilla train convnet --data IMAGES --out runs/convnet",
            "orilla train detect --data annotations.zip --out runs/detect --resume",
        ),
        extra="train",
    ),
    "export": Command(
        "orilla.export.cli",
        "convert and quantise a model into a bundle, and check each variant",
        (
            "orilla export runs/road --out road.orilla",
            "orilla export model.h5 --out model.orilla --task classify --calibration IMAGES",
        ),
        extra="export",
    ),
    "import": Command(
        "orilla.export.import_cli",
        "make a bundle from a .tflite or .onnx file that another tool wrote, and check it",
        (
            "orilla import detector.onnx --task detect --labels classes.txt --out detector.orilla",
            "orilla import mobilenet.tflite --task classify --labels labels.txt --out mobilenet.orilla",
        ),
        extra="export",
    ),
    "layers": Command(
        "orilla.export.layers.command",
        "show in which layers a quantised variant loses accuracy",
        ("orilla layers mine.orilla --variant litert_wi8_ai8", "orilla layers road --engines litert,onnx,reference"),
        extra="export",
    ),
    "show": Command(
        "orilla.runtime.commands.show",
        "show the contents of a bundle",
        ("orilla show road", "orilla show mine.orilla --json"),
    ),
    "extract": Command(
        "orilla.runtime.commands.extract",
        "write a variant of a bundle as a .tflite or .onnx file with metadata",
        ("orilla extract road --out road.tflite", "orilla extract road onnx_wi8_ai8 --out road.onnx"),
    ),
    "slim": Command(
        "orilla.runtime.commands.slim",
        "write a bundle with only some of its variants",
        (
            "orilla slim road.orilla --keep default --out robot.orilla",
            "orilla slim road.orilla --keep litert_wi8_ai8 --out robot.orilla",
        ),
    ),
    "sign": Command(
        "orilla.runtime.commands.sign",
        "sign a bundle, so that robots run only bundles from you",
        ("orilla sign --new-key robot.key", "orilla sign road.orilla --key robot.key"),
        extra="sign",
    ),
    "deploy": Command(
        "orilla.runtime.commands.deploy.command",
        "put a new release of a bundle on a device, or return to the previous one",
        (
            "orilla deploy road.orilla --to /var/lib/robot/road --trust robot.key.pub --service orilla-rover",
            "orilla deploy road.orilla --to ssh://pi@robot/~/road",
            "orilla deploy --to ssh://pi@robot/~/road --rollback",
        ),
    ),
    "edgetpu": Command(
        "orilla.export.edgetpu.command",
        "predict which operators of a .tflite file Coral's Edge TPU would run",
        ("orilla edgetpu model.tflite", "orilla edgetpu model.tflite --json"),
        extra="export",
    ),
    "demo": Command(
        "orilla.runtime.commands.demo",
        "train, export, verify and run a small road model, and write a page of results",
        ("orilla demo --quick", "orilla demo --out demo --seed 1"),
        extra="export",
    ),
    "service": Command(
        "orilla.runtime.commands.service",
        "run a configuration file of orilla run as a systemd service",
        ("orilla service install rover.toml", "orilla service show rover.toml"),
    ),
    "devices": Command(
        "orilla.runtime.commands.devices",
        "describe this machine and the known devices",
        ("orilla devices pi4", "orilla devices"),
    ),
    "cameras": Command(
        "orilla.runtime.commands.cameras",
        "list the cameras of this machine with their formats, sizes, frame rates and controls",
        ("orilla cameras", "orilla cameras --json"),
    ),
    "doctor": Command(
        "orilla.runtime.commands.doctor",
        "find problems with this machine and this installation",
        ("orilla doctor", "orilla doctor --json"),
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command. Return 0 for success, 1 for a negative verdict, 2 for an error that the user can fix."""
    if argv is not None:
        return _main(argv)
    _open_standard_streams()
    interrupt_on_signals()
    end_without_main_thread()
    code = _main(sys.argv[1:])
    if "orilla.runtime.engines.compiled" in sys.modules:
        from orilla.runtime.stdio import drop_stderr

        drop_stderr()
    if any(thread.name == INFERENCE for thread in threading.enumerate()):
        # The thread waits for an engine that hangs. At a normal exit, the libraries could wait for it or crash.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        end_at_once(code)
    return code


def _open_standard_streams() -> None:
    """Open the null device in place of standard streams that are closed.

    Otherwise, the next opened file would get the descriptor of such a stream, and libraries would write their messages
    to this file. Standard output is opened for reading only, so that a command that writes results to it fails instead
    of losing them.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= LAST_STREAM:
        if number == 1:
            os.close(number)
            os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _main(words: list[str]) -> int:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    interrupt_on_signals()
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except OrillaError as error:
        return _refuse(str(error))
    except ImportError as error:
        if error.name and error.name.startswith("orilla"):
            raise
        return _refuse(f"{error}; run `orilla doctor` to check this installation")
    except KeyboardInterrupt:
        is_early = "orilla.runtime.commands.run_loop" not in sys.modules
        return 0 if words[:1] == ["run"] and is_early else INTERRUPTED  # Stopping a loop is not an error, even early.
    except BrokenPipeError:
        from orilla.runtime.stdio import drop_stdout

        drop_stdout()
        return 0
    except OSError as error:
        from orilla.runtime.stdio import drop_stdout, reason_of_output

        drop_stdout()
        return _refuse(f"{error.filename or 'standard output'}: {reason_of_output(error)}")


def _refuse(reason: str) -> int:
    print_message(f"orilla: {' '.join(reason.split())[:MAX_MESSAGE]}")
    return USAGE_ERROR


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE_ERROR
    if words[0] == "help":
        return _dispatch([*words[1:], "--help"])
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"orilla {version('orilla')}")
        return 0
    if words[0] == "--schema":
        from orilla.runtime.bundle.run_folder import encode_json

        sys.stdout.write(encode_json(schema_of(words[1:])).decode())
        return 0
    if words[0] == "completion":
        sys.stdout.write(_completion(words[1:]))
        return 0
    if words[0] not in COMMANDS:
        raise unknown_name(words[0], [*COMMANDS, "completion"], kind="command")
    return _run(words[0], words[1:])


def _run(name: str, words: list[str]) -> int:
    from orilla.runtime.argument_parser import CommandParser, HelpFormatter

    command = COMMANDS[name]
    module = _load(command)
    parser = CommandParser(prog=f"orilla {name}", formatter_class=HelpFormatter)
    parser.description = f"{command.about[0].upper()}{command.about[1:]}."
    parser.epilog = "\n  ".join(("examples:", *command.examples))
    _add_arguments(module, parser)
    if isinstance(module, ExpandsWords):
        words = module.expand(words)
    arguments = parser.parse_args(words)
    try:
        result = module.execute(arguments)
    except OrillaError as error:
        return _refuse(parser.with_flags(str(error)))
    try:
        _print(result, as_json=arguments.json)
    except OSError as error:
        from orilla.runtime.stdio import drop_stderr, drop_stdout

        if result.to_stderr and not arguments.json:
            drop_stderr()  # Losing messages for people is not an error.
        elif isinstance(error, BrokenPipeError):
            drop_stdout()  # The program that reads the output has read enough. The verdict remains valid.
        else:
            raise
    return result.exit_code


def _add_arguments(module: CommandModule, parser: argparse.ArgumentParser) -> None:
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables (docs/json.md)")


def _completion(words: list[str]) -> str:
    """Return the completion script for a shell."""
    from orilla.runtime.commands.completion import script

    modules = {name: _load(command) for name, command in COMMANDS.items()}
    return script(words[0] if words else "", {name: partial(_add_arguments, modules[name]) for name in modules})


def _print(result: CommandResult, *, as_json: bool) -> None:
    if as_json:
        from orilla.runtime.bundle.run_folder import encode_json

        sys.stdout.write(encode_json(result.to_json()).decode())
    else:
        from orilla.runtime.terminal.console import ResultConsole

        result.render(ResultConsole(stderr=result.to_stderr))
    sys.stdout.flush()


def schema_of(names: list[str]) -> dict[str, object]:
    """Return the JSON Schema of the named documents, or of all documents if no name is given.

    The names are those of the commands, `line` for a line of the sink `jsonl`, and `event`.
    """
    from orilla.runtime.commands import schema

    others = schema.document_types()
    documents = {}
    for name in names or [*COMMANDS, *others]:
        if name not in COMMANDS and name not in others:
            raise unknown_name(name, [*COMMANDS, *others], kind="document")
        documents[name] = [others[name]] if name in others else schema.result_types(_load(COMMANDS[name]).execute)
    return schema.schema_of(documents)


def _load(command: Command) -> CommandModule:
    try:
        return cast("CommandModule", import_module(command.module))
    except ImportError as error:
        if not error.name or error.name.startswith("orilla") or command.extra is None:
            raise
        raise MissingExtraError(error.name, command.extra) from error


def _overview() -> str:
    from orilla.runtime.argument_parser import indented

    rows = [indented(name, command.about, max(map(len, COMMANDS))) for name, command in COMMANDS.items()]
    end = (
        "`orilla help COMMAND` shows its options and examples.\n"
        "`orilla --schema COMMAND` prints the schema of its JSON.\n"
        "`orilla completion SHELL` prints a completion script."
    )
    return "\n".join(["usage: orilla COMMAND [options]", "", *rows, "", end])


if __name__ == "__main__":
    sys.exit(main())
