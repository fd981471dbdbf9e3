"""Puts the daemon together: services, interceptors, health, reflection, and an orderly end."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from farm.v1 import device_service_pb2, device_service_pb2_grpc, stats_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from farmd import stats, tls
from farmd.cache import ModelCache
from farmd.calls import SERVICE, THREADS, CallInterceptor, CallTable, cut_past_holders, drain
from farmd.config import Address, Config
from farmd.errors import StartRefused, TooManyCalls
from farmd.gate import FenceStore, LeaseGate, Verify, accept_unsigned
from farmd.sensors import Sensors
from farmd.services.board import BoardCalls, stamped
from farmd.services.models import ModelCalls
from farmd.status import StatusInterceptor
from farmd.supervisor import Supervisor

FENCE_FILE = "fence.json"
CACHE_DIRECTORY = "models"
DEVICE_SERVICE = device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"].full_name
REFLECTION_PREFIX = "/grpc.reflection."
MAX_REFLECTIONS = 8
STOP_GRACE_S = 1.0
PING_AFTER_MS = 20_000
"""A client that was silent for so long is pinged: one that vanished must not hold the board."""
PING_TIMEOUT_MS = 10_000


class DeviceServicer(ModelCalls, BoardCalls, device_service_pb2_grpc.DeviceServiceServicer):
    """farm.v1.DeviceService: the calls about models and those about the board."""

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        sensors: Sensors,
        cache: ModelCache,
        gate: LeaseGate,
        instance_id: str,
    ) -> None:
        def snapshot() -> stats_pb2.BoardStats:
            return stats.snapshot(config.system_root, supervisor.workers(), sensors.roots())

        ModelCalls.__init__(self, config, supervisor, cache, snapshot)
        BoardCalls.__init__(
            self,
            config,
            instance_id=instance_id,
            fence=lambda: gate.fence,
            health=supervisor.health,
            runtimes=supervisor.runtimes,
            workers=supervisor.workers,
            sensors=sensors.roots,
        )


class Health(health.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """grpc.health.v1 for the daemon and its service; each check asks anew whether the board is healthy."""

    def __init__(self, is_healthy: Callable[[], bool]) -> None:
        # Watch goes by callbacks: a watcher takes no thread.
        super().__init__(
            experimental_non_blocking=True,
            experimental_thread_pool=futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="health"),
        )
        self._is_healthy = is_healthy
        self._is_draining = False
        self._told: bool | None = None
        self.refresh()

    def refresh(self) -> None:
        """Tell watchers what holds now, if it is news."""
        serving = self._is_healthy()
        if serving != self._told and not self._is_draining:
            self._told = serving
            status = (
                health_pb2.HealthCheckResponse.SERVING
                if serving
                else health_pb2.HealthCheckResponse.NOT_SERVING
            )
            for name in ("", DEVICE_SERVICE):
                self.set(name, status)

    def drain(self) -> None:
        """Say NOT_SERVING from now on, whatever happens."""
        self._is_draining = True
        self.enter_graceful_shutdown()

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer with what holds at this moment."""
        self.refresh()
        return super().Check(request, context)


class LazyReflection(grpc.GenericRpcHandler):
    """Server reflection, imported by the first client that asks: an idle board should not carry it."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a reflection call, None for any other."""
        if not handler_call_details.method.startswith(REFLECTION_PREFIX):
            return None
        if self._handlers is None:
            self._handlers = _reflection_handlers()
        return self._handlers.get(handler_call_details.method)


def _reflection_handlers() -> dict[str, Any]:
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    names = (DEVICE_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    servicer = reflection.ReflectionServicer(names)
    free = threading.Semaphore(MAX_REFLECTIONS)

    def reflect(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        if not free.acquire(blocking=False):
            raise TooManyCalls(
                f"The board answers {MAX_REFLECTIONS} reflection streams at once; try again later.",
                retry_delay_s=1.0,
            )
        try:
            yield from servicer.ServerReflectionInfo(requests, context)
        finally:
            free.release()

    return {
        f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            reflect,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
    }


def options(config: Config) -> list[tuple[str, int]]:
    """Return gRPC's settings: message limits, pings that find vanished clients, a port for us alone."""
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.so_reuseport", 0),  # gRPC's default would let a second daemon share the port silently
        ("grpc.keepalive_time_ms", PING_AFTER_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        (
            "grpc.http2.ping_timeout_ms",
            PING_TIMEOUT_MS,
        ),  # the one that counts for a call with traffic; 60 s else
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # what clients may ping us with
    ]


class Daemon:
    """One daemon on one state directory. `start` serves, `stop` drains; the caller holds the directory's lock."""

    def __init__(self, config: Config, *, verify: Verify = accept_unsigned) -> None:
        self.config = config
        self.instance_id = str(uuid.uuid4())
        self.address = config.listen
        self.table = CallTable()
        self.supervisor = Supervisor(config)
        self.sensors = Sensors(config)
        self.gate = LeaseGate(
            FenceStore(config.state_dir / FENCE_FILE),
            required=config.lease.required,
            verify=verify,
            on_new_holder=self._hand_over,
        )
        self._health: Health | None = None
        self._server: grpc.Server | None = None

    def _hand_over(self, fence: int) -> None:
        """End what past holders left, before the first call of the new one: running calls, then loaded models."""
        cut_past_holders(self.table, fence)
        self.supervisor.end_before(fence)

    def start(self) -> Address:
        """Bind and serve; returns `address`, with the port the kernel chose. Raises StartRefused."""
        credentials = _credentials(self.config)
        try:
            self.supervisor.start()
            cache = ModelCache(
                self.config.state_dir / CACHE_DIRECTORY,
                limit_bytes=self.config.cache_bytes,
                max_model_bytes=self.config.max_model_bytes,
            )
        except OSError as error:
            raise StartRefused(
                f"The state directory {self.config.state_dir} cannot be used ({error.strerror}: {error.filename}); "
                "make it writable for this user."
            ) from None
        self._server = self._build(cache)
        self.address = _bind(self._server, self.config.listen, credentials)
        self.sensors.start()
        self._server.start()
        return self.address

    def stop(self, drain_s: float | None = None) -> None:
        """Drain, then end calls, workers and server. `drain_s` None means the configured time."""
        if self._health is not None:
            self._health.drain()
        drain(self.table, self.config.drain_s if drain_s is None else drain_s)
        self.supervisor.stop(0.0)
        self.sensors.stop()
        if self._server is not None:
            self._server.stop(STOP_GRACE_S).wait()

    def _build(self, cache: ModelCache) -> grpc.Server:
        serializers = {f"{SERVICE}SyncClock": stamped}
        server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call"),
            interceptors=[StatusInterceptor(), CallInterceptor(self.gate, self.table, serializers)],
            options=options(self.config),
        )
        servicer = DeviceServicer(
            self.config, self.supervisor, self.sensors, cache, self.gate, self.instance_id
        )
        device_service_pb2_grpc.add_DeviceServiceServicer_to_server(servicer, server)
        self._health = Health(lambda: self.supervisor.health()[0])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.supervisor.on_health_change = lambda _healthy: self._health.refresh() if self._health else None
        server.add_generic_rpc_handlers((LazyReflection(),))
        return server


def check(config: Config) -> None:
    """Check what only the files tell: certificates, and TLS where others can reach the daemon. Raises StartRefused."""
    _credentials(config)


def _credentials(config: Config) -> grpc.ServerCredentials | None:
    if config.tls is not None:
        return tls.credentials(config.tls)
    if config.listen.is_loopback:
        return None
    raise StartRefused(
        f"farmd refuses to listen on {config.listen} without TLS, since others can reach it there; set tls.cert and "
        "tls.key in farmd.toml, or listen on 127.0.0.1."
    )


def _bind(server: grpc.Server, listen: Address, credentials: grpc.ServerCredentials | None) -> Address:
    _try_bind(listen)
    where = str(listen)
    try:
        port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    except RuntimeError as error:
        raise _unbindable(listen, str(error)) from None
    return Address(listen.host, port)


def _try_bind(listen: Address) -> None:
    """Bind for a moment: the kernel says what is wrong, gRPC only that something is."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        raise _unbindable(listen, error.strerror or str(error)) from None


def _unbindable(listen: Address, why: str) -> StartRefused:
    return StartRefused(
        f"farmd cannot listen on {listen} ({why}); stop what uses the port (see 'ss -ltnp') or choose another address "
        "with --listen."
    )


@contextlib.contextmanager
def serving(
    config: Config, *, verify: Verify = accept_unsigned, drain_s: float | None = None
) -> Iterator[Daemon]:
    """Serve in this process for the length of the block; `daemon.address` is where."""
    daemon = Daemon(config, verify=verify)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop(drain_s)
