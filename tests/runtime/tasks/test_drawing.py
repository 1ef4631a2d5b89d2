import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.runtime.tasks.drawing import OPACITY, TINT, draw_mask


@pytest.mark.parametrize("color", [TINT, (0, 255, 128)])
def test_a_mask_is_blended_with_its_color(color):
    image, mask = factories.picture(90, 160), np.zeros((90, 160), np.bool_)
    mask[20:70, 30:120] = True
    mask[40:50, 60:80] = False
    blended = cv2.addWeighted(image, 1 - OPACITY, np.full_like(image, color), OPACITY, 0)
    drawn = image.copy()
    draw_mask(drawn, mask, color)
    inside = cv2.erode(mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert np.array_equal(drawn[inside], blended[inside])
    outside = ~cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert np.array_equal(drawn[outside], image[outside])


def test_an_empty_mask_changes_nothing():
    image = factories.picture(90, 160)
    drawn = image.copy()
    draw_mask(drawn, np.zeros((90, 160), np.bool_))
    assert np.array_equal(drawn, image)
