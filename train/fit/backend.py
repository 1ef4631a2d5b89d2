"""Set up the Keras backend: devices and precision."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import keras

Precision = Literal["auto", "float32", "float16", "bfloat16"]


def prepare(precision: Precision, seed: int) -> str:
    """Set the random seed, the distribution over devices, and the precision. Return the precision.

    `auto` is mixed float16 on a GPU and float32 elsewhere. On several devices, JAX uses data parallelism through
    `keras.distribution`.
    """
    keras.utils.set_random_seed(seed)
    if precision == "auto":
        precision = "float16" if gpus() else "float32"
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    if keras.backend.backend() == "jax":
        devices = keras.distribution.list_devices()
        parallel = keras.distribution.DataParallel(devices=devices) if len(devices) > 1 else None
        keras.distribution.set_distribution(parallel)
    return precision


def gpus() -> list[Any]:
    """Return the GPUs of the backend."""
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
        found = version(backend)
    except PackageNotFoundError:  # builds for other devices have other names
        found = "unknown"
    return {"keras": keras.__version__, backend: found}
