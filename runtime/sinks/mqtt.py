"""Sink that publishes each tick to an MQTT broker, and describes its values to Home Assistant."""

from __future__ import annotations

import os
import secrets
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.frame import Event, Tick, TickDocument
from orilla.runtime.sinks.address import Address, parse_address
from orilla.runtime.sinks.home_assistant import Device, discovery
from orilla.runtime.sinks.mqtt_message import Message
from orilla.runtime.sinks.options import ByteCount, Duration
from orilla.runtime.sinks.sink import Setup, Sink

if TYPE_CHECKING:
    from orilla.runtime.sinks.mqtt_broker import Broker

NEEDS_TARGET = True
REOPENS = True

USAGE = "mqtt:HOST[:PORT]/TOPIC"

PORT, TLS_PORT = 1883, 8883
"""Default ports of brokers, without and with encryption."""

PASSWORD_VARIABLE = "ORILLA_MQTT_PASSWORD"
"""Environment variable with the password."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    qos: Literal["0", "1", "2"] = "0"
    """Quality of service: `0` at most once, `1` at least once, `2` exactly once."""
    retain: bool = False
    """True if the broker keeps the newest document for new subscribers."""
    every: Duration | None = None
    """Minimum time in seconds between two published ticks."""
    on: Literal["each", "change"] = "each"
    """`each` publishes every tick, and `change` only the ticks whose result has changed."""
    discovery: str | None = None
    """First level of the topics in which Home Assistant looks for devices, usually `homeassistant`."""
    client_id: str | None = None
    """Name by which the broker identifies this program. If None, a random name is used."""
    keepalive: Duration = Duration(30)
    """Time in seconds without messages after which the connection is checked."""
    username: str | None = None
    password_file: str | None = None
    """File whose first line is the password."""
    tls: bool = False
    """True for an encrypted connection."""
    ca: str | None = None
    """File with the certificate of the authority that signed the broker's certificate. If None, the authorities that
    the operating system trusts are accepted."""
    cert: str | None = None
    """File with the certificate of this client."""
    key: str | None = None
    """File with the private key of this client. If None, the certificate file contains the key."""
    insecure: bool = False
    """True to accept any certificate of the broker."""
    buffer: ByteCount = ByteCount(16_000_000)
    """Maximum number of bytes of messages that are kept in memory while the broker is unreachable."""

    def __post_init__(self) -> None:
        rules = (
            (self.password_file and self.username is None, "password_file requires username"),
            (self.key and not self.cert, "key requires cert, the file with the client's certificate"),
            (self.insecure and not self.encrypted, "insecure requires tls"),
            (self.insecure and self.ca, "insecure and ca cannot be used together"),
            (not 1 <= self.keepalive <= 65535, "keepalive must be from 1s to 65535s"),
            (
                self.discovery is not None and not _is_topic(self.discovery),
                "discovery must be a topic, usually homeassistant",
            ),
        )
        for is_broken, message in rules:
            if is_broken:
                raise ValueError(message)

    @property
    def encrypted(self) -> bool:
        """Return True if the connection is encrypted. The options for certificates imply encryption."""
        return self.tls or bool(self.ca or self.cert)


class Mqtt(Sink):
    """Publishes the JSON document of each tick on TOPIC, and events on TOPIC/event.

    With several sources, the topics are TOPIC/SOURCE and TOPIC/SOURCE/event.
    """

    def __init__(self, broker: Broker, topic: str, options: Options, setup: Setup) -> None:
        self._broker, self._topic, self._options, self._setup = broker, topic, options, setup
        self._encoder = msgspec.json.Encoder()
        self._seen: dict[str, tuple[int, object]] = {}
        """Time in nanoseconds and state of the last published tick. The keys are the topics."""
        self._described: set[str] = set()

    def write(self, tick: Tick) -> bool:
        """Publish one tick, unless the options limit the rate."""
        document = tick.to_dict()
        topic = self._topic_of(tick.source)
        if not self._is_due(topic, tick):
            return True
        if self._options.discovery is not None and topic not in self._described:
            self._described.add(topic)
            self._broker.keep(self._description(topic, document))
        self._broker.put(Message(topic, self._encoder.encode(document), self._options.retain))
        return True

    def event(self, event: Event) -> None:
        """Publish an event."""
        document = {key: value for key, value in msgspec.structs.asdict(event).items() if value is not None}
        self._broker.put(Message(f"{self._topic_of(event.source)}/event", self._encoder.encode(document)))

    def close(self) -> None:
        """Deliver the queued messages and disconnect."""
        self._broker.close()

    def _topic_of(self, source: str | None) -> str:
        """Return the topic of a source. A target with `{source}` already contains its name."""
        return self._topic if source is None or source in self._topic.split("/") else f"{self._topic}/{source}"

    def _is_due(self, topic: str, tick: Tick) -> bool:
        every, on = self._options.every, self._options.on
        if every is None and on == "each":
            return True
        now = (tick.delivered_ns, tick.result.state() if on == "change" else None)
        last = self._seen.get(topic)
        if last is not None:
            if every is not None and now[0] - last[0] < 1e9 * every:
                return False
            if on == "change" and now[1] == last[1]:
                return False
        self._seen[topic] = now
        return True

    def _description(self, topic: str, document: TickDocument) -> list[Message]:
        """Return the messages that announce the values of a topic to Home Assistant."""
        options = self._options
        assert options.discovery is not None
        period_s = (options.every or 0.0) if options.on == "each" and self._setup.live else None
        device = Device(topic, f"{self._topic}/status", self._setup.labels, period_s)
        payloads = discovery(document, device, options.discovery)
        return [Message(name, self._encoder.encode(payload), retain=True) for name, payload in payloads.items()]


def open_sink(target: str, options: Options, setup: Setup) -> Mqtt:
    """Connect to the broker named by `target`.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        ConfigError: The target, a file or the password cannot be used.
        OutputError: There is no connection to the broker.
    """
    address, topic = _parse(target, options)
    try:
        from orilla.runtime.sinks.mqtt_broker import Broker, Login
    except ImportError as error:
        msg = "paho-mqtt 2"
        raise MissingExtraError(msg, "mqtt") from error
    password = _password(options)
    if password is not None and not options.encrypted and not address.is_local:
        setup.report(f"the password is sent to {address} without encryption; add tls if the broker supports it")
    login = Login(
        address=address,
        client_id=options.client_id or f"orilla{secrets.token_hex(8)}",
        username=options.username,
        password=password,
        tls=_tls(options) if options.encrypted else None,
        keepalive_s=round(options.keepalive),
        qos=int(options.qos),
        status_topic=f"{topic}/status",
    )
    return Mqtt(Broker(login, setup, options.buffer), topic, options, setup)


def _parse(target: str, options: Options) -> tuple[Address, str]:
    """Split the target into the address of the broker and the topic. `mqtt://HOST/TOPIC` is also accepted."""
    place, slash, topic = target.removeprefix("//").partition("/")
    if "@" in target:
        place, topic = target, ""
    default = Address("", TLS_PORT if options.encrypted else PORT)
    address = parse_address(place, default, usage=USAGE)
    if not address.host or not slash or not _is_topic(topic):
        msg = f"sink `mqtt`: {target!r} has no broker, or no topic without + and #: give {USAGE}, as in mqtt:pi/rover"
        raise ConfigError(msg)
    return address, topic


def _is_topic(text: str) -> bool:
    """Return True if messages can be published below a topic of this name."""
    return bool(text.strip("/")) and not text.endswith("/") and text[0] != "$" and not set(text) & set("+#\0")


def _password(options: Options) -> str | None:
    """Return the password from the file or the environment, or None if there is none."""
    if options.username is None:
        return None
    if options.password_file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        lines = Path(options.password_file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        msg = f"cannot read password_file={options.password_file}: {reason}"
        raise ConfigError(msg) from error
    if not lines or not lines[0]:
        msg = f"password_file={options.password_file} is empty: write the password into its first line"
        raise ConfigError(msg)
    return lines[0]


def _tls(options: Options) -> ssl.SSLContext:
    """Return the settings of an encrypted connection."""
    for name, file in (("ca", options.ca), ("cert", options.cert), ("key", options.key)):
        if file is not None and not Path(file).is_file():
            msg = f"{name}={file} is not a file: give a file in PEM format"
            raise ConfigError(msg)
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.cert is not None:
            # With an empty password, OpenSSL does not ask for one on the terminal.
            context.load_cert_chain(options.cert, options.key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(file for file in (options.ca, options.cert, options.key) if file)
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        msg = f"cannot use the certificates in {files}: {reason}; use files in PEM format, and a key without a password"
        raise ConfigError(msg) from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
