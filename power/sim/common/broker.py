"""A real MQTT broker in this process, for simulated plugs: amqtt, in a thread of its own.

It keeps no data and sends no statistics. `stop` cuts every connection, as a broker does that is switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from power.errors import MeterUnavailable
from power.sim.common.base import Served

START_S = 10.0
STOP_S = 0.5
PLUGIN = "power.sim.common.brokerauth.Users"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a broker.

    users      name → password; None lets everybody in
    cert, key  PEM files of its certificate and key: it speaks TLS then
    """

    users: Mapping[str, str] | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass
class MqttBroker(Served):
    """Listens on the loopback; it may be started again on its port.

    Raises MeterUnavailable from `start` if amqtt is not installed or the port is taken.
    """

    port: int = 0
    access: Access = field(default_factory=Access)

    def start(self) -> None:
        """Begin to serve; port 0 takes any, and keeps it."""
        try:
            import amqtt.broker  # noqa: F401
        except ModuleNotFoundError:
            raise MeterUnavailable(
                "A simulated plug needs a broker; run pip install 'wattfarm[sim]'."
            ) from None
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._is_wanted = asyncio.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sim-broker", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_S) or self._error is not None:
            raise MeterUnavailable(
                f"The simulated plugs' broker cannot listen on 127.0.0.1:{self.port} ({self._error}); choose another port."
            )

    def stop(self) -> None:
        """Cut all connections and stop listening. Harmless twice."""
        with contextlib.suppress(RuntimeError, AttributeError):  # ended, or never started
            self._loop.call_soon_threadsafe(self._is_wanted.set)
            self._thread.join()

    @property
    def address(self) -> str:
        """What `broker` in farm.toml is."""
        return f"127.0.0.1:{self.port}"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except Exception as error:  # told in `start`, by whose caller it is seen
                self._error = error
        self._ready.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        broker = Broker(self._settings())
        broker._subscriptions = _Steady(broker._subscriptions)
        broker._retained_messages = _Steady(broker._retained_messages)
        await broker.start()
        try:
            self.port = self._listening(broker)
            self._ready.set()
            await self._is_wanted.wait()
        finally:
            await _shut_down(broker)

    def _settings(self) -> dict[str, Any]:
        listener: dict[str, Any] = {"type": "tcp", "bind": self.address}
        if self.access.cert is not None:
            listener |= {"ssl": True, "certfile": str(self.access.cert), "keyfile": str(self.access.key)}
        users = self.access.users
        anonymous = "amqtt.plugins.authentication.AnonymousAuthPlugin"
        plugins: dict[str, Any] = (
            {anonymous: {"allow_anonymous": True}} if users is None else {PLUGIN: {"users": dict(users)}}
        )
        return {"listeners": {"default": listener}, "plugins": plugins}

    @staticmethod
    def _listening(broker: Any) -> int:
        """Return the port that the system gave."""
        port: int = broker._servers["default"].instance.sockets[0].getsockname()[1]
        return port


class _Steady(dict[Any, Any]):
    """A dictionary that may change while somebody goes through it: amqtt awaits inside of such loops."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(super().keys()))

    def items(self) -> Any:
        """Return the items of now."""
        return list(super().items())


async def _shut_down(broker: Any) -> None:
    """End a broker, and every connection to it.

    amqtt waits for ever for a connection whose reader had not begun yet; it forgets that one and can be asked again.
    """
    handlers = [handler for _, handler in broker._sessions.values()]
    for _ in range(len(handlers) + 1):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(broker.shutdown(), STOP_S)
            break
    for handler in handlers:
        if handler.writer is not None:
            handler.writer._writer.transport.abort()
    await asyncio.sleep(0)  # so that the transports close before the loop does
