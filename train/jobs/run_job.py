"""Run a job: train its phases one after the other, and resume after an interruption."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from orilla.devices.errors import ConfigError
from orilla.devices.progress import Progress
from orilla.train.fit.checkpoint import Row, checkpoint_signature, read_state, remove_checkpoint, write_arrays
from orilla.train.fit.training import FitResult, fit
from orilla.train.jobs.job import Job
from orilla.train.options import TrainOptions


def run_job(job: Job, options: TrainOptions, out: Path, signature: str, progress: Progress) -> FitResult:
    """Train the phases of a job in place. When a training run is resumed, its finished phases are loaded.

    Args:
        job: The network and its phases.
        options: The options of the training run.
        out: The run folder, to which the checkpoints are written.
        signature: A string that identifies the training run. Checkpoints with a different signature are rejected.
        progress: Receives the progress.
    """
    rows: list[Row] = []
    best_epoch = 0
    for number in range(len(job.phases)):
        finished = out / f"phase{number}.npz"
        phase_signature = f"{signature} phase {number}"
        if options.resume and finished.exists():
            rows = _read_phase(finished, job.network, phase_signature)
            if (
                checkpoint_signature(out) == phase_signature
            ):  # The run was interrupted between writing the phase file and deleting the checkpoint.
                remove_checkpoint(out)
            continue
        started = time.monotonic()
        task = job.phases[number](progress)
        preparation = time.monotonic() - started
        if options.tensorboard:
            logs = out / "tensorboard" / (f"phase{number + 1}" if len(job.phases) > 1 else "")
            task = replace(task, options=replace(task.options, tensorboard=logs))
        result = fit(task, out, signature=phase_signature, resume=options.resume, progress=progress)
        # The training time includes the computation of the frozen layers' outputs.
        result.rows[0]["seconds"] = round(result.rows[0]["seconds"] + preparation, 2)
        best_epoch = len(rows) + result.best_epoch
        rows += [{**row, "epoch": len(rows) + row["epoch"]} for row in result.rows]
        if number + 1 < len(job.phases):
            _write_phase(finished, job.network, phase_signature, rows)
            remove_checkpoint(out)
    return FitResult(rows, best_epoch)


def remove_checkpoints(out: Path) -> None:
    """Delete the files that are only needed to resume a training run."""
    remove_checkpoint(out)
    for file in out.glob("phase*.npz"):
        file.unlink()


def _write_phase(path: Path, network: keras.Model, signature: str, rows: list[Row]) -> None:
    arrays = {f"v{index}": keras.ops.convert_to_numpy(value) for index, value in enumerate(network.variables)}
    write_arrays(path, {"signature": signature, "rows": rows}, arrays)


def _read_phase(path: Path, network: keras.Model, signature: str) -> list[Row]:
    with np.load(path) as saved:
        state = read_state(saved)
        if state["signature"] != signature:
            msg = f"cannot resume {path.parent}: {path.name} was written with different options"
            raise ConfigError(msg)
        for index, variable in enumerate(network.variables):
            variable.assign(saved[f"v{index}"])
    rows: list[Row] = state["rows"]
    return rows
