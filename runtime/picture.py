"""Picture files: from bytes to pixels, whatever the bytes are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def decode_picture(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    """Decodes a picture file; None where it is none, is damaged or is too large for OpenCV."""
    if not data:
        return None
    try:
        picture: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return picture
