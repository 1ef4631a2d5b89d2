"""Sink that sends answers to an autopilot or a ground station as MAVLink messages."""

from __future__ import annotations

import math
import re
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from orilla.devices.errors import MissingExtraError, OutputError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.mavlink_link import Link, check_target, link_error, open_link
from orilla.runtime.sinks.options import Duration
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sources.source import now_ns

if TYPE_CHECKING:
    from orilla.runtime.sinks.mavlink_messages import FieldOfView, MavlinkMessages

NEEDS_TARGET = True
REOPENS = True

HEARTBEAT_S = 1.0
"""Interval in seconds between two heartbeats. Source: <https://mavlink.io/en/services/heartbeat.html>."""

LARGEST_ID = 255

WIDEST_DEG = 180
"""Upper limit of the field of view in degrees, which no pinhole camera can reach."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    fov: str | None = None
    """Horizontal field of view in degrees, as in `62.2`, or horizontal and vertical, as in `62.2x48.8`."""
    label: str | None = None
    """Class of the boxes that are sent as landing targets. If None, boxes of all classes are sent."""
    max_age: Duration = Duration(0.2)
    """Maximum age in seconds at which an answer is sent."""
    every: Duration | None = None
    """Minimum time in seconds between two answers that are sent."""
    system: int = 1
    """MAVLink system ID of the vehicle, 1–255."""
    component: int = 191
    """MAVLink component ID of this program on the vehicle, 1–255. 191 stands for an onboard computer."""
    baud: int = 57600
    """Speed of a serial port in bits per second."""

    def __post_init__(self) -> None:
        for name in ("system", "component"):
            if not 1 <= getattr(self, name) <= LARGEST_ID:
                msg = f"{name}={getattr(self, name)}: expected a number from 1 to {LARGEST_ID}"
                raise ValueError(msg)
        if self.baud < 1:
            msg = f"baud={self.baud}: expected a speed such as 57600"
            raise ValueError(msg)
        if self.fov is not None and not all(0 < angle < WIDEST_DEG for angle in self.angles_deg()):
            msg = f"fov={self.fov}: expected degrees below {WIDEST_DEG}, as in 62.2 or 62.2x48.8"
            raise ValueError(msg)

    def angles_deg(self) -> list[float]:
        """Return the horizontal and, if given, the vertical field of view in degrees. `[0.0]` if `fov` is invalid."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?", self.fov or "")
        return [float(angle) for angle in found.groups() if angle is not None] if found else [0.0]


class Mavlink(Sink):
    """Sends the messages of each tick. A separate thread sends a heartbeat once a second."""

    def __init__(self, target: str, messages: MavlinkMessages, options: Options, setup: Setup) -> None:
        from pymavlink.dialects.v20 import common

        self._common, self._target, self._messages = common, target, messages
        self._options, self._setup = options, setup
        self.withheld = 0
        """Number of ticks that were too old to be sent."""
        self._sent_ns: dict[str | None, int] = {}
        self._link: Link = open_link(target, options.baud, setup.report)
        self._packer = common.MAVLink(self._link, options.system, options.component)
        self._lock = threading.Lock()
        self._state = common.MAV_STATE_ACTIVE
        self._failure: OutputError | None = None
        self._ending = threading.Event()
        try:
            self._send([self._heartbeat()])
        except OutputError:
            self._link.close()
            raise
        self._thread = threading.Thread(target=self._beat, name="orilla-mavlink-heartbeat", daemon=True)
        self._thread.start()

    def write(self, tick: Tick) -> bool:
        """Send the messages of one tick, unless it is too old.

        Raises:
            OutputError: The connection is lost.
        """
        if self._failure is not None:
            raise self._failure
        age_s = (now_ns() - tick.captured_ns) / 1e9
        if age_s > self._options.max_age:
            self.withheld += 1
            if self.withheld == 1:
                self._setup.report(
                    f"an answer was not sent, because its age of {1000 * age_s:.0f} ms exceeds "
                    f"max_age={1000 * self._options.max_age:g}ms"
                )
            return True
        last_ns, every = self._sent_ns.get(tick.source), self._options.every
        if every is None or last_ns is None or tick.captured_ns - last_ns >= 1e9 * every:
            self._sent_ns[tick.source] = tick.captured_ns
            self._send(list(self._messages.of_tick(tick)))
        return True

    def event(self, event: Event) -> None:
        """Send an event as a status text. While a camera is lost, the heartbeat has the state `CRITICAL`."""
        if event.kind == "lost":
            self._state = self._common.MAV_STATE_CRITICAL
        elif event.kind == "back":
            self._state = self._common.MAV_STATE_ACTIVE
        self._send([self._messages.of_event(event)])

    def close(self) -> None:
        """Stop the heartbeat and close the connection."""
        self._ending.set()
        self._thread.join()
        self._link.close()
        if self.withheld > 1:
            self._setup.report(f"{self.withheld} answers were not sent, because they were too old")

    def _heartbeat(self) -> Any:
        common = self._common
        return common.MAVLink_heartbeat_message(
            common.MAV_TYPE_ONBOARD_CONTROLLER, common.MAV_AUTOPILOT_INVALID, 0, 0, self._state, 3
        )

    def _send(self, messages: list[Any]) -> None:
        try:
            with self._lock:
                for message in messages:
                    self._packer.send(message)
        except OSError as error:
            raise link_error(self._target, error) from error

    def _beat(self) -> None:
        """Send heartbeats until the sink is closed or the connection is lost."""
        while not self._ending.wait(HEARTBEAT_S):
            try:
                self._link.drain()
                self._send([self._heartbeat()])
            except OutputError as error:
                self._failure = error
            except OSError as error:
                self._failure = link_error(self._target, error)
            if self._failure is not None:
                return


def open_sink(target: str, options: Options, setup: Setup) -> Mavlink:
    """Open the connection named by `target`.

    Raises:
        MissingExtraError: pymavlink or pyserial is not installed.
        ConfigError: The target is invalid.
        OutputError: The connection cannot be opened.
    """
    check_target(target)
    try:
        from orilla.runtime.sinks.mavlink_messages import MavlinkMessages
    except ImportError as error:
        msg = "pymavlink"
        raise MissingExtraError(msg, "mavlink") from error
    return Mavlink(target, MavlinkMessages(_field_of_view(options), options.label), options, setup)


def _field_of_view(options: Options) -> FieldOfView | None:
    from orilla.runtime.sinks.mavlink_messages import FieldOfView

    if options.fov is None:
        return None
    horizontal, *vertical = (math.radians(angle) for angle in options.angles_deg())
    return FieldOfView(horizontal, vertical[0] if vertical else None)
