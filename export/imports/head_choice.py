"""Choose the head of an imported detector: recognise it from the outputs, or read it from the user's hint."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orilla.devices.errors import ConfigError
from orilla.export.convert import fork_server
from orilla.export.imports.predict import save_binding
from orilla.export.imports.questions import Questions
from orilla.export.model_hints import ModelHints
from orilla.export.workspace import save_array
from orilla.runtime import scenes
from orilla.runtime.engines.session import Binding
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.tasks.heads import registry as heads
from orilla.runtime.tasks.heads.head import HeadSpec, Option, Outputs, Shapes, with_options

SAMPLE_HW = (360, 640)
"""Height and width, in pixels, of the road scene on which the model runs to choose between several layouts."""


class NoLayoutError(ConfigError):
    """Raised if no detector layout fits the outputs of a model. Other facts from the user cannot change this."""


def choose_head(
    model: Path, outputs: tuple[TensorSpec, ...], spec: Spec, hints: ModelHints, labels: tuple[str, ...]
) -> list[HeadSpec]:
    """Return the heads that fit the outputs of a detector. If there are several, the user must choose one.

    Args:
        model: Path of the model file, in which all axes of the inputs have fixed sizes.
        outputs: Outputs of the model.
        spec: Preprocessing of the model.
        hints: Facts that the user states.
        labels: Labels from the user or from the file. Empty if they are unknown.

    Raises:
        NoLayoutError: No layout fits the outputs.
        ConfigError: The stated layout does not fit the outputs, or the model takes no images.
    """
    if not isinstance(spec, Preprocess):
        msg = "task=detect needs a model that takes images"
        raise ConfigError(msg)
    shapes = {output.name: output.shape for output in outputs}
    seen = heads.describe_outputs(shapes)
    if hints.head is not None:
        return _stated_head(hints.head, shapes, labels, spec.size_hw, lambda: _sample_outputs(model, outputs, spec))
    # Without labels, the number of labels may be wrong. `head_labels` reports this later.
    attempts = [
        found for names in dict.fromkeys((labels, ())) if (found := heads.recognise(shapes, spec.size_hw, names))
    ]
    if not attempts:
        known = "; ".join(heads.describe_heads())
        msg = f"no detector layout fits the outputs {seen}: use task=tensor, or one of the layouts {known}"
        raise NoLayoutError(msg)
    values = _sample_outputs(model, outputs, spec)
    fitting = (refined for found in attempts if (refined := heads.refine(found, values, spec.size_hw)))
    chosen = next(fitting, None)
    if chosen is None:
        layouts = dict.fromkeys(candidate.layout for found in attempts for candidate in found)
        msg = (
            f"the shapes of the outputs {seen} fit the layout {' or '.join(layouts)}, but their values do not: use "
            "task=tensor, or state the layout with `head` if it is correct"
        )
        raise NoLayoutError(msg)
    return chosen


def _stated_head(
    text: str,
    shapes: Shapes,
    labels: tuple[str, ...],
    input_hw: tuple[int, int],
    sample_outputs: Callable[[], Outputs],
) -> list[HeadSpec]:
    """Return the head that the user states. The values of the outputs determine only the options that are not stated.

    Args:
        text: The layout with its options.
        shapes: Shapes of the outputs.
        labels: Labels from the user or from the file. Empty if they are unknown.
        input_hw: Height and width of the network's input in pixels.
        sample_outputs: Function that runs the model once, and returns its outputs.

    Raises:
        ConfigError: The layout is unknown or does not fit the outputs.
    """
    layout, options = _stated(text)
    head = heads.head_of(layout)
    found = head.recognise(shapes, input_hw, labels) or head.recognise(shapes, input_hw)
    if found is None:
        msg = f"`head` is {layout}, which does not fit the outputs {heads.describe_outputs(shapes)}"
        raise ConfigError(msg)
    found = with_options(found, **options)
    return [with_options(head.refine(found, sample_outputs(), input_hw) or found, **options)]


def ask_for_head(found: Sequence[HeadSpec], seen: str, questions: Questions) -> None:
    """Ask for the layout of a detector's outputs if several layouts fit.

    Args:
        found: The heads that fit.
        seen: Description of the outputs.
        questions: The questions that the user must answer.
    """
    if len(found) > 1:
        layouts = [candidate.layout for candidate in found]
        questions.ask("head", ", ".join(layouts), layouts[0], f"the outputs {seen} fit all of them")


def _stated(text: str) -> tuple[str, dict[str, Option]]:
    """Return the layout and its options from a string such as `yolo_objectness:encoding=yolox,strides=[8,16,32]`."""
    layout, _, rest = text.partition(":")
    options: dict[str, Option] = {}
    for part in _parts(rest):
        name, equals, value = part.partition("=")
        if not equals:
            msg = f"`head` is {text}: options have the form NAME=VALUE"
            raise ConfigError(msg)
        options[name.strip()] = _value(value.strip())
    return layout, options


def _parts(text: str) -> list[str]:
    """Split a string at the commas that are outside brackets."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def _value(text: str) -> Option:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value


def _sample_outputs(model: Path, outputs: tuple[TensorSpec, ...], spec: Preprocess) -> dict[str, np.ndarray]:
    """Return the outputs for a computer-generated road scene. The model runs in a separate process."""
    folder = model.parent
    image, _ = scenes.render(1, 0.0, SAMPLE_HW if spec.resize != "none" else spec.size_hw)
    save_array(folder / "head.in.npy", spec.preprocessor()(image)[None])
    paths = {output.name: folder / f"head.out{place}.npy" for place, output in enumerate(outputs)}
    job = {
        "inputs": {"image": str(folder / "head.in.npy")},
        "outputs": {name: str(path) for name, path in paths.items()},
    }
    (folder / "head.json").write_text(json.dumps([job]))
    names = tuple(output.name for output in outputs)
    save_binding(folder / "head.binding.npz", Binding(output_names=names, pixel_values=spec.pixel_values))
    fork_server.call(
        "orilla.export.imports.predict:predict",
        model=str(model),
        jobs=str(folder / "head.json"),
        binding=str(folder / "head.binding.npz"),
    )
    return {name: np.load(path)[0] for name, path in paths.items()}
