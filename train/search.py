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
"""Trains with some options for some epochs, under a trial's name, and says how good it is on the samples held out."""


def search(
    options: TrainOptions, method: Method, trials: int, epochs: int, out: Path, score: Score, *, signature: str
) -> tuple[TrainOptions, dict[str, float | int | str]]:
    """Finds learning rate, weight decay, batch and dropout.

    Args:
        options: what is not searched for.
        epochs: the most that a trial gets; Hyperband gives most trials fewer.
        out: the run folder.
        signature: names what is being searched for; the trials of another search are refused.

    Returns:
        The options with the best values, and how they were found, for the card.

    Raises:
        ConfigError: the folder holds the trials of another search.
        DataError: trial after trial fails.
    """
    _sign(out / SEARCH, signature)
    tuner = _tuner(options, method, trials, epochs, out / SEARCH, score)
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:  # KerasTuner gives up after three failures in a row
        told = [line for line in str(error).strip().splitlines() if line.strip()]
        msg = f"trial after trial of the search fails: {told[-1].strip() if told else error}"
        raise DataError(msg) from error
    # Of equal ones the first: KerasTuner's own order is another after a resume.
    ended = [trial for trial in tuner.oracle.trials.values() if trial.status == "COMPLETED" and trial.score is not None]
    best = min(ended, key=lambda trial: (-trial.score, trial.trial_id), default=None)
    if best is None:
        messages = [trial.message.strip() for trial in tuner.oracle.trials.values() if trial.message]
        reason = messages[-1].splitlines()[-1] if messages else f"see {out / SEARCH}"
        msg = f"no trial of the search came to an end: {reason}"
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
        msg = f"{folder.parent} holds the trials of another search: give another --out"
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
        """KerasTuner's choice of trials around this project's training."""

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
        # As many brackets as the trials allow: Li et al., "Hyperband" (2018).
        tuner = Tuner(max_epochs=max(2, epochs), factor=3, hyperband_iterations=1, **named)
        tuner.oracle.max_trials = trials
        return tuner
    return Tuner(max_trials=trials, **named)


def _values(parameters: Any, options: TrainOptions) -> dict[str, Any]:
    """Declares the space, and reads a trial's place in it."""
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
