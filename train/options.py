"""Options of `orilla train`, and the check of their values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.keras_rules import DEVICES
from orilla.train.fit.backend import Precision
from orilla.train.fit.training import Schedule
from orilla.train.jobs.plan import Head
from orilla.train.models import MODELS, plan


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of a training. None selects the model's default."""

    model: str
    data: str
    extra_data: tuple[str, ...] = ()
    """Data sets whose training samples are added."""
    epochs: int | None = None
    """Epochs of the last stage."""
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: Schedule = "cosine"
    seed: int = 0
    weights: str = "none"
    """Initial weights: `none`, `imagenet` (downloaded by Keras), or a local file."""
    input: tuple[int, ...] | None = None
    """Height and width in pixels, or the length in tokens."""
    width: float | None = None
    """Width factor of the road model's channels."""
    head: Head | None = None
    dropout: float | None = None
    views: int | None = None
    augment: bool = True
    samples: int | None = None
    hold_out: str | None = None
    drop_leaks: bool = False
    skip_corrupt: bool = False
    keep_best: bool = False
    """True keeps the epoch that was best on held-out samples."""
    patience: int | None = None
    precision: Precision = "auto"
    tensorboard: bool = False
    device: str | None = None
    """Device to give advice for before the first epoch."""
    resume: bool = False

    def check(self) -> None:
        """Raise `ConfigError` for the first invalid value."""
        if self.model not in MODELS:
            raise unknown_name(self.model, MODELS, kind="model")
        for name in ("epochs", "batch", "samples", "patience", "views"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"--{name} {value}: must be 1 or more"
                raise ConfigError(msg)
        if self.seed < 0:
            msg = f"seed {self.seed}: must be 0 or more"
            raise ConfigError(msg)
        for name in ("weights", "width", "head", "dropout", "views"):
            if getattr(self, name) not in (None, "none") and name not in MODELS[self.model].takes:
                msg = f"--{name} has no effect on {self.model}: leave it out"
                raise ConfigError(msg)
        if not self.augment and not _augments(self.model):
            msg = f"--no-augment has no effect on {self.model}: leave it out"
            raise ConfigError(msg)
        if not self.augment and self.views is not None:
            msg = f"--views {self.views} has no effect with --no-augment: leave one out"
            raise ConfigError(msg)
        if self.width is not None and not 0 < self.width <= 2:
            msg = f"width {self.width}: must be above 0, at most 2"
            raise ConfigError(msg)
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            msg = f"learning rate {self.learning_rate}: must be above 0, at most 1"
            raise ConfigError(msg)
        if self.weight_decay is not None and not 0 <= self.weight_decay <= 1:
            msg = f"weight decay {self.weight_decay}: must be 0 to 1"
            raise ConfigError(msg)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            msg = f"dropout {self.dropout}: must be 0 or more, below 1"
            raise ConfigError(msg)
        if self.weights not in ("none", "imagenet") and not Path(self.weights).is_file():
            msg = f"no such weights file: {self.weights}"
            raise ConfigError(msg)
        if self.device is not None and self.device not in DEVICES:
            raise unknown_name(self.device, DEVICES, kind="device")
        if (self.keep_best or self.patience is not None) and self.hold_out == "none":
            msg = "--keep-best and --patience choose an epoch, which needs held-out samples: drop --hold-out none"
            raise ConfigError(msg)


def _augments(model: str) -> bool:
    return model == "road" or plan(model).augment is not None
