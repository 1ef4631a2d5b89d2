"""Fixtures with data for several tests of the export."""

import numpy as np
import pytest
from helpers.foreign import PICTURES, RNG


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    np.savez(folder / "x.npz", x=PICTURES)
    np.savez(folder / "xy.npz", x=PICTURES, y=RNG.integers(0, 3, 40))
    return folder
