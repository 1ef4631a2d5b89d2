"""Assign the weights in the file to the layers of the model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import h5py
from numpy.typing import NDArray

from orilla.export.keras2.hdf5 import array, names, subgroup
from orilla.export.keras2.part import Arrays, Part

Named = list[tuple[str, NDArray[Any]]]
"""Arrays with their names in the file."""


def assign_hdf5(parts: list[Part], group: h5py.Group) -> None:
    """Assign the weights from an HDF5 file, which contains a group for each layer with a list of its arrays.

    Raises:
        ValueError: Weights are missing, or their shapes do not match the layers.
    """
    groups = {name: subgroup(group, name) for name in names(group, "layer_names")}
    missing: list[Part] = []
    for part in parts:
        _assign_group(part, groups, missing)
    if missing:
        used = {part.config.name for part in _all(parts)} - {part.config.name for part in missing}
        left = [value for name, value in groups.items() if name not in used and value is not None and _arrays(value)]
        if len(left) != len(missing):
            listed = ", ".join(part.config.name for part in missing)
            msg = f"the weights of {listed} are missing, so the file is damaged"
            raise ValueError(msg)
        # Keras itself assigns weights by the order of the layers, so the names may differ.
        for part, value in zip(missing, left, strict=True):
            _distribute(part, _arrays(value))


def _all(parts: list[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _all(part.parts)


def _assign_group(part: Part, groups: dict[str, h5py.Group | None], missing: list[Part]) -> None:
    group = groups.get(part.config.name)
    arrays = _arrays(group) if group is not None else []
    if arrays:
        _distribute(part, arrays)
    elif part.parts and any(leaf.config.name in groups for leaf in _all(part.parts)):
        # If a Sequential contains models, Keras 1 lists the layers of these models instead of the models.
        for inner in part.parts:
            _assign_group(inner, groups, missing)
    elif any(sum(leaf.counts()) for leaf in _all([part])):
        missing.append(part)


def _arrays(group: h5py.Group) -> Named:
    return [(name, array(group, name)) for name in names(group, "weight_names")]


def _distribute(part: Part, arrays: Named) -> None:
    """Divide the arrays of a layer among the layers inside it."""
    leaves = [leaf for leaf in _all([part]) if not leaf.parts and leaf.counts() != (0, 0)]
    if len(leaves) > 1 or part.parts:
        by_name = _by_name(leaves, arrays)
        if by_name is not None:
            for leaf, own in zip(leaves, by_name, strict=True):
                set_arrays(leaf, own)
            return
    trainable, frozen = _slots(part)
    if len(arrays) != len(trainable) + len(frozen):
        msg = (
            f"the layer {part.config.name} has {len(arrays)} weights in the file, but needs "
            f"{len(trainable) + len(frozen)}"
        )
        raise ValueError(msg)
    collected: dict[int, Arrays] = {id(leaf): [] for leaf in leaves}
    for leaf, (_, value) in zip(trainable + frozen, arrays, strict=True):
        collected[id(leaf)].append(value)
    for leaf in leaves:
        set_arrays(leaf, collected[id(leaf)])


def _by_name(leaves: list[Part], arrays: Named) -> list[Arrays] | None:
    """Assign arrays to layers by the layer name in each array's name. Return None if the names are not unique."""
    result = []
    for leaf in leaves:
        own = [value for name, value in arrays if leaf.config.name in name.split("/")[:-1]]
        if len(own) != sum(leaf.counts()):
            return None
        result.append(own)
    return result if sum(len(own) for own in result) == len(arrays) else None


def _slots(part: Part) -> tuple[list[Part], list[Part]]:
    """Return the layers to which the trainable arrays and the other arrays belong, one layer per array, in file order.

    A model lists the trainable arrays of all layers first. The arrays of a frozen layer count as not trainable.
    """
    if part.parts:
        pairs = [_slots(inner) for inner in part.parts]
        return [leaf for first, _ in pairs for leaf in first], [leaf for _, second in pairs for leaf in second]
    trainable, others = part.counts()
    if part.config.trainable:
        return [part] * trainable, [part] * others
    return [], [part] * (trainable + others)


def set_arrays(part: Part, arrays: Arrays) -> None:
    """Set the weights of one layer. Raise `ValueError` if the number of arrays or a shape is wrong."""
    variables = part.weights()
    arrays = part.arrange(list(arrays))
    shapes = [tuple(value.shape) for value in arrays]
    needed = [tuple(variable.shape) for variable in variables]
    if shapes != needed:
        msg = (
            f"the weights of the layer {part.config.name} have the shapes {_listed(shapes)} in the file, but its "
            f"configuration requires {_listed(needed)}"
        )
        raise ValueError(msg)
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)
    if part.finish is not None:
        part.finish()


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes[:4]) or "none"


CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "_self_tracked_trackables")
"""Possible names of the group with a model's layers in a `.keras` file. Keras 2.12 to 2.15 use different names."""


def assign_zipped(parts: list[Part], group: h5py.Group) -> None:
    """Assign the weights from a `.keras` file of Keras 2.12 to 2.15, which names the groups after the layers' classes.

    Raises:
        ValueError: Weights are missing, or their shapes do not match the layers.
    """
    container = next((found for name in CONTAINERS if (found := subgroup(group, name)) is not None), None)
    if container is None:
        msg = "the weights have an unknown layout, so the file is damaged or incomplete"
        raise ValueError(msg)
    # Each layer has one group. The group's number is not the layer's number, because Keras 2.12 to 2.14 count layers
    # with weights twice. Only the order agrees: sorted by number, the groups of a class belong to the layers of this
    # class in turn.
    waiting: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in container:
        match = re.fullmatch(r"(.+?)(?:_(\d+))?", name)
        if match:
            waiting[match[1]].append((int(match[2] or 0), name))
    ordered = {kind: iter(sorted(groups)) for kind, groups in waiting.items()}
    for part in parts:
        kind = _snake_case(part.config.class_name.rpartition(">")[2])
        _, name = next(ordered.get(kind, iter(())), (0, ""))
        _assign_own(part, subgroup(container, name) if name else None)


def _assign_own(part: Part, group: h5py.Group | None) -> None:
    if group is None:
        if part.parts or sum(part.counts()):
            msg = f"the weights of the layer {part.config.name} are missing, so the file is damaged"
            raise ValueError(msg)
        return
    if part.parts:
        inner = subgroup(group, part.inner_store)
        assign_zipped(part.parts, group if inner is None else inner)
        return
    arrays: Arrays = []
    for store in part.stores:
        variables = subgroup(group, f"{store}/vars")
        for place in range(len(variables) if variables is not None else 0):
            arrays.append(array(variables, str(place)))
    set_arrays(part, arrays)


def _snake_case(name: str) -> str:
    """Return the name of a class as Keras writes it in file names. Source: `keras.src.utils.generic_utils`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
