"""Facts that the user states about a model that Orilla did not train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INPUT_RANGES: dict[str, str] = {
    "0..255": "pixel values of 0..255 (also if the model normalises its input itself)",
    "0..1": "pixel values divided by 255",
    "-1..1": "pixel values divided by 127.5, minus 1 (as for MobileNet)",
    "torch": "pixel values divided by 255, minus ImageNet's mean, divided by its standard deviation (as for DenseNet "
    "and PyTorch models)",
    "caffe": "pixel values in BGR order, minus ImageNet's mean (as for VGG and ResNet in Keras)",
}
"""Description of the usual value ranges of training images. Source of the last two ranges: `keras.applications.
imagenet_utils`."""

ANY_RANGE = "LOW..HIGH"

IMAGE_HINTS = (
    *("input_range", "mean", "std", "color"),
    *("resize", "interpolation", "fill", "anchor", "rounding", "crop_fraction"),
)
"""Hints that apply only to image models."""

COLORS: dict[str, str] = {
    "rgb": "red, green and blue",
    "bgr": "blue, green and red, as OpenCV reads images",
    "luma": "one channel, 0.299 R + 0.587 G + 0.114 B (default for one channel)",
    "mean": "one channel, the mean of R, G and B",
}
"""Description of each kind of colour of training images."""


@dataclass(frozen=True, slots=True)
class ModelHints:
    """Facts that the user states about a model that Orilla did not train. Facts that are not stated are None."""

    task: str | None = None
    labels: Path | None = None
    """File with the labels. `export.labels` lists the supported formats."""
    encoding: str | None = None
    """Encoding of the files with labels and words, such as `cp1252`. If None, it is UTF-8 or what the file states."""
    input_range: str | None = None
    """Value range of the training images: one of `INPUT_RANGES`, or any other range such as `-0.5..0.5`."""
    color: str | None = None
    """Colour of the training images, one of `COLORS`. If None, it is `rgb`, or `luma` for one channel."""
    input: tuple[int, ...] | None = None
    """Sizes of the input axes that the model does not fix."""
    vocabulary: Path | None = None
    """File with the words. `export.vocabulary` lists the supported formats."""
    vocabulary_start: int | None = None
    """Token of the first word in the vocabulary file. If None, the file or the model shows it, or it is 3."""
    padding: str | None = None
    """Side on which a short text is padded, `pre` or `post`. See `TextPreprocess.padding`."""
    truncation: str | None = None
    """Side on which a long text is truncated, `pre` or `post`. See `TextPreprocess.truncation`."""
    device: str | None = None
    """Device that must be able to run the model, one of `devices.keras_rules.DEVICES`."""
    mean: tuple[float, ...] | None = None
    """Mean of the training images: one number, or one per channel in the network's order. The network takes
    `(pixel - mean) / std`. The units are those of `input_range` or, without it, grey levels 0–255."""
    std: tuple[float, ...] | None = None
    """Standard deviation in the same units: one number, or one per channel."""
    layout: str | None = None
    """Axis order of the input, `NHWC` or `NCHW`."""
    input_kind: str | None = None
    """Kind of the input, `image` or `tensor`. Needed if the shape fits both."""
    resize: str | None = None
    """Method that resizes an image to the size of the input. See `Preprocess.resize`."""
    interpolation: str | None = None
    """Interpolation method. See `Preprocess.interpolation`."""
    fill: int | None = None
    """Border value of a letterbox, 0–255."""
    anchor: str | None = None
    """Position of the frame in a letterbox, `center` or `top-left`."""
    rounding: str | None = None
    """Rounding of the frame's size in a letterbox, `nearest` or `down`."""
    crop_fraction: float | None = None
    """Side length of the crop, as a share of the image's shorter side."""
    head: str | None = None
    """Layout of a detector's outputs, one of `HEADS`, with options as in `yolo_objectness:encoding=yolox`."""
    multi_label: bool | None = None
    """True if several classes can apply to one sample."""
