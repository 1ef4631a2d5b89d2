"""Hyperparameter search with KerasTuner: `orilla train MODEL --search hyperband|random --trials N`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orilla.devices.errors import ConfigError, DataError, unknown_name
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.bundle.run_folder import SEARCH
from orilla.runtime.files import make_folder, write_bytes
from orilla.train.models import MODELS
from orilla.train.options import TrainOptions

Method = Literal["hyperband", "random"]

Score = Callable[[TrainOptions, int, str], float]
"""Function that trains one trial and returns its metric on the held-out samples. The arguments are the options, the
number of epochs and the name of the trial."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The method of a search, and its number of trials."""

    method: Method
    trials: int


@dataclass(frozen=True, slots=True)
class SearchTask:
    """The initial options, the method, and the function to maximise."""

    options: TrainOptions
    """The initial options. The search tries learning rates and batch sizes around their values."""
    search: SearchOptions
    epochs: int
    """Maximum number of epochs of a trial. Hyperband trains most trials for fewer epochs."""
    score: Score
    progress: Progress = field(default_factory=NoProgress)
    """Receives one message for each trial."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The options with the best values, and a record of the search for the card."""

    options: TrainOptions
    record: dict[str, float | int | str]
    """Method, number of trials, best score and best values by name."""


def search(task: SearchTask, out: Path, *, signature: str) -> SearchResult:
    """Search for the best learning rate, weight decay, batch size and dropout rate. Resume an interrupted search.

    Args:
        task: The options, the method and the function to maximise.
        out: The run folder, to which the trials are written.
        signature: A string that identifies the search. The trials of another search are rejected.

    Raises:
        ConfigError: The run folder contains the trials of another search.
        DataError: No trial succeeds.
    """
    folder = out / SEARCH
    _check_signature(folder, signature)
    tuner = _tuner(task, folder)
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:  # KerasTuner stops after three failures in a row.
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        msg = f"the search trials failed: {lines[-1].strip() if lines else error}"
        raise DataError(msg) from error
    trials = list(tuner.oracle.trials.values())
    completed = [trial for trial in trials if trial.status == "COMPLETED" and trial.score is not None]
    # KerasTuner may order trials with equal scores differently in a resumed search, so ties are broken by trial number.
    best = min(completed, key=lambda trial: (-trial.score, trial.trial_id), default=None)
    if best is None:
        messages = [trial.message.strip() for trial in trials if trial.message]
        reason = messages[-1].splitlines()[-1] if messages else f"see {folder}"
        msg = f"no trial of the search succeeded: {reason}"
        raise DataError(msg)
    values = _values(best.hyperparameters, task.options)
    score = round(float(best.score), 5)
    record = {"method": task.search.method, "trials": len(trials), "score": score, **values}
    return SearchResult(replace(task.options, **values), record)


def _check_signature(folder: Path, signature: str) -> None:
    file = folder / "signature.json"
    if file.exists() and file.read_text() != signature:
        msg = f"{folder.parent} contains the trials of another search: choose another folder"
        raise ConfigError(msg)
    make_folder(folder)
    write_bytes(file, signature.encode())


def _tuner(task: SearchTask, folder: Path) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_tuner

    tuners = {"hyperband": keras_tuner.Hyperband, "random": keras_tuner.RandomSearch}
    if task.search.method not in tuners:
        raise unknown_name(task.search.method, tuners, kind="search method")

    base: Any = tuners[task.search.method]

    class Tuner(base):
        """A tuner that chooses trials as KerasTuner does, and trains them with Orilla."""

        def run_trial(self, trial: Any, *arguments: Any, **options: Any) -> dict[str, float]:
            del arguments, options
            values = _values(trial.hyperparameters, task.options)
            epochs = int(trial.hyperparameters.values.get("tuner/epochs", task.epochs))
            task.progress.message(f"trial {trial.trial_id}: {epochs} epochs with {values}")
            return {"score": task.score(replace(task.options, **values), epochs, str(trial.trial_id))}

    space = keras_tuner.HyperParameters()
    _values(space, task.options)
    settings: dict[str, Any] = {
        "hyperparameters": space,
        "objective": keras_tuner.Objective("score", "max"),
        "seed": task.options.seed,
        "directory": str(folder.parent),
        "project_name": folder.name,
        "overwrite": False,
    }
    if task.search.method == "random":
        return Tuner(max_trials=task.search.trials, **settings)
    # The number of trials limits the number of brackets. Source: Li et al., "Hyperband" (2018).
    tuner = Tuner(max_epochs=max(2, task.epochs), factor=3, hyperband_iterations=1, **settings)
    tuner.oracle.max_trials = task.search.trials
    return tuner


def _values(parameters: Any, options: TrainOptions) -> dict[str, Any]:
    """Declare the search space in KerasTuner's `parameters`, and return the values of this trial by name."""
    rate = options.learning_rate or 1e-3
    learning_rate = parameters.Float("learning_rate", rate / 10, min(1.0, rate * 10), sampling="log")
    weight_decay = parameters.Float("weight_decay", 1e-5, 1e-1, sampling="log")
    values: dict[str, Any] = {
        "learning_rate": float(f"{learning_rate:.3g}"),
        "weight_decay": float(f"{weight_decay:.3g}"),
    }
    if "dropout" in MODELS[options.model].options:
        values["dropout"] = round(parameters.Float("dropout", 0.0, 0.6), 2)
    if options.batch is not None:
        batches = [max(1, options.batch // 2), options.batch, 2 * options.batch]
        values["batch"] = int(parameters.Choice("batch", batches))
    return values
