"""Every call of the daemon passes here: limits, the lease gate, cutting calls off, and draining.

A handler sees a `CallContext`. A call that is cut off looks to its handler as if the client had gone: `is_active()`
turns false and the callbacks run. The handler ends, and the client gets the true reason as the call's status.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc

from farmd.errors import FarmdError, LeaseFenced, ShuttingDown, TooManyCalls
from farmd.gate import Lease, LeaseGate

SERVICE = "/farm.v1.DeviceService/"
READING = frozenset(
    SERVICE + name for name in ("GetInfo", "Stats", "WatchStats", "ListRails", "SyncClock", "ListModels")
)
"""Calls that only look: they need no lease, and a change of hands does not cut them."""
ENDLESS = frozenset((SERVICE + "WatchStats", SERVICE + "Power"))
"""Streams that end only when somebody ends them: a drain does not wait for them."""

STAMPED = frozenset((SERVICE + "SyncClock",))
"""Calls that answer with the time at which their headers came, and not only their handler."""
STREAMS = frozenset(
    SERVICE + name for name in ("LoadModel", "InferStream", "Benchmark", "WatchStats", "Power")
)
INFERENCES = frozenset((SERVICE + "Infer", SERVICE + "UnloadModel"))

MAX_STREAMS = 48
MAX_INFERENCES = 32
THREADS = 112
"""Threads are made on demand. What streams and inferences leave over is for short calls, so nothing starves them."""
END_GRACE_S = 2.0
"""How long a cut call may take to end by itself before its connection to the client is broken."""
RETRY_S = 1.0

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


class CallContext(grpc.ServicerContext):
    """gRPC's context of a call, which the daemon itself can end.

    `arrival_ns`: when the call's headers came (STAMPED), or when its handler began.
    """

    def __init__(self, context: grpc.ServicerContext, method: str, arrival_ns: int) -> None:
        self._context = context
        self.method = method
        self.arrival_ns = arrival_ns
        self.lease: Lease | None = None
        self.cut_error: FarmdError | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def cut(self, error: FarmdError) -> None:
        """End the call for this reason; the first reason stays. Callable from any thread."""
        with self._lock:
            if self.cut_error is not None:
                return
            self.cut_error = error
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def is_active(self) -> bool:
        """Whether anybody still waits for an answer."""
        return self.cut_error is None and self._context.is_active()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Run it once when the call ends or is cut; False if it has ended already."""
        once = _Once(callback)
        with self._lock:
            if self.cut_error is not None:
                return False
            self._callbacks.append(once)
        return bool(self._context.add_callback(once))

    def time_remaining(self) -> Any:
        """Return the seconds until the client's deadline; without one a very large number."""
        return self._context.time_remaining()

    def cancel(self) -> bool:
        """Break the call off at once."""
        self._context.cancel()
        return True

    def invocation_metadata(self) -> Any:
        """Return the client's metadata."""
        return self._context.invocation_metadata()

    def peer(self) -> str:
        """Return the client's address."""
        return self._context.peer()

    def peer_identities(self) -> Any:
        """Return who the client's certificate says it is."""
        return self._context.peer_identities()

    def peer_identity_key(self) -> Any:
        """Return which property of the certificate that is."""
        return self._context.peer_identity_key()

    def auth_context(self) -> Any:
        """Return the properties of the connection's security."""
        return self._context.auth_context()

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the answers."""
        self._context.set_compression(compression)

    def disable_next_message_compression(self) -> None:
        """Leave the next answer as it is."""
        self._context.disable_next_message_compression()

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Send metadata before the first answer."""
        self._context.send_initial_metadata(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Send metadata with the status."""
        self._context.set_trailing_metadata(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """Return the metadata that go with the status."""
        return cast(Any, self._context).trailing_metadata()

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with this status."""
        self._context.abort(code, details)

    def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with this rich status."""
        self._context.abort_with_status(status)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code."""
        self._context.set_code(code)

    def set_details(self, details: str) -> None:
        """Set the status text."""
        self._context.set_details(details)

    def code(self) -> Any:
        """Return the status code."""
        return cast(Any, self._context).code()

    def details(self) -> Any:
        """Return the status text."""
        return cast(Any, self._context).details()


class _Once:
    """A callback that runs once, whoever comes first: a cut, or the end of the call."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        self._callback()


class CallTable:
    """The calls that run now."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running: set[CallContext] = set()
        self._refusal: FarmdError | None = None

    def enter(self, call: CallContext) -> None:
        """Record a call. Raises TooManyCalls, or ShuttingDown once the daemon drains."""
        with self._condition:
            if self._refusal is not None:
                raise self._refusal
            self._refuse_beyond(call, _is_stream, MAX_STREAMS, "streams")
            self._refuse_beyond(call, _is_inference, MAX_INFERENCES, "inferences")
            self._running.add(call)

    def leave(self, call: CallContext) -> None:
        """Forget a call that has ended."""
        with self._condition:
            self._running.discard(call)
            self._condition.notify_all()

    def refuse(self, error: FarmdError) -> None:
        """Take no further calls."""
        with self._condition:
            self._refusal = error

    def cut(self, which: Callable[[CallContext], bool], error: FarmdError) -> list[CallContext]:
        """Cut these calls off; those that do not end by themselves are broken off after END_GRACE_S."""
        with self._condition:
            chosen = [call for call in self._running if which(call)]
        for call in chosen:
            call.cut(error)
        if chosen:
            timer = threading.Timer(END_GRACE_S, self._break_off, [chosen])
            timer.daemon = True
            timer.start()
        return chosen

    def wait(self, which: Callable[[CallContext], bool], timeout_s: float) -> bool:
        """Wait until no such call runs; return whether that was reached in time."""
        with self._condition:
            return self._condition.wait_for(lambda: not any(map(which, self._running)), timeout_s)

    def _break_off(self, calls: Sequence[CallContext]) -> None:
        with self._condition:
            stuck = [call for call in calls if call in self._running]
        for call in stuck:
            call.cancel()

    def _refuse_beyond(
        self, call: CallContext, kind: Callable[[CallContext], bool], limit: int, what: str
    ) -> None:
        if kind(call) and sum(map(kind, self._running)) >= limit:
            raise TooManyCalls(
                f"The board serves at most {limit} {what} at once; end one, or try again later.",
                metadata={"limit": limit},
                retry_delay_s=RETRY_S,
            )


def _is_stream(call: CallContext) -> bool:
    return call.method in STREAMS


def _is_inference(call: CallContext) -> bool:
    return call.method in INFERENCES


class _Passage:
    """A call on its way through the daemon: admitted, in the table, out again. Not a generator: each inference pays for it."""

    def __init__(self, admit: Callable[[CallContext], None], table: CallTable, call: CallContext) -> None:
        self._admit, self._table, self._call = admit, table, call

    def __enter__(self) -> CallContext:
        try:
            self._admit(self._call)
        except Exception as error:
            self.__exit__(type(error), error, None)
            raise
        return self._call

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._table.leave(self._call)
        if self._call.cut_error is not None and (error is None or isinstance(error, Exception)):
            raise self._call.cut_error from None  # what the handler made of being cut is of no interest


class CallInterceptor(grpc.ServerInterceptor):
    """Puts every call of the device service through the gate and into the table.

    Health and reflection pass untouched. It raises the daemon's errors inside of handlers, so StatusInterceptor
    has to come before it.
    """

    def __init__(
        self,
        gate: LeaseGate,
        table: CallTable,
        serializers: Mapping[str, Callable[[Any], bytes]] | None = None,
    ) -> None:
        self._gate = gate
        self._table = table
        self._serializers = serializers or {}
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the wrapped handler of one call. Runs on gRPC's own thread, before the request is read."""
        arrival_ns = time.monotonic_ns()
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(SERVICE):
            return handler
        if method in STAMPED:
            return self._wrap(handler, method, lambda: arrival_ns)
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = handler, self._wrap(handler, method, time.monotonic_ns)
        return known[1]

    def _wrap(self, handler: Handler, method: str, arrival_ns: Callable[[], int]) -> Handler:
        serializer = self._serializers.get(method, handler.response_serializer)
        codec = (handler.request_deserializer, serializer)
        if handler.unary_unary:
            single = self._single(handler.unary_unary, method, arrival_ns)
            return grpc.unary_unary_rpc_method_handler(single, *codec)
        if handler.unary_stream:
            many = self._many(handler.unary_stream, method, arrival_ns)
            return grpc.unary_stream_rpc_method_handler(many, *codec)
        both = self._many(cast(Any, handler.stream_stream), method, arrival_ns)
        return grpc.stream_stream_rpc_method_handler(both, *codec)

    def _single(
        self, behaviour: Callable[[Any, Any], Any], method: str, arrival_ns: Callable[[], int]
    ) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with _Passage(self._admit, self._table, CallContext(context, method, arrival_ns())) as entered:
                return behaviour(request, entered)

        return call

    def _many(self, behaviour: Callable[[Any, Any], Any], method: str, arrival_ns: Callable[[], int]) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _Passage(self._admit, self._table, CallContext(context, method, arrival_ns())) as entered:
                answers = behaviour(request, entered)
                with contextlib.closing(answers) if hasattr(answers, "close") else contextlib.nullcontext():
                    for answer in answers:
                        if entered.cut_error is not None:
                            break
                        yield answer

        return call

    def _admit(self, call: CallContext) -> None:
        def enter(lease: Lease | None) -> None:
            call.lease = lease
            self._table.enter(call)

        self._gate.admit(call.invocation_metadata() or (), reading=call.method in READING, enter=enter)


def cut_past_holders(table: CallTable, fence: int) -> None:
    """Cut the calls of holders with a lower fence and wait until they have ended."""

    def past(call: CallContext) -> bool:
        return call.lease is not None and call.lease.fence < fence and call.method not in READING

    error = LeaseFenced(
        f"The board has a new holder (fence {fence}), so this call was cut off; reserve the board again.",
        metadata={"highest_fence": fence},
    )
    if table.cut(past, error):
        table.wait(past, END_GRACE_S + 1.0)


def drain(table: CallTable, limit_s: float) -> None:
    """Refuse new calls, wait for those that end by themselves, then cut the rest off and see them end."""
    refusal = ShuttingDown("The daemon is shutting down; call again when it is back.", retry_delay_s=5.0)
    table.refuse(refusal)
    table.wait(lambda call: call.method not in ENDLESS, limit_s)
    table.cut(lambda call: True, refusal)
    table.wait(lambda call: True, END_GRACE_S + 1.0)
