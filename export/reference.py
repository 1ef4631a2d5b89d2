"""What the original model answers: the truth that every variant is held against."""

from __future__ import annotations

import numpy as np


def predict(model: str, pictures: str, out: str) -> None:
    """Writes `out` (`.npy`, `[N,...]` float32) from prepared samples (`.npy`, `[N,H,W,3]` uint8 or `[N,T]` int32)."""
    from orilla.export.frozen import load

    network = load(model)
    prepared = np.load(pictures, mmap_mode="r")
    dtype = np.int32 if prepared.dtype == np.int32 else np.float32
    outputs = [
        np.asarray(network.predict_on_batch(prepared[start : start + 32].astype(dtype)))
        for start in range(0, len(prepared), 32)
    ]
    result = np.concatenate(outputs).astype(np.float32)
    if not np.isfinite(result).all():
        raise ValueError("the original model's output holds NaN or infinity: train it again")
    np.save(out, result)
