"""How hostctl speaks gRPC: channels, retries, and how a status becomes a sentence and an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from hostctl.errors import DeviceError, DeviceUnreachable, HostctlError, Refused, UsageError
from hostctl.inventory import Tls

T = TypeVar("T")

DOMAIN = "wattfarm"
_DETAILS_KEY = "grpc-status-details-bin"
RETRY_DELAYS_S = (0.1, 0.4)
"""Pauses before the second and third attempt of an idempotent call that found nobody."""


@dataclass(frozen=True, slots=True)
class Details:
    """What a status carries besides its code: the google.rpc messages of AIP-193, flattened."""

    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[tuple[str, str], ...] = ()
    retry_s: float | None = None


def open_channel(address: str, tls: Tls | None) -> grpc.Channel:
    """Return a channel without limits on message size: the board's own limits decide."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_http_proxy", 0),  # a proxy of the office's never leads to a board in the lab
    ]
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(_pem(tls.ca), _pem(tls.key), _pem(tls.certificate))
    return grpc.secure_channel(address, credentials, options=options)


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The TLS file {path} cannot be read ({error.strerror}); "
            "mend the device's 'tls' table in farm.toml."
        ) from None


def details_of(error: grpc.RpcError) -> Details:
    """Read the google.rpc details of a status; empty ones where the server sent none."""
    read = getattr(error, "trailing_metadata", tuple)
    for key, value in read() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return _flatten(status_pb2.Status.FromString(value))
    return Details()


def _flatten(status: status_pb2.Status) -> Details:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_s = None
    for part in status.details:
        part.Unpack(info)
        part.Unpack(bad)
        if part.Unpack(retry):
            retry_s = retry.retry_delay.ToTimedelta().total_seconds()
    fields = tuple((violation.field, violation.description) for violation in bad.field_violations)
    return Details(info.reason, info.domain, dict(info.metadata), fields, retry_s)


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status code; UNKNOWN for an error that has none."""
    code = getattr(error, "code", lambda: None)()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def translate(error: grpc.RpcError, device: str, address: str) -> HostctlError:
    """Turn a status into hostctl's error: unreachable (exit 4), refused (5), anything else (1)."""
    code, details = code_of(error), details_of(error)
    ours = details.domain == DOMAIN
    text = getattr(error, "details", lambda: str(error))() or ""
    if code is grpc.StatusCode.UNAVAILABLE and details.reason != "WORKER_BACK_OFF":
        return DeviceUnreachable(text if ours and text else _nobody(device, address, text))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and not ours:
        return DeviceUnreachable(
            f"Device '{device}' at {address} did not answer in time; "
            "look at its farmd, or try again when it is less busy."
        )
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED) or (
        ours and details.reason.startswith("LEASE_")
    ):
        return Refused(
            text or f"Device '{device}' refused the call; reserve it with 'hostctl reserve {device}'."
        )
    message = (
        text if ours and text else f"Device '{device}' failed with {code.name}: {text or 'no reason given'}."
    )
    return DeviceError(message, reason=details.reason or code.name, details=details.metadata)


def _nobody(device: str, address: str, text: str) -> str:
    lower = text.lower()
    why = "no connection"
    for words, meaning in _CAUSES:
        if any(word in lower for word in words):
            why = meaning
            break
    return (
        f"Device '{device}' does not answer at {address} ({why}); start farmd there, "
        "or mend the address in farm.toml."
    )


_CAUSES = (
    (("connection refused",), "connection refused"),
    (("resolv", "lookup", "dns"), "the name is not known here"),
    (("handshake", "certificate", "ssl"), "the TLS handshake failed"),
    (("unreachable", "no route"), "the network does not reach it"),
)
"""What gRPC's own words mean for a user, the first that fits."""


@contextmanager
def translated(device: str, address: str) -> Iterator[None]:
    """Turn every gRPC error of the block into one of hostctl's."""
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, device, address) from error


def retrying(call: Callable[[], T]) -> T:
    """Run an idempotent call, again after a pause if nobody answered (UNAVAILABLE, and nothing else)."""
    for pause_s in RETRY_DELAYS_S:
        try:
            return call()
        except grpc.RpcError as error:
            if code_of(error) is not grpc.StatusCode.UNAVAILABLE:
                raise
            wanted_s = details_of(error).retry_s
            time.sleep(min(pause_s if wanted_s is None else wanted_s, 5.0))
    return call()
