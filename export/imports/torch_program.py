"""Read PyTorch networks: `.pt2` files, and objects from Python modules. Both are converted to ONNX.

A `.pt2` file contains the graph of a network, which `torch.export` recorded. Other PyTorch files are rejected:
a pickle runs any code that its author put into it, and contains the weights without the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.imports import onnx_file
from orilla.export.imports.registry import is_import_path

RUNS_OTHER_PROGRAMS = True
"""True because a network given by its import path is the user's own code, which may need the network or other programs.
The protections of the fork server are therefore off."""

OPSET = 18
"""Version of the ONNX operator set. Source: `torch.onnx.export`, whose exporter is written for this version."""

MAX_DIFFERENCE = 1e-4
"""Largest difference between the outputs of PyTorch and of the ONNX file, as a share of the largest output."""

HOW_TO_SAVE = (
    'write a .pt2 file where the network is built: "program = torch.export.export(net.eval(), (example,)); '
    "torch.export.save(program, 'net.pt2')\""
)


def describe(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the description of a network. See `registry.Importer`.

    Args:
        model: Path of a `.pt2` file, or an object in the form `module:object`.
        out: Path of the description.
        sizes: For a file, sizes of the axes that it does not fix. For an object, all sizes of a sample.

    Raises:
        ValueError: The network cannot be used. The message states the reason.
    """
    onnx_file.describe(str(_exported(model, Path(out).parent, sizes)), out, _open_sizes(model, sizes))


def copy(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the network as an ONNX file with fixed sizes. The arguments are those of `describe`.

    Raises:
        ValueError: The network cannot be used. The message states the reason.
    """
    onnx_file.copy(str(_exported(model, Path(out).parent, sizes)), out, _open_sizes(model, sizes))


def _open_sizes(model: str, sizes: list[int] | None) -> list[int] | None:
    return None if is_import_path(model) else sizes


def _exported(model: str, folder: Path, sizes: list[int] | None) -> Path:
    """Return the ONNX file of a network.

    It is kept in the folder, because a function may return different weights in the next call.
    """
    digest = hashlib.sha256(json.dumps([model, sizes]).encode()).hexdigest()[:16]
    file = folder / f"torch-{digest}" / f"{Path(model.rpartition(':')[2]).stem}.onnx"
    if file.exists():
        return file
    if not is_import_path(model):
        check_archive(Path(model))
    import torch

    torch.manual_seed(0)
    name = model if is_import_path(model) else Path(model).name
    program = _traced(model, sizes, torch) if is_import_path(model) else _loaded(Path(model), torch)
    _check_program(program, name, torch)
    converted = _onnx(program, name, torch)
    file.parent.mkdir()
    partial = file.with_suffix(".partial")
    converted.save(str(partial), external_data=False)
    _compare(program, partial, name, torch)
    partial.rename(file)
    return file


def check_archive(path: Path) -> None:
    """Raise `ValueError` if a file is not a `.pt2` file, or if loading it could run code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            configs = [json.loads(archive.read(name)) for name in names if name.endswith("_constants_config.json")]
    except (zipfile.BadZipFile, ValueError, OSError, KeyError, NotImplementedError, RuntimeError) as error:
        with path.open("rb") as stream:
            start = stream.read(2)
        if start[:1] == b"\x80":
            raise ValueError(_pickle(path.name)) from error
        msg = f"{path.name} is damaged, or is not a .pt2 file"
        raise ValueError(msg) from error
    inner = {name.partition("/")[2] for name in names} | set(names)
    if any(name.startswith("code/") for name in inner):
        msg = f"{path.name} is a TorchScript file, which torch.export cannot read: {HOW_TO_SAVE}"
        raise ValueError(msg)
    if "data.pkl" in inner:
        raise ValueError(_pickle(path.name))
    if not inner & {"models/model.json", "serialized_exported_program.json"} or max(Counter(names).values()) > 1:
        msg = f"{path.name} is damaged, or is not a .pt2 file"
        raise ValueError(msg)
    constants = [entry for config in configs for entry in config.get("config", {}).values()]
    if not all(str(entry.get("path_name", "")).startswith("tensor") for entry in constants):
        msg = f"{path.name} contains pickled objects, which can run any code: export a network that has only tensors"
        raise ValueError(msg)


def _pickle(name: str) -> str:
    return (
        f"{name} is a pickle: it can run any code when it is loaded, and it contains the weights without the network; "
        f"{HOW_TO_SAVE}"
    )


def _loaded(path: Path, torch: Any) -> Any:
    """Load a `.pt2` file. PyTorch reads its pickled parts as tensors only."""
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        return torch.export.load(path)
    except Exception as error:  # PyTorch raises many types of exceptions.
        msg = f"{path.name} is damaged, or needs a version of PyTorch other than {torch.__version__}: {_line(error)}"
        raise ValueError(msg) from error


def _traced(model: str, sizes: list[int] | None, torch: Any) -> Any:
    """Return the program of an object `module:object`: a network, or a class or function that returns one."""
    made = _made(model, torch)
    net, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(net, torch.nn.Module):
        msg = f"{model} gives an object of the type {type(net).__name__}: expected a torch.nn.Module"
        raise ValueError(msg)
    if sizes is not None:
        example = torch.randn(1, *sizes)
    if example is None:
        msg = (
            f"the sizes of the input of {model} are unknown: set `input` to all sizes of a sample, such as 3x224x224, "
            "or return the network together with an example input"
        )
        raise ValueError(msg)
    try:
        return torch.export.export(net.eval(), example if isinstance(example, tuple) else (example,))
    except Exception as error:  # PyTorch and the network raise many types of exceptions.
        hint = "" if sizes is None else f" (with `input` {'x'.join(map(str, sizes))})"
        msg = f"torch.export cannot record {model}{hint}: {_line(error)}"
        raise ValueError(msg) from error


def _made(model: str, torch: Any) -> Any:
    name, _, attribute = model.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    except Exception as error:  # The user's code can raise any exception.
        msg = f"cannot build {model}: {type(error).__name__}: {_line(error)}"
        raise ValueError(msg) from error


def _check_program(program: Any, name: str, torch: Any) -> None:
    """Raise `ValueError` if the program is in training mode, or takes several samples at once."""
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        operator, arguments = str(node.target), [*node.args, *node.kwargs.values()]
        places = {"aten.dropout.default": 2, "aten.feature_dropout.default": 2, "aten.batch_norm.default": 5}
        if (place := places.get(operator)) is not None and len(arguments) > place and arguments[place] is True:
            msg = f"{name} was exported in training mode ({operator}): call net.eval() before torch.export.export"
            raise ValueError(msg)
    if program.example_inputs is None:
        msg = f"{name} has no example inputs: save the result of torch.export.export itself"
        raise ValueError(msg)
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs and value is not None:
            _check_batch(value, name, torch)


def _check_batch(value: Any, name: str, torch: Any) -> None:
    if isinstance(value, torch.Tensor) and value.ndim and isinstance(value.shape[0], int) and value.shape[0] != 1:
        msg = f"{name} takes {value.shape[0]} samples at once: export it with an example of one sample"
        raise ValueError(msg)


def _onnx(program: Any, name: str, torch: Any) -> Any:
    try:
        return torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False)
    except ImportError:
        raise
    except Exception as error:  # PyTorch raises many types of exceptions.
        cause = error.__cause__ or error
        msg = f"torch.onnx.export cannot convert {name}: {_line(cause)}"
        raise ValueError(msg) from error


def _compare(program: Any, file: Path, name: str, torch: Any) -> None:
    """Raise `ValueError` if the ONNX file and PyTorch give different outputs for random inputs."""
    import onnxruntime
    from torch.utils import _pytree

    arguments, keywords = _pytree.tree_map_only(
        torch.Tensor,
        lambda tensor: torch.rand_like(tensor) if tensor.is_floating_point() else tensor,
        program.example_inputs,
    )
    with torch.no_grad():
        answers = _pytree.tree_leaves(program.module()(*arguments, **keywords))
    tensors = [leaf for leaf in _pytree.tree_leaves((arguments, keywords)) if isinstance(leaf, torch.Tensor)]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(tensors):
        msg = f"{name} takes {len(tensors)} tensors, but the ONNX file takes {len(names)}: remove unused inputs"
        raise ValueError(msg)
    samples = {key: tensor.detach().numpy() for key, tensor in zip(names, tensors, strict=True)}
    expected = [leaf.detach().numpy() for leaf in answers if isinstance(leaf, torch.Tensor)]
    found = session.run(None, samples)
    if len(found) != len(expected):
        msg = f"{name} returns {len(expected)} tensors, but the ONNX file returns {len(found)}"
        raise ValueError(msg)
    for entry, ours, theirs in zip(session.get_outputs(), found, expected, strict=True):
        largest = max(1.0, float(np.abs(theirs).max(initial=0)))
        difference = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))
        if not difference <= MAX_DIFFERENCE * largest:
            msg = (
                f"the ONNX file of {name} gives different outputs from PyTorch: {entry.name} differs by "
                f"{difference:.3g}"
            )
            raise ValueError(msg)


def _line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
