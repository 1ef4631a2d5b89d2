"""Probation of new releases in `orilla run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from orilla.runtime.bundle.probation import Trial, begin
from orilla.runtime.terminal.messages import print_message


class Trials:
    """Context manager around a loop, which records whether releases under probation work.

    Args:
        bundles: The bundles of the loop. Bundles that are not deployments have no probation.
    """

    def __init__(self, bundles: Sequence[str]) -> None:
        self._folders = [Path(bundle) for bundle in bundles]
        self._trials: list[Trial] = []

    def answered(self) -> None:
        """Record that the loop has given an answer."""
        for trial in self._trials:
            trial.answered()

    def __enter__(self) -> Trials:
        for folder in self._folders:
            trial, line = begin(folder)
            if line is not None:
                print_message(f"orilla: {line}")
            if trial is not None:
                self._trials.append(trial)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for trial in self._trials:
            if (line := trial.ended(error)) is not None:
                print_message(f"orilla: {line}")
