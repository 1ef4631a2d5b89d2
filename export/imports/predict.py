"""Run an imported model file. Its outputs are the reference with which the variants are compared."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path

import numpy as np

from orilla.export.data.prepared import row
from orilla.export.imports.registry import importer_for
from orilla.export.imports.trial import LIMIT_S
from orilla.export.workspace import save_array
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.engines.session import Binding


def predict(model: str, jobs: str, binding: str) -> None:
    """Run the model on prepared samples, and write its outputs.

    Args:
        model: Path of the model file.
        jobs: Path of a JSON file with a list of jobs. `check.reference.predict` describes its format.
        binding: Path of a file that `save_binding` wrote, with the names of the outputs and the input value for each
            pixel value.

    Raises:
        ValueError: An output contains NaN or infinity, or its shape differs between samples.
    """
    file_format = importer_for(Path(model))
    assert file_format is not None
    signal.alarm(LIMIT_S)  # If a signal ends this process, `fork_server.call` reports it.
    data = Path(model).read_bytes()
    with closing(loader.load_bytes(default_engine(file_format), data, binding=read_binding(Path(binding)))) as session:
        for job in json.loads(Path(jobs).read_text()):
            inputs = {name: np.load(path, mmap_mode="r") for name, path in job["inputs"].items()}
            count = len(next(iter(inputs.values())))
            results = []
            for index in range(count):
                results.append(session.run(row(inputs, index)))
                signal.alarm(0)
            for name, path in job["outputs"].items():
                arrays = [result[name] for result in results]
                if any(array.shape != arrays[0].shape for array in arrays):
                    msg = f"the shape of output {name} differs between samples"
                    raise ValueError(msg)
                stacked = np.stack(arrays)
                if not np.isfinite(stacked).all():
                    msg = f"the output {name} of the original model contains NaN or infinity"
                    raise ValueError(msg)
                save_array(Path(path), stacked)


def save_binding(path: Path, binding: Binding) -> None:
    """Write `output_names` and `pixel_values` of a binding to a `.npz` file."""
    arrays = {} if binding.pixel_values is None else {"pixel_values": binding.pixel_values}
    np.savez(path, names=np.array(binding.output_names), **arrays)  # type: ignore[arg-type]


def read_binding(path: Path) -> Binding:
    """Read a binding from a file that `save_binding` wrote."""
    with np.load(path, allow_pickle=False) as data:
        values = data["pixel_values"] if "pixel_values" in data.files else None
        return Binding(output_names=tuple(map(str, data["names"])), pixel_values=values)
