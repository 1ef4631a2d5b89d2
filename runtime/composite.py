"""Run several models on one source, side by side or as a cascade."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.engines.session import Session
from orilla.runtime.loop.stages import CascadeStages, CropFunction, ParallelStages, bounding_box
from orilla.runtime.model import Model
from orilla.runtime.runner import Runner

if TYPE_CHECKING:
    from orilla.runtime.tracking.track import Track


class MultiModel(Runner):
    """Several models that process the same frames. `tick.result` contains the result of each model."""

    kind = "image"

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)
        self.name = " and ".join(self._models)

    def stages(self, *, track: Track | None = None) -> ParallelStages:
        """Return the stages that one loop runs for each frame.

        Args:
            track: Settings of the tracker. Each detector gets its own tracker. If None, objects are not tracked.

        Raises:
            ConfigError: `track` is set, but no model is a detector.
        """
        if track is not None and not any(model.finds_boxes for model in self._models.values()):
            msg = f"`track` needs a detector: none of {self.name} finds boxes"
            raise ConfigError(msg)
        return ParallelStages(
            {name: model.stages(track=track if model.finds_boxes else None) for name, model in self._models.items()}
        )

    def sessions(self) -> tuple[Session, ...]:
        """Return the session of each model."""
        return tuple(model.session for model in self._models.values())

    def notes(self) -> list[str]:
        """Return the notes of all models."""
        return [note for model in self._models.values() for note in model.notes()]

    def describe(self) -> dict[str, str]:
        """Return the variant and engine of each model. The keys are the names."""
        return {name: next(iter(model.describe().values())) for name, model in self._models.items()}

    def close(self) -> None:
        """Close the models, even if one of them cannot be closed."""
        with ExitStack() as models:
            for model in self._models.values():
                models.callback(model.close)


class CascadeModel(Runner):
    """Two models in a cascade.

    The first model processes the frame. Its result selects crops of the frame, which the second model processes.
    """

    kind = "image"

    def __init__(self, first: Model, second: Model, crop: CropFunction) -> None:
        self._first, self._second, self._crop = first, second, crop
        self.name = f"{first.name} then {second.name}"

    def stages(self, *, track: Track | None = None) -> CascadeStages:
        """Return the stages that one loop runs for each frame.

        Args:
            track: Settings of the tracker for the objects of the first model. The function that selects crops receives
                the tracked objects. If None, objects are not tracked.

        Raises:
            ConfigError: `track` is set, but the first model is not a detector.
        """
        return CascadeStages(self._first.stages(track=track), self._second.stages(), self._crop)

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions of the first and of the second model."""
        return self._first.session, self._second.session

    def notes(self) -> list[str]:
        """Return the notes of both models."""
        return [*self._first.notes(), *self._second.notes()]

    def describe(self) -> dict[str, str]:
        """Return the variant and engine of both models, by the names of their bundles.

        If the names are equal, they are replaced with `first` and `second`.
        """
        both = [next(iter(model.describe().items())) for model in (self._first, self._second)]
        if both[0][0] != both[1][0]:
            return dict(both)
        return {"first": both[0][1], "second": both[1][1]}

    def close(self) -> None:
        """Close both models, even if one of them cannot be closed."""
        with ExitStack() as models:
            models.callback(self._second.close)
            models.callback(self._first.close)


def together(**models: Model) -> MultiModel:
    """Run several models on the same frames. `tick.result["name"]` is the result of the model with this name.

    Raises:
        ConfigError: There is no model, or a model does not take images.
    """
    if not models:
        msg = "together() needs at least one model, as in together(road=road_model, animal=animal_model)"
        raise ConfigError(msg)
    _check_image_models(*models.values())
    return MultiModel(models)


def cascade(first: Model, second: Model, *, crop: CropFunction = bounding_box) -> CascadeModel:
    """Run `second` on crops of the frame that the result of `first` selects.

    `tick.result.first` is the result for the frame. `tick.result.parts` contains the box and the result for each crop.

    Args:
        first: Model for the whole frame.
        second: Model for each crop.
        crop: Function that receives the result of `first` and the frame, and returns boxes: left, top, right, bottom
            in pixels. The default returns the boxes of a detector, or the bounding box of a segmentation.

    Raises:
        ConfigError: A model does not take images.
    """
    _check_image_models(first, second)
    return CascadeModel(first, second, crop)


def _check_image_models(*models: Model) -> None:
    for model in models:
        if not model.takes_images:
            msg = f"{model.name} does not take images: only image models can share a source"
            raise ConfigError(msg)
