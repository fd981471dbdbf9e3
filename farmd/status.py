"""The one place where an exception becomes a google.rpc.Status (AIP-193), and the interceptor that does it.

Put `StatusInterceptor` first in the server's list: whatever an inner interceptor or a service raises inside of a
handler then ends the call with a rich status. An exception nobody foresaw is logged with its traceback and told
as INTERNAL without it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from farmd import errors, lean

DOMAIN = "wattfarm"

# A client refuses answers whose metadata exceed 8 KiB (gRPC's default), and a status travels twice in them: as text,
# percent-encoded, and as base64. These limits keep the sum below.
MAX_MESSAGE_BYTES = 1200
MAX_METADATA_BYTES = 1800
MAX_VIOLATIONS_BYTES = 1000

log = logging.getLogger("farmd")

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


def to_error(exception: BaseException) -> errors.FarmdError:
    """Return the error of the tree for any exception: this is the whole table."""
    if isinstance(exception, errors.FarmdError):
        return exception
    if isinstance(exception, OSError) and exception.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.DiskFull("The board's disk is full; free space on it or unload models, then try again.")
    if isinstance(
        exception, grpc.RpcError
    ):  # gRPC raises it where a handler reads from a client that has gone
        return errors.CallCancelled("The client gave up the call.")
    if isinstance(exception, MemoryError):
        return errors.OutOfMemory("The daemon ran out of memory; send less in one message or unload models.")
    return errors.FarmdError(
        f"The daemon failed unexpectedly ({type(exception).__name__}); its log has the details, please report it.",
        metadata={"exception": type(exception).__name__},
    )


def to_status(error: errors.FarmdError) -> status_pb2.Status:
    """Return the status of an error: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata=_fitting_metadata(error.metadata)
    )
    details: list[Message] = [info]
    if error.violations:
        details.append(_bad_request(error.violations))
    if error.retry_delay_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_delay_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=error.code.value[0],
        message=cut(error.message, MAX_MESSAGE_BYTES),
        details=[_packed(detail) for detail in details],
    )


def cut(text: str, limit_bytes: int, *, keep_end: bool = False) -> str:
    """Return the text, or as much of its beginning (or end) as travels in that many bytes, marked by "…"."""
    if _travel_bytes(text) <= limit_bytes:
        return text
    kept: list[str] = []
    room = limit_bytes - _travel_bytes("…")
    for character in reversed(text) if keep_end else text:
        room -= _travel_bytes(character)
        if room < 0:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept)) if keep_end else "".join(kept) + "…"


def _travel_bytes(text: str) -> int:
    """Return the length of the percent-encoded text (gRPC over HTTP/2, "Status-Message")."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode("utf-8", "replace"))


def _fitting_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata, long values (a log's tail) cut at their beginning so that all fit."""
    fitting: dict[str, str] = {}
    room = MAX_METADATA_BYTES
    for key, value in sorted(metadata.items(), key=lambda item: len(item[1])):
        if room < len(key) + 8:
            break
        fitting[key] = cut(value, room - len(key), keep_end=True)
        room -= len(key) + _travel_bytes(fitting[key])
    return fitting


def _bad_request(violations: Iterable[errors.FieldViolation]) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    room = MAX_VIOLATIONS_BYTES
    for field, description in violations:
        short = cut(description, 300)
        room -= len(field) + _travel_bytes(short)
        if room < 0 and request.field_violations:
            break
        request.field_violations.add(field=cut(field, 200), description=short)
    return request


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def abort(context: grpc.ServicerContext, exception: BaseException) -> NoReturn:
    """End the call with the status of the exception. Logs what nobody foresaw. Always raises."""
    error = to_error(exception)
    if error is not exception and type(error) is errors.FarmdError:
        log.error("A call failed unexpectedly.", exc_info=exception)
    context.abort_with_status(rpc_status.to_status(to_status(error)))
    raise AssertionError("abort_with_status returned")  # for the checkers: gRPC's abort always raises


def _finish(context: grpc.ServicerContext, exception: Exception) -> NoReturn:
    if cast(Any, context).code() is not None:  # somebody aborted already; gRPC marks that by a bare Exception
        raise exception
    abort(context, exception)


def _single(behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(request, context)
        except Exception as exception:
            _finish(context, exception)

    return call


def _streaming(behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(request, context)
        except Exception as exception:
            _finish(context, exception)

    return call


class StatusInterceptor(grpc.ServerInterceptor):
    """Turns exceptions of handlers into rich statuses, for every service of the server.

    It rebuilds every handler, so it also puts in the parsers of those methods that do not want protobuf's.
    """

    def __init__(self, deserializers: Mapping[str, Callable[[bytes], Any]] = lean.DESERIALIZERS) -> None:
        self._deserializers = deserializers
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the wrapped handler of one call; None (no such method) stays None."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = handler, self._wrap(handler, method)
        return known[1]

    def _wrap(self, handler: Handler, method: str) -> Handler:
        parse = self._deserializers.get(method, handler.request_deserializer)
        codec = (parse, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_single(handler.unary_unary), *codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream), *codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_single(handler.stream_unary), *codec)
        return grpc.stream_stream_rpc_method_handler(_streaming(cast(Any, handler.stream_stream)), *codec)
