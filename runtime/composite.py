"""Several models on one source: side by side, or one on what another found."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.devices.errors import ConfigError
from orilla.runtime.engines.session import Session
from orilla.runtime.loop.stages import CascadeStages, Cut, ParallelStages, around
from orilla.runtime.model import Model
from orilla.runtime.runner import Runner


class MultiModel(Runner):
    """Several models on one source: one capture and one decoding, and a `tick.result` with each model's answer."""

    kind = "picture"

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)
        self.name = " and ".join(self._models)

    def work(self) -> ParallelStages:
        """What is done with each frame of one loop."""
        return ParallelStages({name: model.work() for name, model in self._models.items()})

    def sessions(self) -> tuple[Session, ...]:
        """Return the session of each model."""
        return tuple(model.session for model in self._models.values())

    def notes(self) -> list[str]:
        """Return the notes of all models."""
        return [note for model in self._models.values() for note in model.notes()]

    def describe(self) -> dict[str, str]:
        """Variant and engine of each model, by name."""
        return {name: next(iter(model.describe().values())) for name, model in self._models.items()}

    def close(self) -> None:
        """Closes the models."""
        for model in self._models.values():
            model.close()


class CascadeModel(Runner):
    """A cascade: one model on the frame, another on the parts that are cut out where the first found something."""

    kind = "picture"

    def __init__(self, first: Model, second: Model, cut: Cut) -> None:
        self._first, self._second, self._cut = first, second, cut
        self.name = f"{first.name} then {second.name}"

    def work(self) -> CascadeStages:
        """What is done with each frame of one loop."""
        return CascadeStages(self._first.work(), self._second.work(), self._cut)

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions of the first and of the second model."""
        return self._first.session, self._second.session

    def notes(self) -> list[str]:
        """Return the notes of both models."""
        return [*self._first.notes(), *self._second.notes()]

    def describe(self) -> dict[str, str]:
        """Variant and engine of both models, by the bundles' names, or as first and second where these are the same."""
        both = [next(iter(model.describe().items())) for model in (self._first, self._second)]
        if both[0][0] != both[1][0]:
            return dict(both)
        return {"first": both[0][1], "second": both[1][1]}

    def close(self) -> None:
        """Closes both models."""
        self._first.close()
        self._second.close()


def together(**models: Model) -> MultiModel:
    """Several models on the same frames; `tick.result["name"]` is what each says.

    Raises:
        ConfigError: none, or one that takes no pictures.
    """
    if not models:
        msg = "together() needs a model: together(road=model, animal=other)"
        raise ConfigError(msg)
    _check_pictures(*models.values())
    return MultiModel(models)


def cascade(first: Model, second: Model, *, cut: Cut = around) -> CascadeModel:
    """`second` on parts of the frame that `first` decides on; `tick.result.first`, and `tick.result.parts` with box
    and answer.

    Args:
        first: on the whole frame.
        second: on each part.
        cut: from what `first` said, and the frame, to boxes: left, top, right, bottom in pixels. Where none is given,
            the box around all that a segmentation found.

    Raises:
        ConfigError: a model that takes no pictures.
    """
    _check_pictures(first, second)
    return CascadeModel(first, second, cut)


def _check_pictures(*models: Model) -> None:
    for model in models:
        if model.kind != "picture":
            msg = f"{model.name} takes no pictures: only models of pictures share a source"
            raise ConfigError(msg)
