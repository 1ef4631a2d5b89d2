"""The messages that announce a device and its values to Home Assistant (MQTT discovery).

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

from orilla.runtime.sinks.mqtt_message import OFFLINE, ONLINE

MAX_LABELS = 20
"""Maximum number of classes for which a sensor is announced."""

EXPIRES_S = 60
"""Number of seconds, in addition to three intervals between documents, after which a published value of a live source
is shown as unavailable."""

Document = Mapping[str, Any]

Entity = tuple[str, dict[str, Any]]
"""Object identifier and settings of a sensor."""


class PlacedAnswer(NamedTuple):
    """The answer of one model, with its position in the JSON document."""

    model: str
    """Name of the model. Empty if there is only one model."""
    path: tuple[str, ...]
    """Keys that lead from the result in the document to the answer."""
    document: Document
    """The answer as JSON."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device in Home Assistant, which shows the values of one loop."""

    topic: str
    """Topic of the JSON documents."""
    status_topic: str
    """Topic that contains `online` or `offline`."""
    labels: Sequence[str] = ()
    """Names of the model's classes. Empty if there are several models."""
    period_s: float | None = None
    """Minimum time between two documents, in seconds. None if there is no regular interval; the values then never
    expire."""

    @property
    def identifier(self) -> str:
        """Return the identifier of the device.

        It is unique for each topic, and contains only letters, digits, `_` and `-`.
        """
        return f"orilla_{_slug(self.topic)}_{zlib.crc32(self.topic.encode()):08x}"


def discovery(tick: Document, device: Device, prefix: str) -> dict[str, dict[str, Any]]:
    """Return the messages that describe the values in the JSON document of a tick. The keys are the topics.

    Args:
        tick: Document of a tick of the loop.
        device: The device.
        prefix: First level of the topics.
    """
    shared = {
        "device": {
            "identifiers": [device.identifier],
            "name": device.topic,
            "manufacturer": "Orilla",
            "sw_version": version("orilla"),
        },
        "origin": {"name": "Orilla", "sw_version": version("orilla")},
    }
    topics = {}
    for identifier, settings in _sensors(tick, device):
        topics[f"{prefix}/sensor/{device.identifier}/{identifier}/config"] = {
            **settings,
            "unique_id": f"{device.identifier}_{identifier}",
            "state_topic": device.topic,
            "availability_topic": device.status_topic,
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
            **({} if device.period_s is None else {"expire_after": round(EXPIRES_S + 3 * device.period_s)}),
            **shared,
        }
    topics[f"{prefix}/binary_sensor/{device.identifier}/status/config"] = {
        "name": "Status",
        "unique_id": f"{device.identifier}_status",
        "state_topic": device.status_topic,
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        **shared,
    }
    return topics


def _sensors(tick: Document, device: Device) -> Iterator[Entity]:
    for answer in _answers(tick["result"]):
        for name, settings in ENTITIES.get(answer.document["task"], _none)(
            answer.document, _path("result", *answer.path), device
        ):
            full = f"{answer.model} {name}" if answer.model else name
            yield _slug(full), {"name": full[0].upper() + full[1:], **settings}
    if tick["result"]["task"] == "cascade":
        yield "parts", {"name": "Parts", **_measured(f"{_path('result', 'parts')} | length")}
    diagnostic = {"entity_category": "diagnostic"}
    age = _measured(f"{_path('age_ms')} | round(1)", "ms") | {"device_class": "duration"}
    yield "answer_age", {"name": "Answer age", **age, **diagnostic}
    yield "dropped_frames", {"name": "Dropped frames", **_counted(_path("dropped")), **diagnostic}


def _answers(result: Document, model: str = "", path: tuple[str, ...] = ()) -> Iterator[PlacedAnswer]:
    """Yield the answer of each model in the document of a result.

    For a cascade, yield only the first model's answer.
    """
    if result["task"] == "several":
        for name, answer in result["answers"].items():
            yield from _answers(answer, name, (*path, "answers", name))
    elif result["task"] == "cascade":
        yield from _answers(result["first"], model, (*path, "first"))
    else:
        yield PlacedAnswer(model, path, result)


def _line_counts(answer: Document) -> dict[tuple[str, str], int]:
    """Return the counts of lines and zones. The keys are the name of the line or zone and that of the count."""
    return {
        (name, kind): number
        for name, counts in answer.get("counts", {}).items()
        for kind, number in counts.items()
        if kind != "classes"
    }


def _classify(answer: Document, path: str, device: Device) -> Iterator[Entity]:
    del device
    yield "label", {"value_template": f"{{{{ {path}['top']['label'] }}}}"}
    yield "score", _measured(f"({path}['top']['score'] * 100) | round(1)", "%")
    if "chosen" in answer:
        yield "chosen", {"value_template": f"{{{{ {path}['chosen'] | join(', ') }}}}"}


def _segment(answer: Document, path: str, device: Device) -> Iterator[Entity]:
    if "fraction" in answer:
        yield f"{answer['label']} area", _measured(f"({path}['fraction'] * 100) | round(1)", "%")
        return
    for label in device.labels[:MAX_LABELS] or [one["label"] for one in answer["classes"]]:
        shares = f"{path}['classes'] | selectattr('label', 'eq', {_quoted(label)}) | map(attribute='fraction') | list"
        yield f"{label} area", _measured(f"(({shares}) | sum * 100) | round(1)", "%")


def _detect(answer: Document, path: str, device: Device) -> Iterator[Entity]:
    yield "objects", _measured(f"{path}['boxes'] | length")
    if len(device.labels) <= MAX_LABELS:
        for label in device.labels:
            yield label, _measured(f"{path}['boxes'] | selectattr('label', 'eq', {_quoted(label)}) | list | length")
    for name, kind in _line_counts(answer):
        template = f"{path}['counts'][{_quoted(name)}][{_quoted(kind)}]"
        yield f"{name} {kind}", _measured(template) if kind == "inside" else _counted(template)


def _regress(answer: Document, path: str, device: Device) -> Iterator[Entity]:
    del device
    for name in answer["values"]:
        yield name, _measured(f"{path}['values'][{_quoted(name)}]", answer.get("units", {}).get(name))


def _none(answer: Document, path: str, device: Device) -> Iterator[Entity]:
    del answer, path, device
    yield from ()


ENTITIES = {"classify": _classify, "text": _classify, "segment": _segment, "detect": _detect, "regress": _regress}
"""Functions that yield the sensors of an answer. The keys are the tasks."""


def _measured(expression: str, unit: str | None = None) -> dict[str, Any]:
    """Return the settings of a sensor whose value can rise and fall."""
    settings = {"value_template": f"{{{{ {expression} }}}}", "state_class": "measurement"}
    return settings | ({"unit_of_measurement": unit} if unit else {})


def _counted(expression: str) -> dict[str, Any]:
    """Return the settings of a sensor whose value never falls until the program restarts."""
    return {"value_template": f"{{{{ {expression} }}}}", "state_class": "total_increasing"}


def _path(*keys: str) -> str:
    """Return a template expression for a value of the document.

    It uses brackets, because dots do not work for every key.
    """
    return "value_json" + "".join(f"[{_quoted(key)}]" for key in keys)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _slug(text: str) -> str:
    """Replace all characters of a string except letters, digits, `_` and `-`.

    A checksum is appended if characters other than spaces and slashes were replaced, so that different strings stay
    different.
    """
    spaced = re.sub(r"[ /]", "_", text)
    clean = re.sub(r"[^a-zA-Z0-9_-]", "_", spaced)
    return clean if clean == spaced else f"{clean}_{zlib.crc32(text.encode()):08x}"
