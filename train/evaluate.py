"""How good a model is, measured at the pictures' own size through the path that the robot takes."""

from __future__ import annotations

import keras
import numpy as np

from orilla.runtime.accuracy import overlaps, summarise
from orilla.runtime.datasets import Dataset, LabelledImage
from orilla.runtime.preprocess import Preprocess, Preprocessor
from orilla.runtime.tasks.segment import decode


def evaluate_segmentation(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    label: str,
    preprocess: Preprocess,
    *,
    limit: int | None = None,
) -> dict[str, float]:
    """IoU and pixel accuracy of a model from pictures `[1,H,W,3]` to probabilities `[1,h,w,1]`."""
    preprocessor = Preprocessor(preprocess)
    function = keras.ops.convert_to_numpy

    def predict(sample: LabelledImage) -> np.ndarray:
        image = preprocessor(sample.image)[None].astype(np.float32)
        output = function(model.predict_on_batch(image))
        return decode(output, sample.labels.shape, label).mask

    return summarise(overlaps(dataset, split, label, predict, limit=limit))
