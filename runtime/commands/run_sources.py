"""The sources and policies of `orilla run`: one source, or several with names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orilla.devices.errors import ConfigError
from orilla.runtime.loop.policy import Policy
from orilla.runtime.sinks.registry import SinkOpener, sink_opener

NAMED = re.compile(r"([A-Za-z][\w-]*)=(.+)", re.DOTALL)
"""Form of a source or a policy with a name, such as `front=0`."""

PLACE = "{source}"
"""Placeholder in the target of a sink for the name of a source. A sink with the placeholder is opened once for each
source."""


def parse_sources(values: Sequence[str]) -> dict[str, str]:
    """Return the sources by name. A single source may have no name. Its key is then an empty string.

    Raises:
        ConfigError: One of several sources has no name, or a name is given twice.
    """
    if len(values) == 1 and (Path(values[0]).exists() or NAMED.fullmatch(values[0]) is None):
        return {"": values[0]}
    sources: dict[str, str] = {}
    for value in values:
        found = NAMED.fullmatch(value)
        if found is None:
            msg = f"--source {value}: several sources need names, as in --source front=0 --source rear=1"
            raise ConfigError(msg)
        if found[1] in sources:
            msg = f"--source {value}: the name {found[1]} is given twice"
            raise ConfigError(msg)
        sources[found[1]] = found[2]
    return sources


def parse_policies(values: Sequence[str], sources: Sequence[str]) -> dict[str, Policy]:
    """Return the policy of each source that has one.

    Args:
        values: Policies for all sources, or for one source, as in `front=latest`. A later policy for a source replaces
            an earlier one.
        sources: Names of the sources.

    Raises:
        ConfigError: A policy or the name of a source is unknown.
    """
    policies: dict[str, Policy] = {}
    for value in values:
        found = NAMED.fullmatch(value)
        if found is None:
            policies |= dict.fromkeys(sources, Policy.parse(value))
        elif found[1] not in sources:
            known = ", ".join(filter(None, sources)) or "none, because --source has no name"
            msg = f"--policy {value}: unknown source {found[1]}; the names are: {known}"
            raise ConfigError(msg)
        else:
            policies[found[1]] = Policy.parse(found[2])
    return policies


def parse_sinks(specs: Sequence[str], sources: Sequence[str]) -> list[SinkOpener]:
    """Return the sinks. A sink with `{source}` in its target is returned once for each source.

    Raises:
        ConfigError: A sink is unknown or given twice, or a sink that needs one file per source has no `{source}`.
    """
    openers = []
    for spec in specs:
        several = sources != [""]
        if several and PLACE in spec:
            openers += [replace(sink_opener(spec.replace(PLACE, name)), source=name) for name in sources]
            continue
        opener = sink_opener(spec)
        if several and opener.per_source:
            msg = f"--sink {spec}: each source needs its own file; add {PLACE} to the name, as in out-{PLACE}.mp4"
            raise ConfigError(msg)
        openers.append(opener)
    if len({opener.spec for opener in openers}) < len(openers):
        msg = "the same --sink is given twice"
        raise ConfigError(msg)
    return openers
