"""The Keras backend, its devices, and the numeric precision."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import keras

Precision = Literal["auto", "float32", "float16", "bfloat16"]


def configure(precision: Precision, seed: int) -> str:
    """Seed the random generators, set the precision, and on JAX distribute batches over several devices.

    Keras supports the distribution (`keras.distribution.DataParallel`) only on JAX.

    Args:
        precision: The numeric precision. `auto` is mixed float16 on a GPU and float32 elsewhere.
        seed: The seed of Python, NumPy and the backend.

    Returns:
        The precision that was set.
    """
    keras.utils.set_random_seed(seed)
    if precision == "auto":
        precision = "float16" if gpus() else "float32"
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    if keras.backend.backend() == "jax":
        devices = keras.distribution.list_devices()
        distribution = keras.distribution.DataParallel(devices=devices) if len(devices) > 1 else None
        keras.distribution.set_distribution(distribution)
    return precision


def gpus() -> list[Any]:
    """Return the GPUs that the backend can use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return list(tf.config.list_physical_devices("GPU"))
    if backend == "torch":
        import torch

        return list(range(torch.cuda.device_count()))
    return [device for device in keras.distribution.list_devices() if device.startswith(("gpu", "cuda"))]


def versions() -> dict[str, str]:
    """Return the versions of Keras and of its backend."""
    backend = keras.backend.backend()
    try:
        backend_version = version(backend)
    except PackageNotFoundError:  # Builds for other devices have different package names.
        backend_version = "unknown"
    return {"keras": keras.__version__, backend: backend_version}
