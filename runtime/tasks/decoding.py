"""Settings that decoding needs in addition to the task. The manifest stores them for each model."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Decoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings with which a task decodes the outputs of one model."""

    activation: Literal["softmax", "sigmoid"] | None = None
    """Function that converts the outputs into probabilities. None if the network itself outputs probabilities."""
    multi_label: bool = False
    """True if several classes can apply to one sample. The scores are then independent probabilities."""
    threshold: float = 0.5
    """Minimum probability at which a class of a multi-label model applies, or at which a pixel belongs to the class of
    a single-class segmentation."""
    units: tuple[str, ...] = ()
    """Unit of each value of a regression, such as `deg`, or an empty string for a value without a unit. The tuple is
    empty if no value has a unit."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Minimum and maximum of each value of a regression, in its unit. The tuple is empty if they are unknown."""
    normalised: bool = False
    """True if the network outputs -1 for the minimum of a range and 1 for its maximum, with a linear scale in between.
    False if it outputs the values in their units."""

    def probabilities(self, outputs: Floats, axis: int = -1) -> Floats:
        """Apply the activation. The softmax is computed along `axis`."""
        if self.activation is None:
            return outputs
        if self.activation == "sigmoid":
            # The hyperbolic tangent does not overflow: sigmoid(x) = (1 + tanh(x / 2)) / 2.
            sigmoid: Floats = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * outputs))
            return sigmoid
        powers = np.exp(outputs - outputs.max(axis=axis, keepdims=True))
        softmax: Floats = powers / powers.sum(axis=axis, keepdims=True)
        return softmax

    def problem(self) -> str | None:
        """Return an error message if the settings are invalid, or None."""
        if not 0 < self.threshold < 1:
            return f"the threshold {self.threshold} is not between 0 and 1"
        if self.multi_label and self.activation == "softmax":
            return "a multi-label model cannot have the activation softmax: use sigmoid"
        if self.normalised and not self.ranges:
            return "the outputs are normalised, but their ranges are missing"
        for low, high in self.ranges:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                return f"{low:g} to {high:g} is not a range: the first number must be lower than the second"
        return None


PLAIN = Decoding()
"""Settings of a model that outputs probabilities."""
