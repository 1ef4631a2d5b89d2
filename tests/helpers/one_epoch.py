"""Train two epochs with the backend in `KERAS_BACKEND`, from given weights, without randomness. Print the losses."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from orilla.devices.progress import NoProgress
from orilla.train.data.splits import split
from orilla.train.fit import backend
from orilla.train.fit.training import fit
from orilla.train.jobs.job import make_job
from orilla.train.options import TrainOptions
from orilla.train.train import open_data


def main(model: str, data: str, weights: str, folder: str) -> None:
    sizes = {"road": (64, 64), "lstm": (40,), "lenet": (28, 28)}
    options = TrainOptions(
        model=model,
        data=data,
        input=sizes[model],
        epochs=2,
        batch=8,
        width=0.35 if model == "road" else None,
        dropout=0.0 if model != "road" else None,
        learning_rate=1e-3,
        augment=False,
        hold_out="none",
    )
    backend.configure("float32", 0)
    _, dataset = open_data(options)
    job = make_job(options, dataset, split(dataset, hold_out="none"))
    task = job.phases[0](NoProgress())
    file = Path(weights)
    if not file.exists():
        np.savez(file, *[np.asarray(array) for array in task.model.get_weights()])
    with np.load(file) as saved:
        task.model.set_weights([saved[name] for name in saved.files])
    result = fit(replace(task, options=replace(task.options, workers=1)), Path(folder), signature="")
    print(json.dumps([row["loss"] for row in result.rows]))


main(*sys.argv[1:])
