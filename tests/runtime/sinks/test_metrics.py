import math
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread

parser = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def served():
    """Return a function that opens a sink on a free port."""
    sinks = []

    def serve(options="", **setup):
        sinks.append(sink_opener(f"metrics:0{options}").open(Setup(report=lambda _: None, **setup)))
        return sinks[-1]

    yield serve
    for sink in sinks:
        sink.close()


def scraped(sink):
    """Return the value of each sample by its name and labels, as Prometheus reads them."""
    with urllib.request.urlopen(f"http://{sink.address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    values = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("orilla_") and not sample.name.endswith("_created"):
                labels = [value for _, value in sorted(sample.labels.items()) if value]
                values[(sample.name.removeprefix("orilla_"), *labels)] = sample.value
    return values


def test_frames_drops_and_times(served):
    sink = served()
    sink.write(ticks.tick(0, superseded=2))
    sink.write(ticks.tick(1, superseded=5, corrupt=1))
    values = scraped(sink)
    assert values["frames_total",] == 2
    assert values["dropped_frames_total", "superseded"] == 5
    assert values["dropped_frames_total", "corrupt"] == 1
    assert values["stage_seconds_count", "infer"] == 2
    assert values["stage_seconds_sum", "infer"] == pytest.approx(0.024)
    assert values["stage_seconds_bucket", "0.01", "infer"] == 0
    assert values["stage_seconds_bucket", "0.015", "infer"] == 2
    assert values["stage_seconds_bucket", "0.001", "prepare"] == 2
    assert values["age_seconds_count",] == 2
    assert values["age_seconds_bucket", "0.015"] == 0
    assert values["age_seconds_bucket", "0.02"] == 2
    assert values["age_seconds_bucket", "+Inf"] == 2


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (
            [ticks.classified("cat", 0.75), ticks.classified("dog", 0.875), ticks.classified("dog", 0.625)],
            {("results_total", "cat"): 1, ("results_total", "dog"): 2, ("score",): 0.625},
        ),
        ([ticks.segmented(0.5), ticks.segmented(0.25)], {("fraction", "road"): 0.25}),
        (
            [ticks.detected("a", "a"), ticks.detected("b")],
            {("boxes", "a"): 0, ("boxes", "b"): 1, ("objects",): 1},
        ),
        ([ticks.detected("a", "a"), ticks.detected()], {("boxes", "a"): 0, ("objects",): 0}),
        (
            [ticks.counted("a")],
            {("counts", "gate.in"): 3, ("counts", "my yard.inside"): 2, ("counts", "my yard.entered"): 5},
        ),
        ([ticks.regressed(0.25)], {("value", "steering angle", "rad"): 0.25, ("value", "values"): 2}),
        (
            [ticks.several()],
            {("fraction", "road", "road"): 0.5, ("results_total", "pets", "cat"): 1, ("score", "pets"): 0.75},
        ),
        ([ticks.cascaded()], {("boxes", "person"): 1}),
        ([None], {("frames_total",): 1}),
    ],
)
def test_results_of_each_task(served, results, expected):
    sink = served()
    for index, result in enumerate(results):
        sink.write(ticks.tick(index, result))
    assert scraped(sink).items() >= expected.items()


def test_the_number_of_labels_is_bounded(served):
    sink = served()
    for first in range(0, 300, 30):
        sink.write(ticks.tick(first, ticks.detected(*(f"class {number}" for number in range(first, first + 30)))))
    boxes = {key: value for key, value in scraped(sink).items() if key[0] == "boxes"}
    assert len(boxes) == 101
    assert boxes["boxes", "other"] == 30


def test_events_by_kind(served):
    sink = served()
    for kind in ("lost", "waiting", "waiting", "back"):
        sink.event(Event(kind, 0, 0, "camera 0"))
    values = scraped(sink)
    assert [values["events_total", kind] for kind in ("lost", "waiting", "back")] == [1, 2, 1]


def test_health(served):
    sink = served("?stale=300ms")
    assert scraped(sink)["healthy",] == 0
    assert math.isnan(scraped(sink)["answer_age_seconds",])
    sink.write(ticks.tick(0))
    assert scraped(sink)["healthy",] == 1
    sink.event(Event("lost", 1, 0, "camera 0 stopped"))
    assert scraped(sink)["healthy",] == 0
    sink.event(Event("back", 1, 0, "camera 0"))
    assert scraped(sink)["healthy",] == 1
    time.sleep(0.35)
    values = scraped(sink)
    assert values["healthy",] == 0
    assert values["answer_age_seconds",] >= 0.35


def test_several_sources(served):
    sink = served()
    sink.write(ticks.tick(0, None, "front", corrupt=1))
    sink.write(ticks.tick(0, None, "rear", corrupt=2))
    sink.event(Event("lost", 1, 0, "camera 0 stopped", "front"))
    sink.write(ticks.tick(1, None, "rear", corrupt=2))
    values = scraped(sink)
    assert (values["frames_total", "front"], values["frames_total", "rear"]) == (1, 2)
    assert values["dropped_frames_total", "corrupt", "front"] == 1
    assert values["dropped_frames_total", "corrupt", "rear"] == 2
    assert values["healthy",] == 0
    sink.write(ticks.tick(2, None, "front"))
    assert scraped(sink)["healthy",] == 1


def test_the_process_and_the_version_are_described(served):
    with urllib.request.urlopen(f"http://{served().address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert "process_resident_memory_bytes" in text
    assert 'orilla_info{version="' in text


def test_only_this_machine_can_read_them_unless_a_host_is_given():
    sink = sink_opener("metrics:0").open(Setup(report=lambda _: None))
    assert sink.address.host == "127.0.0.1"
    sink.close()
    sink = sink_opener("metrics:0.0.0.0:0").open(Setup(report=lambda _: None))
    assert sink.address.host == "0.0.0.0"
    sink.close()


def test_the_address_of_a_free_port_is_reported():
    reported = []
    sink = sink_opener("metrics:0").open(Setup(report=reported.append))
    assert reported == [f"serving http://{sink.address}/metrics"]
    sink.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6():
    try:
        sink = sink_opener("metrics:[::1]:0").open(Setup(report=lambda _: None))
    except OutputError as error:
        pytest.skip(str(error))
    assert scraped(sink)["healthy",] == 0
    sink.close()


def refused(spec):
    with pytest.raises((ConfigError, OutputError)) as caught:
        sink_opener(spec).open(Setup()).close()
    return str(caught.value)


def test_a_port_in_use_is_reported(served):
    port = served().address.port
    assert refused(f"metrics:{port}") == (
        f"another program uses port {port} of 127.0.0.1: choose another port, as in metrics:9465"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("metrics:70000", "'70000' is not an address: give metrics[:[HOST:]PORT], with a port from 1 to 65535"),
        ("metrics:a:b:c", "'a:b:c' is not an address"),
        ("metrics:192.0.2.1:0", "192.0.2.1 is not an address of this machine"),
        ("metrics:no-such-host.invalid:0", "no-such-host.invalid is not an address of this machine"),
        ("metrics:0?stale=soon", "stale=soon: expected a duration"),
        ("metrics:0?stael=5s", "unknown option of the sink metrics 'stael': did you mean stale?"),
    ],
)
def test_bad_input(spec, message):
    assert message in refused(spec)


def test_the_port_is_free_after_the_end(served):
    sink = sink_opener("metrics:0").open(Setup(report=lambda _: None))
    scraped(sink)
    port = sink.address.port
    sink.close()
    sink_opener(f"metrics:{port}").open(Setup()).close()


@pytest.mark.timing
def test_clients_do_not_disturb_the_loop():
    """Some clients are silent, some disconnect at once, and some read slowly or without a pause."""
    sinks, events = [], []
    opener = sink_opener("metrics:0")

    def open_sink(setup):
        sinks.append(opener.open(setup))
        return sinks[-1]

    thread = SinkThread(
        type(opener)("metrics", "", open_sink), Setup(live=True), lambda event: events.append(event.detail)
    )
    undisturbed_hz = ticks.drive(thread.write, 30, 30)
    address = tuple(sinks[0].address)
    clients = [socket.create_connection(address) for _ in range(20)]
    for client in clients[:10]:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    for client in clients[:5]:
        client.close()
    done = threading.Event()

    def read():
        while not done.is_set():
            scraped(sinks[0])
            done.wait(0.1)

    reader = threading.Thread(target=read)
    reader.start()
    disturbed_hz = ticks.drive(thread.write, 90, 30)
    done.set()
    reader.join()
    began = time.monotonic()
    counts = thread.close()
    assert time.monotonic() - began < 3
    for client in clients:
        client.close()
    assert disturbed_hz >= 0.97 * undisturbed_hz
    assert counts.written + counts.dropped == 120
    assert counts.failed is None
