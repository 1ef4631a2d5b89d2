from typing import Literal

import msgspec
import pytest

from orilla.devices.errors import ConfigError
from orilla.runtime.sinks.options import ByteCount, Duration, convert_options, parse_spec
from orilla.runtime.sinks.registry import SINKS, sink_opener


class Options(msgspec.Struct, frozen=True, kw_only=True):
    append: bool = False
    count: int = 1
    share: float = 0.5
    name: str | None = None
    mode: Literal["fast", "safe"] = "fast"
    size: ByteCount | None = None
    every: Duration | None = None


def options(text):
    return convert_options(parse_spec(f"fake:x?{text}"), Options)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("jsonl", ("jsonl", "", {})),
        ("jsonl?append", ("jsonl", "", {"append": ""})),
        ("jsonl:a.jsonl", ("jsonl", "a.jsonl", {})),
        ("video:C:/a b.mp4?crf=20&size=5MB", ("video", "C:/a b.mp4", {"crf": "20", "size": "5MB"})),
        ("mqtt:host:1883/a/b?qos=1", ("mqtt", "host:1883/a/b", {"qos": "1"})),
        ("jsonl:what?.jsonl?append=yes", ("jsonl", "what?.jsonl", {"append": "yes"})),
        ("exec:cat -?x=a=b", ("exec", "cat -", {"x": "a=b"})),
    ],
)
def test_a_specification_has_three_parts(spec, parts):
    assert parse_spec(spec) == parts


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("append", "append", True),
        ("append=yes", "append", True),
        ("append=No", "append", False),
        ("count=3", "count", 3),
        ("share=0.25", "share", 0.25),
        ("name=a=b", "name", "a=b"),
        ("mode=safe", "mode", "safe"),
        ("size=20GB", "size", 20 * 10**9),
        ("size=1.5 MiB", "size", 3 * 2**19),
        ("size=300k", "size", 300_000),
        ("size=512", "size", 512),
        ("every=60s", "every", 60),
        ("every=5m", "every", 300),
        ("every=1.5h", "every", 5400),
        ("every=250ms", "every", 0.25),
        ("every=2", "every", 2),
    ],
)
def test_values_are_converted(text, field, value):
    assert getattr(options(text), field) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apend", "unknown option of the sink fake 'apend': did you mean append?"),
        ("append=maybe", "append=maybe: expected yes or no"),
        ("count=x", "count=x: expected `int`"),
        ("mode=slow", "mode=slow: expected fast or safe"),
        ("size=20 parsecs", "size=20 parsecs: expected a size such as 500MB or 2GiB"),
        ("size=0", "size=0: expected a size"),
        ("every=-1s", "every=-1s: expected a duration such as 60s, 5m or 1h"),
        ("every=soon", "every=soon: expected a duration"),
        ("count=1&count=2", "the option count is given twice"),
        ("=3", "=3 has no name"),
    ],
)
def test_wrong_options_are_rejected_with_the_reason(text, message):
    with pytest.raises(ConfigError) as caught:
        options(text)
    assert message in str(caught.value)


def test_a_sink_without_options_accepts_none():
    with pytest.raises(ConfigError, match="unknown option of the sink window 'size'"):
        sink_opener("window?size=3")


@pytest.mark.parametrize("name", SINKS.built_in)
def test_every_sink_has_options(name):
    assert issubclass(SINKS.module(name).Options, msgspec.Struct)
