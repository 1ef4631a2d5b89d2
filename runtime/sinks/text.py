"""Sink that prints one short, human-readable line per tick."""

from __future__ import annotations

from orilla.runtime.frame import Tick, answers_of
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.standard_output import StandardOutput

NEEDS_TARGET = False
Options = NoOptions

MAX_WORDS = 120
"""Maximum number of characters in the description of an answer."""


def line(tick: Tick) -> str:
    """Return a line such as `front 12  2 person, 1 car  34 ms`."""
    captions = ((model, ", ".join(answer.caption())) for model, answer in answers_of(tick.result))
    text = "; ".join(f"{model}: {caption}" if model else caption for model, caption in captions)
    text = text if len(text) <= MAX_WORDS else f"{text[: MAX_WORDS - 1]}…"
    name = " ".join(str(part) for part in (tick.source, tick.index, tick.frame.name) if part is not None)
    doubts = f"  ({', '.join(tick.doubts)})" if tick.doubts else ""
    whole = f"{name}  {text}  {tick.age_ms:.0f} ms{doubts}"
    # A label of an untrusted bundle may contain an escape sequence, which could change the state of the terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in whole)


def open_sink(target: str, options: NoOptions, setup: Setup) -> StandardOutput:
    """Open the sink."""
    del target, options, setup
    return StandardOutput(lambda tick: line(tick).encode())
