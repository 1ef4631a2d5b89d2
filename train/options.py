"""The options of `orilla train`, and checks of their values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.keras_rules import DEVICES
from orilla.runtime.bundle.bundle import shipped
from orilla.train.fit.backend import Precision
from orilla.train.fit.training import Schedule
from orilla.train.jobs.plan import Head
from orilla.train.models import MODELS, load_plan


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The options of a training run. If a value is None, the model's default is used."""

    model: str
    data: str
    extra_data: tuple[str, ...] = ()
    """Data sets whose training samples are added to those of `data`. `=SHARE` after a data set states its share in the
    samples of an epoch. The model `road` also accepts data sets with other classes."""
    hold_out_set: str | None = None
    """Name of the data set whose training samples are excluded. It is only evaluated."""
    epochs: int | None = None
    """Number of epochs of the last phase."""
    batch: int | None = None
    """Number of samples per training step."""
    learning_rate: float | None = None
    """Maximum learning rate of the last phase."""
    weight_decay: float | None = None
    schedule: Schedule = "cosine"
    seed: int = 0
    weights: str = "none"
    """`none`, `imagenet` (downloaded by Keras), or a local file."""
    input: tuple[int, ...] | None = None
    """Height and width in pixels, or the length in tokens."""
    width: float | None = None
    """Factor for the number of channels of segmentation models and detectors."""
    head: Head | None = None
    """Layer that converts the last feature map to a vector: global average pooling or flatten."""
    dropout: float | None = None
    views: int | None = None
    """Number of augmented views of each sample that the frozen layers process."""
    augment: bool = True
    """True to augment the training samples."""
    samples: int | None = None
    """Maximum number of samples of each split."""
    hold_out: str | None = None
    """Training samples to hold out for choosing the epoch: a share, sequence names, or `none`."""
    drop_leaks: bool = False
    """True to drop training samples that are also in another split."""
    skip_corrupt: bool = False
    """True to skip corrupt samples."""
    keep_best: bool = False
    """True to keep the epoch with the best metric on the held-out samples, False to keep the last one."""
    patience: int | None = None
    """Number of evaluations without improvement after which training stops. The best epoch is then kept."""
    precision: Precision = "auto"
    tensorboard: bool = False
    """True to write logs for TensorBoard."""
    device: str | None = None
    """Device whose restrictions are checked before the first epoch."""
    resume: bool = False
    """True to continue an interrupted training run."""

    @property
    def chooses_epoch(self) -> bool:
        """True if the best epoch on the held-out samples is kept."""
        return self.keep_best or self.patience is not None

    def check(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A value cannot be used, or has no effect on the model.
        """
        MODELS.find(self.model)
        self._check_ranges()
        self._check_effects()
        if self.weights not in ("none", "imagenet", *shipped()) and not Path(self.weights).is_file():
            msg = f"no such weights file: {self.weights}"
            raise ConfigError(msg)
        if self.device is not None and self.device not in DEVICES:
            raise unknown_name(self.device, DEVICES, kind="device")
        if self.chooses_epoch and self.hold_out == "none":
            msg = "hold_out=none leaves no samples for choosing the epoch: remove it, or `keep_best` and `patience`"
            raise ConfigError(msg)

    def _check_ranges(self) -> None:
        rate, decay = self.learning_rate, self.weight_decay
        counts = {"epochs": self.epochs, "batch": self.batch, "samples": self.samples}
        counts |= {"patience": self.patience, "views": self.views}
        checks: list[tuple[str, float | None, bool, str]] = [
            *((name, count, count is None or count >= 1, "1 or more") for name, count in counts.items()),
            ("seed", self.seed, self.seed >= 0, "0 or more"),
            ("width", self.width, self.width is None or 0 < self.width <= 2, "above 0, at most 2"),
            ("learning_rate", rate, rate is None or 0 < rate <= 1, "above 0, at most 1"),
            ("weight_decay", decay, decay is None or 0 <= decay <= 1, "0 to 1"),
            ("dropout", self.dropout, self.dropout is None or 0 <= self.dropout < 1, "0 or more, below 1"),
        ]
        for name, value, valid, range_text in checks:
            if not valid:
                msg = f"{name}={value}: must be {range_text}"
                raise ConfigError(msg)

    def _check_effects(self) -> None:
        values: dict[str, object] = {
            "width": self.width,
            "head": self.head,
            "dropout": self.dropout,
            "views": self.views,
        }
        values |= {"weights": None if self.weights == "none" else self.weights}
        for name, value in values.items():
            if value is not None and name not in MODELS[self.model].options:
                msg = f"{name}={value} has no effect on {self.model}: leave it out"
                raise ConfigError(msg)
        if not self.augment and load_plan(self.model).augment is None:
            msg = f"augment=False has no effect on {self.model}: leave it out"
            raise ConfigError(msg)
        if not self.augment and self.views is not None:
            msg = f"views={self.views} has no effect with augment=False: leave out one of the two"
            raise ConfigError(msg)
