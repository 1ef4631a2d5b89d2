"""Hyper-parameter search with KerasTuner: `orilla train MODEL --search hyperband|random --trials N`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.run_folder import SEARCH
from orilla.runtime.files import make_folder, write_bytes
from orilla.train.models import MODELS
from orilla.train.options import TrainOptions

Method = Literal["hyperband", "random"]

Score = Callable[[TrainOptions, int, str], float]
"""Function that trains with options for a number of epochs, under the name of a trial, and returns the score on
held-out samples."""


def search(
    options: TrainOptions, method: Method, trials: int, epochs: int, out: Path, score: Score, *, signature: str
) -> tuple[TrainOptions, dict[str, float | int | str]]:
    """Search learning rate, weight decay, batch size and dropout.

    Args:
        options: Fixed options.
        method: Search method.
        trials: Number of trials.
        epochs: Maximum epochs of a trial. Hyperband gives most trials fewer.
        out: The run folder.
        score: Function that trains and scores.
        signature: Identifies the search. Trials of another search are rejected.

    Returns:
        The options with the best values, and the description of the search for the card.

    Raises:
        ConfigError: The folder contains the trials of another search.
        DataError: Several trials in a row failed.
    """
    _sign(out / SEARCH, signature)
    tuner = _tuner(options, method, trials, epochs, out / SEARCH, score)
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:  # KerasTuner stops after three failures in a row
        summary = [line for line in str(error).strip().splitlines() if line.strip()]
        msg = f"several trials of the search failed in a row: {summary[-1].strip() if summary else error}"
        raise DataError(msg) from error
    # The first of equally good trials wins, because KerasTuner's order changes after a resumption.
    ended = [trial for trial in tuner.oracle.trials.values() if trial.status == "COMPLETED" and trial.score is not None]
    best = min(ended, key=lambda trial: (-trial.score, trial.trial_id), default=None)
    if best is None:
        messages = [trial.message.strip() for trial in tuner.oracle.trials.values() if trial.message]
        reason = messages[-1].splitlines()[-1] if messages else f"see {out / SEARCH}"
        msg = f"no trial of the search finished: {reason}"
        raise DataError(msg)
    values = _values(best.hyperparameters, options)
    done = len(tuner.oracle.trials)
    found: dict[str, float | int | str] = {
        "method": method,
        "trials": done,
        "score": round(float(best.score), 5),
        **values,
    }
    return replace(options, **values), found


def _sign(folder: Path, signature: str) -> None:
    file = folder / "signature.json"
    if file.exists() and file.read_text() != signature:
        msg = f"{folder.parent} contains the trials of another search: give another --out"
        raise ConfigError(msg)
    make_folder(folder)
    write_bytes(file, signature.encode())


def _tuner(options: TrainOptions, method: Method, trials: int, epochs: int, folder: Path, score: Score) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_tuner

    base = {"hyperband": keras_tuner.Hyperband, "random": keras_tuner.RandomSearch}.get(method)
    if base is None:
        msg = f"--search {method}: known are hyperband, random"
        raise ConfigError(msg)
    console = Console(stderr=True, markup=False, highlight=False)

    class Tuner(base):  # type: ignore[misc, valid-type]
        """KerasTuner's choice of trials combined with Orilla's training."""

        def run_trial(self, trial: Any, *arguments: Any, **named: Any) -> dict[str, float]:
            values = _values(trial.hyperparameters, options)
            given = int(trial.hyperparameters.values.get("tuner/epochs", epochs))
            console.print(f"trial {trial.trial_id}: {given} epochs with {values}")
            return {"score": score(replace(options, **values), given, str(trial.trial_id))}

    space = keras_tuner.HyperParameters()
    _values(space, options)
    named: dict[str, Any] = {
        "hyperparameters": space,
        "objective": keras_tuner.Objective("score", "max"),
        "seed": options.seed,
        "directory": str(folder.parent),
        "project_name": folder.name,
        "overwrite": False,
    }
    if method == "hyperband":
        # The number of brackets follows from the trials: Li et al., "Hyperband" (2018).
        tuner = Tuner(max_epochs=max(2, epochs), factor=3, hyperband_iterations=1, **named)
        tuner.oracle.max_trials = trials
        return tuner
    return Tuner(max_trials=trials, **named)


def _values(parameters: Any, options: TrainOptions) -> dict[str, Any]:
    """Declare the search space, and return the values of a trial."""
    rate = options.learning_rate or 1e-3
    values: dict[str, Any] = {
        "learning_rate": float(
            f"{parameters.Float('learning_rate', rate / 10, min(1.0, rate * 10), sampling='log'):.3g}"
        ),
        "weight_decay": float(f"{parameters.Float('weight_decay', 1e-5, 1e-1, sampling='log'):.3g}"),
    }
    if "dropout" in MODELS[options.model].takes:
        values["dropout"] = round(parameters.Float("dropout", 0.0, 0.6), 2)
    if options.batch is not None:
        values["batch"] = int(
            parameters.Choice("batch", [max(1, options.batch // 2), options.batch, 2 * options.batch])
        )
    return values
