"""Explain why a connection to an MQTT broker failed, and what to do."""

from __future__ import annotations

import socket
import ssl

from orilla.runtime.sinks.address import Address

WRONG_NAME, WRONG_TIME = (62, 64), (9, 10)
"""Codes of OpenSSL for a certificate that was issued for another host, and for one that has expired or is not valid
yet."""


def connection_reason(error: Exception, address: Address) -> str:
    """Return the reason why the connection failed, and what to do."""
    if isinstance(error, ConnectionRefusedError):
        return f"no MQTT broker listens at {address}: start it, or check the host and the port"
    if isinstance(error, socket.gaierror):
        return f"the host {address.host} of the MQTT broker is unknown: check its name and the network"
    if isinstance(error, TimeoutError):
        return f"the MQTT broker {address} does not answer: check the host, the port and the firewall"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return f"the certificate of the MQTT broker {address} is not trusted: {reason}; {_certificate_advice(error)}"
    if isinstance(error, ssl.SSLError | ConnectionResetError):
        detail = error.reason if isinstance(error, ssl.SSLError) and error.reason else "connection reset"
        return f"no TLS connection to {address}: {detail.lower().replace('_', ' ')}; check that the port expects TLS"
    return f"cannot connect to the MQTT broker {address}: {getattr(error, 'strerror', None) or error}"


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in WRONG_NAME:
        return "use the name in the certificate as HOST"
    if error.verify_code in WRONG_TIME:
        return "renew it, or set the clock of this machine"
    return "give the certificate of its authority with ca=FILE"


def refusal_reason(reason: str) -> str:
    """Return the reason why the broker rejected the login, and what to do. `reason` is the text of its code."""
    reason = reason.lower()
    if "password" in reason or "authorized" in reason:
        return f"{reason}; check the user name and the password"
    return reason
