"""Sink that prints one short line per tick for people."""

from __future__ import annotations

import sys

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.answers import Document, answers, box_counts, fractions, line_counts
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.stdio import drop_stdout

NEEDS_TARGET = False
Options = NoOptions

MAX_WORDS = 120
"""Maximum length of the description of an answer."""


class Text(Sink):
    """Prints lines to standard output."""

    def write(self, tick: Tick) -> bool:
        """Print one tick. Return False if the program that reads standard output has ended."""
        try:
            print(line(tick), flush=True)
        except BrokenPipeError:
            drop_stdout()
            return False
        except OSError as error:
            drop_stdout()
            msg = f"cannot write standard output: {error.strerror or error}"
            raise OutputError(msg) from error
        return True

    def close(self) -> None:
        """Do nothing, because standard output stays open."""
        sys.stdout.flush()


def line(tick: Tick) -> str:
    """Return a line such as `front 12  2 person, 1 car  34 ms`."""
    document = tick.to_dict()
    result = document["result"]
    assert isinstance(result, dict)
    text = "; ".join((f"{one.model}: " if one.model else "") + summary(one.document) for one in answers(result))
    text = text if len(text) <= MAX_WORDS else f"{text[: MAX_WORDS - 1]}…"
    name = " ".join(str(document[key]) for key in ("source", "index", "name") if key in document)
    doubts = f"  ({', '.join(tick.doubts)})" if tick.doubts else ""
    whole = f"{name}  {text}  {tick.age_ms:.0f} ms{doubts}"
    # A label of an untrusted bundle may contain an escape sequence, which would change the state of the terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in whole)


def summary(answer: Document) -> str:
    """Return the answer of one model in a few words."""
    task = answer["task"]
    if task == "detect":
        counts = [f"{number} {label}" for label, number in box_counts(answer).most_common()]
        lines = [f"{name} {kind} {number}" for (name, kind), number in line_counts(answer).items()]
        return ", ".join([*(counts or ["nothing"]), *lines])
    if task == "segment":
        return ", ".join(f"{label} {100 * share:.0f} %" for label, share in fractions(answer).items())
    if "top" in answer:
        return f"{answer['top']['label']} {answer['top']['score']:.2f}"
    if task == "regress":
        units = answer.get("units", {})
        values = (f"{name} {value:.3g} {units.get(name, '')}" for name, value in answer["values"].items())
        return ", ".join(value.rstrip() for value in values)
    return ", ".join(f"{key} {value}" for key, value in answer.items() if key != "task")


def open_sink(target: str, options: NoOptions, setup: Setup) -> Text:
    """Open the sink."""
    del target, options, setup
    return Text()
