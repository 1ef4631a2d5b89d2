import json
import re

import pytest
from helpers import ticks

from orilla.runtime.sinks.home_assistant import MAX_LABELS, Device, discovery

jinja2 = pytest.importorskip("jinja2")


def entities(result, labels=(), **settings):
    """Return the document of a tick, and the settings of each sensor by its name."""
    tick = ticks.tick(7, result, superseded=3).to_dict()
    topics = discovery(tick, Device("rover/front", "rover/front/status", labels, **settings), "homeassistant")
    payloads = json.loads(json.dumps(topics))
    assert len({payload["unique_id"] for payload in payloads.values()}) == len(payloads)
    for topic, payload in payloads.items():
        # Source: https://www.home-assistant.io/integrations/mqtt/#discovery-topic
        assert re.fullmatch(r"homeassistant/(binary_)?sensor/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
        assert payload["device"]["identifiers"]
        assert payload["origin"]["name"] == "Orilla"
    return tick, {payload["name"]: payload for payload in payloads.values()}


def values(result, labels=()):
    """Return the values that Home Assistant shows for a tick: one per sensor, with its unit."""
    tick, sensors = entities(result, labels)
    shown = {}
    for name, sensor in sensors.items():
        if "value_template" in sensor:
            assert sensor["state_topic"] == "rover/front"
            assert sensor["availability_topic"] == "rover/front/status"
            value = jinja2.Template(sensor["value_template"]).render(value_json=json.loads(json.dumps(tick)))
            shown[name] = f"{value} {sensor.get('unit_of_measurement', '')}".strip()
    return shown


DIAGNOSTICS = {"Answer age": "20.0 ms", "Dropped frames": "3"}


@pytest.mark.parametrize(
    ("result", "labels", "expected"),
    [
        (ticks.classified(), ("cat", "dog"), {"Label": "cat", "Score": "75.0 %"}),
        (ticks.segmented(0.5), ("road",), {"Road area": "50.0 %"}),
        (ticks.detected("person", "dog", "person"), (), {"Objects": "3"}),
        (ticks.detected("dog", "dog"), ("person", "dog"), {"Objects": "2", "Person": "0", "Dog": "2"}),
        (ticks.detected("a'b\"c\\"), ("a'b\"c\\", "猫", "犬"), {"Objects": "1", "A'b\"c\\": "1", "猫": "0", "犬": "0"}),
        (ticks.detected(), [f"class {number}" for number in range(MAX_LABELS + 1)], {"Objects": "0"}),
        (
            ticks.counted("person"),
            (),
            {"Objects": "1", "Gate in": "3", "Gate out": "1", "My yard inside": "2", "My yard entered": "5"},
        ),
        (ticks.regressed(0.25), (), {"Steering angle": "0.25 rad", "Values": "2.0"}),
        (ticks.several(), (), {"Road road area": "50.0 %", "Pets label": "cat", "Pets score": "75.0 %"}),
        (ticks.cascaded(), (), {"Objects": "1", "Parts": "1"}),
        (None, (), {}),
    ],
)
def test_templates_give_the_values_of_each_task(result, labels, expected):
    assert values(result, labels) == expected | DIAGNOSTICS


def test_the_status_is_a_sensor_of_its_own():
    _, sensors = entities(ticks.classified())
    status = sensors["Status"]
    assert (status["state_topic"], status["device_class"]) == ("rover/front/status", "connectivity")
    assert (status["payload_on"], status["payload_off"]) == ("online", "offline")
    assert "availability_topic" not in status


def test_counts_are_totals_and_others_are_measurements():
    _, sensors = entities(ticks.counted("person"))
    classes = {name: sensor["state_class"] for name, sensor in sensors.items() if "state_class" in sensor}
    assert classes["Gate in"] == classes["My yard entered"] == classes["Dropped frames"] == "total_increasing"
    assert classes["My yard inside"] == classes["Objects"] == "measurement"


@pytest.mark.parametrize(("period_s", "expires"), [(None, None), (0.0, 60), (10.0, 90)])
def test_values_of_a_live_source_expire(period_s, expires):
    _, sensors = entities(ticks.classified(), period_s=period_s)
    assert sensors["Label"].get("expire_after") == expires


def test_every_topic_is_another_device():
    topics = ("rover/front", "rover_front", "rover front", "röver/front", "r?ver/front")
    assert len({Device(topic, "").identifier for topic in topics}) == len(topics)
