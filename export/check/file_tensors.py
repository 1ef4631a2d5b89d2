"""Describe the inputs and outputs of a variant's file for the manifest."""

from __future__ import annotations

from collections.abc import Sequence

from orilla.export.source_model import SourceModel
from orilla.runtime.bundle.manifest import FileTensor
from orilla.runtime.engines.session import Session, Slot
from orilla.runtime.preprocessing.image import ImagePreprocessor


def file_tensors(session: Session, source: SourceModel) -> tuple[tuple[FileTensor, ...], tuple[FileTensor, ...]]:
    """Return the inputs and the outputs of a loaded variant.

    Args:
        session: Session of the variant.
        source: The original model. The bundle uses the names of its inputs and outputs.
    """
    image = source.preprocessor.shape if isinstance(source.preprocessor, ImagePreprocessor) else None
    inputs = _described(session.inputs, source.preprocessor.input_names, image)
    return inputs, _described(session.outputs, [spec.name for spec in source.outputs], None)


def _described(slots: Sequence[Slot], names: Sequence[str], image: tuple[int, ...] | None) -> tuple[FileTensor, ...]:
    only_name = names[0] if len(slots) == len(names) == 1 else None
    return tuple(
        FileTensor(
            name=only_name or slot.name,
            shape=slot.shape,
            dtype=str(slot.dtype),
            scale=None if slot.quantisation is None else slot.quantisation.scale,
            zero_point=None if slot.quantisation is None else slot.quantisation.zero_point,
            layout=None if image is None else "NCHW" if slot.shape[1:] == (image[2], *image[:2]) else "NHWC",
            file_name=None if only_name in (None, slot.name) else slot.name,
        )
        for slot in slots
    )
