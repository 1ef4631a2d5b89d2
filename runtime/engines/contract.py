"""Checks that every engine must pass. A test calls each of `CHECKS` with an `EngineCase`.

The checks use a bundle with variants of a small image model. `cases` lists the variants that an engine can run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_answers, read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.session import Session
from orilla.runtime.preprocessing.image import Preprocess, prepare

PROBE = "probe"
"""Name of the shipped bundle that has small variants in all precisions."""

THREADS_ERROR = 1e-5
"""Allowed difference between the outputs for different numbers of threads."""

NOT_MODELS = (b"", b"not a model", b"\0" * 4096)
"""Contents of files that no engine can load."""


@dataclass(frozen=True, slots=True)
class EngineCase:
    """An engine, and a variant of an image model that it can run."""

    engine: str
    bundle: Bundle
    variant: Variant

    def load(self, threads: int | None = None) -> Session:
        """Load the variant on the engine."""
        return loader.load(self.bundle, self.variant, engine=self.engine, threads=threads)

    def images(self, count: int = 4) -> list[NDArray[np.uint8]]:
        """Return images of noise at different brightness, prepared for the model."""
        spec = self.bundle.manifest.preprocess
        assert isinstance(spec, Preprocess)
        rng = np.random.default_rng(0)
        raw = (rng.integers(0, 256 // (index + 1), (60, 80, 3), np.uint8) for index in range(count))
        return [prepare(image, spec) for image in raw]


def cases(engine: str, bundle: str = PROBE) -> list[EngineCase]:
    """Return one case for each variant of a bundle that the engine can run."""
    opened = Bundle.open(bundle)
    fitting = [variant for variant in opened.manifest.variants if loader.fits(variant, engine)]
    return [EngineCase(engine, opened, variant) for variant in fitting]


def returns_the_declared_outputs(case: EngineCase) -> None:
    """Check that the outputs have the names and shapes in the manifest, and are finite float32 numbers."""
    session = case.load()
    for image in case.images():
        outputs = session.run(image)
        shapes = {name: output.shape for name, output in outputs.items()}
        assert shapes == {spec.name: spec.shape for spec in case.bundle.manifest.outputs}
        assert all(output.dtype == np.float32 for output in outputs.values())
        assert all(np.isfinite(output).all() for output in outputs.values())
    session.close()


def computes_what_was_exported(case: EngineCase) -> None:
    """Check that the outputs for the golden samples are within the variant's tolerance of those at export."""
    session, allowed = case.load(), case.variant.tolerance
    answers = read_answers(case.bundle, case.variant)
    for frame, expected in zip(read_frames(case.bundle), answers, strict=True):
        for name, output in session.run(frame.prepared).items():
            error = np.abs(output - expected[name])
            text = f"{case.variant.name}: the output {name} differs by {error.max():.4g} from its values at export"
            assert error.max() <= allowed.max_error, text
            assert error.mean() <= allowed.mean_error, text
    session.close()


def keeps_no_state(case: EngineCase) -> None:
    """Check that the order of the samples does not change the outputs."""
    session, images = case.load(), case.images()
    forward = [_run(session, image) for image in images]
    backward = [_run(session, image) for image in reversed(images)]
    assert any(not np.array_equal(forward[0], output) for output in forward[1:]), "all images have the same outputs"
    for output, repeated in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(output, repeated), "an output depends on the previous sample"
    session.close()


def returns_copies(case: EngineCase) -> None:
    """Check that an output does not change when the next sample is processed."""
    session, images = case.load(), case.images()
    output = session.run(images[0])
    before = {name: array.copy() for name, array in output.items()}
    session.run(images[1])
    for name, array in output.items():
        assert np.array_equal(array, before[name]), f"the output {name} is a view of the engine's memory"
    session.close()


def leaves_the_input_unchanged(case: EngineCase) -> None:
    """Check that the session does not write into the sample."""
    session, image = case.load(), case.images()[0]
    before = image.copy()
    session.run(image)
    assert np.array_equal(image, before), "the session changed its input"
    session.close()


def computes_the_same_with_two_threads(case: EngineCase) -> None:
    """Check that the number of threads does not change the outputs."""
    outputs = []
    for threads in (1, 2):
        session = case.load(threads)
        outputs.append(_run(session, case.images()[0]))
        session.close()
    assert np.abs(outputs[0] - outputs[1]).max() <= THREADS_ERROR


def rejects_an_image_of_another_size(case: EngineCase) -> None:
    """Check that an image with a wrong size raises `BundleError`. The session then processes the next image."""
    session = case.load()
    message = _message(BundleError, lambda: session.run(np.zeros((5, 5, 3), np.uint8)))
    assert "prepared input has shape [5, 5, 3]" in message, message
    session.run(case.images()[0])
    session.close()


def names_its_library(case: EngineCase) -> None:
    """Check that `Session.engine` is the name of the library and its version."""
    session = case.load()
    name, version, *_ = [*session.engine.split(), ""]
    assert name
    assert version[:1].isdigit(), f"{session.engine!r} must be a name and a version"
    session.close()


def rejects_what_is_not_a_model(case: EngineCase) -> None:
    """Check that an engine rejects data without a model: it raises `EngineError` with a one-line message."""
    for data in NOT_MODELS:
        message = _message(EngineError, partial(loader.load_bytes, case.engine, data))
        assert "cannot load this variant" in message, message
        assert "\n" not in message, message


def _message(expected: type[Exception], call: Callable[[], object]) -> str:
    """Return the message of the error that a call raises. Raise `AssertionError` if it raises no error."""
    try:
        call()
    except expected as error:
        return str(error)
    msg = f"no {expected.__name__} was raised"
    raise AssertionError(msg)


def _run(session: Session, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return all outputs as one vector."""
    return np.concatenate([output.ravel() for output in session.run(image).values()])


CHECKS: tuple[Callable[[EngineCase], None], ...] = (
    returns_the_declared_outputs,
    computes_what_was_exported,
    keeps_no_state,
    returns_copies,
    leaves_the_input_unchanged,
    computes_the_same_with_two_threads,
    rejects_an_image_of_another_size,
    names_its_library,
    rejects_what_is_not_a_model,
)
"""The checks that every engine must pass."""
