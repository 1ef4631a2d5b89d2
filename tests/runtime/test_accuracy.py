import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orilla.devices.errors import DataError
from orilla.runtime.accuracy import Overlap, overlap, summarise

masks = arrays.arrays(np.bool_, (5, 7))


@given(masks, masks, masks)
def test_counts_are_what_a_loop_counts(predicted, truth, counted):
    found = overlap(predicted, truth, counted)
    pairs = [(p, t) for p, t, c in zip(predicted.flat, truth.flat, counted.flat, strict=True) if c]
    assert found.true_positive == pairs.count((True, True))
    assert found.false_positive == pairs.count((True, False))
    assert found.false_negative == pairs.count((False, True))
    assert found.true_negative == pairs.count((False, False))


@given(masks)
def test_a_mask_agrees_with_itself(mask):
    found = overlap(mask, mask, np.ones_like(mask))
    assert found.pixel_accuracy == 1.0
    assert found.iou == 1.0 or (math.isnan(found.iou) and not mask.any())


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=1, max_size=6))
def test_the_iou_of_all_pictures_is_over_all_pixels(counts):
    summed = Overlap(*(sum(column) for column in zip(*counts, strict=True)))
    pictures = {f"A_{index}": Overlap(*count) for index, count in enumerate(counts)}
    if math.isnan(summed.iou):
        with pytest.raises(DataError, match="nothing to measure"):
            summarise(pictures)
        return
    assert summarise(pictures) == {"iou": summed.iou, "pixel_accuracy": summed.pixel_accuracy}


def test_names_without_a_sequence_are_none():
    assert set(summarise({"IMG1": Overlap(1, 0, 0, 0), "IMG2": Overlap(0, 0, 0, 5)})) == {"iou", "pixel_accuracy"}


def test_a_sequence_without_the_class_has_no_iou():
    assert "iou/B" not in summarise({"A_1": Overlap(1, 0, 0, 0), "B_1": Overlap(0, 0, 0, 5), "C_1": Overlap(1)})


def test_sequences_are_told_apart():
    metrics = summarise({"A_1": Overlap(1, 1, 0, 0), "A_2": Overlap(1, 1, 0, 0), "B_1": Overlap(3, 0, 0, 0)})
    assert metrics["iou/A"] == 0.5
    assert metrics["iou/B"] == 1.0
    assert metrics["iou"] == 5 / 7
