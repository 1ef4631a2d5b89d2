import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest
from helpers import ticks
from helpers.certificates import make_certificates
from helpers.mosquitto import mosquitto, subscriber

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def opened(spec, **setup):
    return sink_opener(spec).open(Setup(**setup))


def refused(spec, **setup):
    with pytest.raises((ConfigError, OutputError)) as caught:
        opened(spec, **setup).close()
    return str(caught.value)


def publish(port, options, written, topic="rover", **setup):
    """Write ticks, and return all messages by topic."""
    with subscriber(port) as recorder:
        recorder.wait_for_silence()
        del recorder.messages[:]
        sink = opened(f"mqtt:127.0.0.1:{port}/{topic}{options}", **setup)
        for tick in written:
            assert sink.write(tick)
        sink.close()
        recorder.wait(f"{topic}/status", 2)
        messages = {}
        for name, payload in recorder.messages:
            messages.setdefault(name, []).append(payload)
        return messages


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_tick_is_published(broker, qos):
    messages = publish(broker.port, f"?qos={qos}", [ticks.tick(index, ticks.classified()) for index in range(50)])
    documents = [json.loads(payload) for payload in messages["rover"]]
    assert [document["index"] for document in documents] == list(range(50))
    assert documents[0] == ticks.tick(0, ticks.classified()).to_dict()
    assert messages["rover/status"] == [b"online", b"offline"]


def test_an_address_with_a_scheme_is_accepted(broker):
    opened(f"mqtt://127.0.0.1:{broker.port}/rover").close()


def test_events_have_a_topic_of_their_own(broker):
    with subscriber(broker.port, "eventful/#") as recorder:
        sink = opened(f"mqtt:127.0.0.1:{broker.port}/eventful")
        sink.event(Event("lost", 3, 5, "camera 0 stopped"))
        sink.close()
        document = json.loads(recorder.wait("eventful/event", 1)[0])
    assert document.items() >= {"kind": "lost", "index": 3, "at_ns": 5, "detail": "camera 0 stopped"}.items()


@pytest.mark.parametrize(("topic", "front"), [("car", "car/front"), ("car/front", "car/front")])
def test_each_source_has_a_topic(broker, topic, front):
    with subscriber(broker.port, "car/#") as recorder:
        sink = opened(f"mqtt:127.0.0.1:{broker.port}/{topic}?on=change")
        for index in range(2):
            sink.write(ticks.tick(index, ticks.classified(), "front"))
        sink.event(Event("lost", 3, 5, "camera 0 stopped", "front"))
        sink.close()
        assert json.loads(recorder.wait(f"{front}/event", 1)[0])["source"] == "front"
        recorder.wait(f"{topic}/status", 2)
        assert [json.loads(payload)["source"] for payload in recorder.on(front)] == ["front"]


def test_the_newest_document_is_retained_on_request(broker):
    for topic, option in (("kept", "?retain"), ("gone", "")):
        publish(broker.port, option, [ticks.tick(0), ticks.tick(1)], topic)
    with subscriber(broker.port) as late:
        late.wait("kept/status", 1)
        late.wait_for_silence()
        assert json.loads(late.retained["kept"])["index"] == 1
        assert late.retained["kept/status"] == b"offline"
        assert "gone" not in late.retained


@pytest.mark.parametrize(
    ("options", "results", "published"),
    [
        ("every=100ms", [None] * 250, [0, 100, 200]),
        ("on=change", [ticks.classified(label) for label in ("cat", "cat", "dog", "dog", "cat")], [0, 2, 4]),
        ("on=change", [ticks.classified("cat", score) for score in (0.75, 0.8)], [0]),
        ("on=change", [ticks.detected(*labels) for labels in ("a", "a", "ab", "ba", "")], [0, 2, 4]),
        ("on=change", [ticks.segmented(share) for share in (0.5, 0.5, 0.6)], [0, 2]),
        ("on=change", [ticks.regressed(angle) for angle in (0.25, 0.25001, 0.26)], [0, 2]),
        ("on=change", [ticks.several(), ticks.several(), ticks.cascaded(), ticks.cascaded()], [0, 2]),
        ("on=change&every=3ms", [ticks.classified(label) for label in ("cat", "dog", "dog", "dog")], [0, 3]),
    ],
)
def test_the_rate_can_be_limited(broker, options, results, published):
    written = [ticks.tick(index, result) for index, result in enumerate(results)]
    messages = publish(broker.port, f"?{options}", written)
    assert [json.loads(payload)["index"] for payload in messages["rover"]] == published


def test_a_killed_loop_is_announced_by_the_broker(broker):
    code = (
        "import time\n"
        "from orilla.runtime.sinks.registry import sink_opener\n"
        "from orilla.runtime.sinks.sink import Setup\n"
        f"sink = sink_opener('mqtt:127.0.0.1:{broker.port}/doomed').open(Setup())\n"
        "print('open', flush=True)\n"
        "time.sleep(60)"
    )
    with subscriber(broker.port, "doomed/#") as recorder:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"open\n"
        recorder.wait("doomed/status", 1)
        process.kill()
        assert recorder.wait("doomed/status", 2)[-1] == b"offline"
        process.wait()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mqtt", "the sink `mqtt` needs a target: give mqtt:HOST[:PORT]/TOPIC"),
        ("mqtt:host", "has no broker, or no topic"),
        ("mqtt:/rover", "has no broker, or no topic"),
        ("mqtt:host/", "has no broker, or no topic"),
        ("mqtt:host/rover/#", "or no topic without + and #"),
        ("mqtt:host/$SYS", "has no broker, or no topic"),
        ("mqtt:host:x/rover", "'host:x' is not an address"),
        ("mqtt:host:99999/rover", "with a port from 1 to 65535"),
        ("mqtt:host/rover?qos=3", "qos=3: expected 0, 1 or 2"),
        ("mqtt:host/rover?on=maybe", "on=maybe: expected each or change"),
        ("mqtt:host/rover?insecure", "insecure requires tls"),
        ("mqtt:host/rover?insecure&ca=x", "insecure and ca cannot be used together"),
        ("mqtt:host/rover?key=x", "key requires cert"),
        ("mqtt:host/rover?password_file=x", "password_file requires username"),
        ("mqtt:host/rover?keepalive=1d", "keepalive must be from 1s to 65535s"),
        ("mqtt:host/rover?discovery=a/%2B/#", "discovery must be a topic"),
        ("mqtt:host/rover?password=x", "unknown option of the sink mqtt 'password': did you mean password_file?"),
        ("mqtt:host/rover?username=me&password_file=missing", "cannot read password_file=missing: No such file"),
        ("mqtt:host/rover?ca=missing", "ca=missing is not a file"),
        (f"mqtt:host/rover?ca={__file__}", "cannot use the certificates"),
        ("mqtt:no-such-host.invalid/rover", "the host no-such-host.invalid of the MQTT broker is unknown"),
    ],
)
def test_bad_input_is_rejected_before_the_loop(spec, message):
    pytest.importorskip("paho.mqtt.enums")
    answer = refused(spec)
    assert message in answer
    assert "\n" not in answer


def test_a_password_in_the_target_is_rejected_and_not_repeated():
    answer = refused("mqtt:me:secret@host/rover")
    assert "must not contain a user name or a password" in answer
    assert "secret" not in answer


def test_nothing_listens():
    pytest.importorskip("paho.mqtt.enums")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert refused(f"mqtt:127.0.0.1:{port}/rover") == (
            f"no MQTT broker listens at 127.0.0.1:{port}: start it, or check the host and the port"
        )


def test_a_server_that_is_no_broker():
    pytest.importorskip("paho.mqtt.enums")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        assert "it does not answer; is it an MQTT broker?" in refused(f"mqtt:127.0.0.1:{port}/rover")
        assert time.monotonic() - began < 12


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A broker that needs a user name and a password."""
    folder = tmp_path_factory.mktemp("guarded")
    passwords = folder / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", passwords, "rover", "s3cret & more"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with mosquitto(folder / "data", f"password_file {passwords}") as broker:
        yield broker


def test_the_password_comes_from_a_file(guarded, tmp_path):
    file = tmp_path / "password"
    file.write_text("s3cret & more\n")
    opened(f"mqtt:127.0.0.1:{guarded.port}/rover?username=rover&password_file={file}").close()


def test_the_password_comes_from_the_environment(guarded, monkeypatch):
    monkeypatch.setenv("ORILLA_MQTT_PASSWORD", "s3cret & more")
    opened(f"mqtt:127.0.0.1:{guarded.port}/rover?username=rover").close()


@pytest.mark.parametrize("options", ["", "?username=rover", "?username=stranger"])
def test_a_wrong_password_is_reported_and_not_shown(guarded, monkeypatch, options):
    monkeypatch.setenv("ORILLA_MQTT_PASSWORD", "wr0ng")
    answer = refused(f"mqtt:127.0.0.1:{guarded.port}/rover{options}")
    assert f"the MQTT broker 127.0.0.1:{guarded.port} refused the connection: not authorized" in answer
    assert "check the user name and the password" in answer
    assert "wr0ng" not in answer


def test_an_empty_password_file_is_rejected(tmp_path):
    pytest.importorskip("paho.mqtt.enums")
    (tmp_path / "empty").touch()
    assert "is empty" in refused(f"mqtt:host/rover?username=me&password_file={tmp_path}/empty")


def test_an_unencrypted_password_is_reported(monkeypatch):
    pytest.importorskip("paho.mqtt.enums")
    monkeypatch.setenv("ORILLA_MQTT_PASSWORD", "s3cret")
    reported = []
    refused("mqtt:no-such-host.invalid/rover?username=me", report=reported.append)
    assert len(reported) == 1
    assert "without encryption" in reported[0]
    assert "s3cret" not in reported[0]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls_lines(certificates):
    return [
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
    ]


@pytest.fixture(scope="module")
def encrypted(certificates, tmp_path_factory):
    """A broker that needs TLS."""
    with mosquitto(tmp_path_factory.mktemp("encrypted"), *tls_lines(certificates)) as broker:
        yield broker


@pytest.fixture(scope="module")
def certified(certificates, tmp_path_factory):
    """A broker that needs TLS and a client certificate."""
    lines = [*tls_lines(certificates), "require_certificate true"]
    with mosquitto(tmp_path_factory.mktemp("certified"), *lines) as broker:
        yield broker


def test_tls_with_the_authority_of_the_broker(encrypted, certificates):
    sink = opened(f"mqtt:localhost:{encrypted.port}/rover?ca={certificates}/ca.pem&qos=1")
    sink.write(ticks.tick())
    sink.close()


@pytest.mark.parametrize(
    ("host", "options", "message"),
    [
        ("localhost", "tls", "; give the certificate of its authority with ca=FILE"),
        ("localhost", "ca={}/stranger.pem", "is not trusted: "),
        ("127.0.0.1", "ca={}/ca.pem", "not valid for '127.0.0.1'; use the name in the certificate as HOST"),
        ("localhost", "qos=1", "it closed the connection; it may need TLS"),
    ],
)
def test_a_wrong_certificate_is_refused(encrypted, certificates, host, options, message):
    assert message in refused(f"mqtt:{host}:{encrypted.port}/rover?{options.format(certificates)}")


def test_a_wrong_certificate_is_accepted_only_on_request(encrypted):
    opened(f"mqtt:127.0.0.1:{encrypted.port}/rover?tls&insecure").close()


def test_tls_on_a_port_without_tls(broker, certificates):
    assert f"no TLS connection to localhost:{broker.port}: " in refused(
        f"mqtt:localhost:{broker.port}/rover?ca={certificates}/ca.pem"
    )


def test_a_client_certificate(certified, certificates):
    place, ca = f"mqtt:localhost:{certified.port}/rover", f"ca={certificates}/ca.pem"
    assert "client certificate (cert=FILE&key=FILE)" in refused(f"{place}?{ca}")
    opened(f"{place}?{ca}&cert={certificates}/client.pem&key={certificates}/client.key").close()


def test_a_key_with_a_password_is_rejected_without_a_question(certificates, tmp_path):
    key = tmp_path / "locked.key"
    words = ["openssl", "rsa", "-aes256", "-passout", "pass:abcd", "-in", f"{certificates}/client.key", "-out", key]
    subprocess.run(words, check=True, capture_output=True)
    answer = refused(f"mqtt:localhost/rover?cert={certificates}/client.pem&key={key}")
    assert "a key without a password" in answer


def run(*words, **environment):
    command = [sys.executable, "-m", "orilla.runtime.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_the_command_line_publishes_and_hides_the_password(guarded):
    place = f"mqtt:127.0.0.1:{guarded.port}/rover?username=rover&qos=1"
    words = ("run", "road", "--source", "scenes", "--frames", "5", "--sink", place)
    done = run(*words, ORILLA_MQTT_PASSWORD="s3cret & more")
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stderr
    done = run(*words, ORILLA_MQTT_PASSWORD="wr0ng")
    assert done.returncode == 2
    assert re.search(r"refused the connection: not authorized; check the user name and the password\n$", done.stderr)
    assert "wr0ng" not in done.stderr


def test_a_missing_package_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("paho", "orilla.runtime.sinks.mqtt_broker"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(ImportError, match=re.escape('paho-mqtt 2 is not installed: run pip install "orilla[mqtt]"')):
        opened("mqtt:host/rover")
