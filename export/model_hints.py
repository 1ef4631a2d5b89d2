"""Facts that the user states about a model that Orilla did not train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelHints:
    """Facts that the user states about a model that Orilla did not train. Facts that are not stated are None."""

    task: str | None = None
    labels: Path | None = None
    """File with the labels. See `export.labels` for the known forms."""
    encoding: str | None = None
    """Encoding of the files with labels and words, such as `cp1252`. If None, it is UTF-8 or what the file states."""
    input_range: str | None = None
    """Value range of the training images, one of `INPUT_RANGES`."""
    color: str | None = None
    """Colour of the training images, one of `COLORS`. If None, it is `rgb`, or `luma` for one channel."""
    input: tuple[int, ...] | None = None
    """Sizes of the input axes that the model does not fix."""
    vocabulary: Path | None = None
    """File with the words. See `export.vocabulary` for the known forms."""
    vocabulary_start: int | None = None
    """Token of the first word in the vocabulary file. If None, the file or the model shows it, or it is 3."""
    padding: str | None = None
    """Where a short text is filled up, `pre` or `post`. See `TextPreprocess.padding`."""
    truncation: str | None = None
    """Where a long text is cut off, `pre` or `post`. See `TextPreprocess.truncation`."""
    device: str | None = None
    """Device that must be able to run the model, one of `devices.keras_rules.DEVICES`."""
    mean: tuple[float, ...] | None = None
    """Mean in grey levels 0–255: one number, or one per channel. The network takes `(pixel - mean) / std`."""
    std: tuple[float, ...] | None = None
    """Standard deviation in grey levels: one number, or one per channel."""
    layout: str | None = None
    """Order of the axes of the input, `NHWC` or `NCHW`."""
    input_kind: str | None = None
    """Kind of the input, `image` or `tensor`. Needed if the shape fits both."""
    resize: str | None = None
    """How an image is resized to the size of the input. See `Preprocess.resize`."""
    interpolation: str | None = None
    """Interpolation method. See `Preprocess.interpolation`."""
    fill: int | None = None
    """Value of the border of a letterbox, 0–255."""
    anchor: str | None = None
    """Where the frame lies in a letterbox, `center` or `top-left`."""
    rounding: str | None = None
    """How the size of the frame in a letterbox is rounded, `nearest` or `down`."""
    crop_fraction: float | None = None
    """Side of the part that a crop keeps, as a share of the image's shorter side."""
    head: str | None = None
    """Layout of a detector's outputs, one of `HEADS`, with options as in `yolo_objectness:encoding=yolox`."""
    multi_label: bool | None = None
    """True if several classes can apply to one sample."""
