"""A broker over MQTT: topics subscribed to, messages handed over with the time of their arrival, commands published.

aiomqtt runs in an event loop in a thread of its own, so that a message is stamped when it comes, whatever the host is doing.
A connection that breaks is built up again for a while: a meter that counts loses nothing by that.

Source: OASIS MQTT Version 3.1.1, 3.1.2.5 (will), 3.2.2.3 (return codes of CONNACK), 3.3.1.3 (RETAIN), 3.9.3 (SUBACK).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from power.errors import LinkLost, MeterUnavailable, PowerError
from power.options import Options
from power.timebase import HOST_TIME, Timebase

if TYPE_CHECKING:
    import aiomqtt

PORT, TLS_PORT = 1883, 8883
TIMEOUT_S = 5.0
RECONNECT_S = 10.0
RETRY_S = 0.25
KEEPALIVE_S = 15
AT_ONCE = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Two short messages in a row do not wait for the first one's acknowledgement, which takes 40 ms."""
NO_PERMISSION = (4, 5, 134, 135)
"""Return codes "bad user name or password" and "not authorized", of MQTT 3.1.1 and as paho translates them to 5.0."""
SUBSCRIPTION_REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and how it lets one in.

    password_env   name of the environment variable with the password: it does not belong into farm.toml
    ca_file        certificates to trust instead of the system's
    cert_file, key_file   the client's own certificate, where the broker wants one
    """

    host: str
    port: int = PORT
    username: str | None = None
    password_env: str | None = None
    has_tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def from_options(cls, options: Options) -> Self:
        """Take broker ("host:1883"), username, password_env, tls, ca_file, cert_file and key_file."""
        has_tls = options.flag("tls")
        host, port = _host_and_port(options, TLS_PORT if has_tls else PORT)
        texts = {
            key: options.text(key) if key in options else None
            for key in ("username", "password_env", "ca_file", "cert_file", "key_file")
        }
        if texts["password_env"] and not texts["username"]:
            options.fail("password_env needs a username too")
        if not has_tls and (texts["ca_file"] or texts["cert_file"]):
            options.fail("ca_file and cert_file need tls = true")
        return cls(host, port, has_tls=has_tls, **texts)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def password(self) -> str | None:
        """Read the password; None without one. Raises MeterUnavailable if its variable is not set."""
        if self.password_env is None:
            return None
        if self.password_env not in os.environ:
            raise MeterUnavailable(
                f"The password for the broker '{self.address}' should be in the environment variable {self.password_env}, "
                "which is not set; export it."
            )
        return os.environ[self.password_env]

    def tls(self) -> ssl.SSLContext | None:
        """Make the TLS settings; None without TLS. Raises MeterUnavailable if a file cannot be used."""
        if not self.has_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise MeterUnavailable(
                f"The certificates for the broker '{self.address}' cannot be used ({_one_line(error)}); check ca_file, cert_file "
                "and key_file in farm.toml."
            ) from None
        return context


@dataclass(frozen=True, slots=True)
class Message:
    """What came.

    arrival_ns    when, on the timebase's clock
    is_retained   the broker had kept it: it says how things were, at a time nobody knows
    """

    topic: str
    payload: bytes
    arrival_ns: int
    is_retained: bool = False


class MqttLine:
    """A connection to a broker. `received` counts the messages that have come, `taken` those that were handed over.

    Raises MeterUnavailable from `__init__` if the broker cannot be reached or does not let one in, LinkLost from the others if
    it is gone and does not come back within `reconnect_s`. `will` is what the broker publishes, retained, if this line breaks.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        *,
        timebase: Timebase = HOST_TIME,
        timeout_s: float = TIMEOUT_S,
        reconnect_s: float = RECONNECT_S,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        try:
            import aiomqtt
        except ModuleNotFoundError:
            raise MeterUnavailable(
                f"Reading from the broker '{broker.address}' needs aiomqtt; run pip install 'wattfarm[mqtt]'."
            ) from None
        self._mqtt = aiomqtt
        self.broker, self._topics, self._timebase = broker, tuple(topics), timebase
        self._timeout_s, self._reconnect_s, self._will = timeout_s, reconnect_s, will
        self._password, self._tls = broker.password(), broker.tls()
        self.received = self.taken = 0
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._errors: list[PowerError] = []
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled, self._is_up = threading.Event(), threading.Event()
        # paho needs readers and writers, which Windows' default loop has not. What goes wrong is told by `receive` and `publish`,
        # once; asyncio would write it to stderr besides.
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._run, name="mqtt-line", daemon=True)
        self._thread.start()
        self._settled.wait()
        if self._errors:
            self._thread.join()
            raise self._gone()

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message; None if none comes within `timeout_s` of real time (0: if none is there)."""
        try:
            message = self._queue.get(timeout=timeout_s) if timeout_s > 0.0 else self._queue.get_nowait()
        except queue.Empty:
            return None
        if message is None:
            self._queue.put(None)  # whoever asks again hears it again
            raise self._gone()
        self.taken += 1
        return message

    def listen(self, timeout_s: float) -> Iterator[Message]:
        """Yield what comes within `timeout_s` of real time."""
        until_s = time.monotonic() + timeout_s
        while (message := self.receive(max(0.0, until_s - time.monotonic()))) is not None:
            yield message

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish; waits while the connection is being built up again."""
        until_s = time.monotonic() + self._reconnect_s + self._timeout_s
        while True:
            if not self._is_up.wait(max(0.0, until_s - time.monotonic())) or not self._thread.is_alive():
                raise self._gone()
            try:
                return self._sent(self._publish(topic, payload, retain))
            except (self._mqtt.MqttError, TimeoutError) as error:
                if time.monotonic() > until_s or self._reconnect_s == 0.0:
                    raise LinkLost(
                        f"The broker '{self.broker.address}' does not take '{topic}' ({_one_line(error)}); check it and the net."
                    ) from None
                time.sleep(RETRY_S)  # the connection broke just now, and is being built up again

    def _sent(self, publishing: Coroutine[None, None, None]) -> None:
        try:
            sent: Future[None] = asyncio.run_coroutine_threadsafe(publishing, self._loop)
        except RuntimeError:  # the loop has ended
            publishing.close()
            raise self._gone() from None
        until_s = time.monotonic() + self._timeout_s
        while True:
            try:
                return sent.result(RETRY_S)
            except CancelledError:
                raise self._gone() from None
            except TimeoutError:
                if not self._thread.is_alive():
                    raise self._gone() from None
                if time.monotonic() > until_s:
                    raise

    def close(self) -> None:
        """Take leave of the broker. Never raises; harmless twice."""
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()

    def cut(self) -> None:
        """Break the connection without taking leave, as a power cut does: the broker publishes the will."""
        client = self._client
        line = None if client is None else client._client.socket()
        if isinstance(line, socket.socket):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _gone(self) -> PowerError:
        return (
            self._errors[0]
            if self._errors
            else LinkLost(f"The line to the broker '{self.broker.address}' was closed.")
        )

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        with (
            asyncio.Runner(loop_factory=lambda: self._loop) as runner,
            contextlib.suppress(asyncio.CancelledError),
        ):
            runner.run(self._serve())
        self._queue.put(None)
        self._is_up.set()
        self._settled.set()

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        give_up_s = 0.0
        while True:
            try:
                await self._connected()
            except (self._mqtt.MqttError, OSError) as error:
                if self._is_up.is_set():
                    self._is_up.clear()
                    give_up_s = time.monotonic() + self._reconnect_s
                if time.monotonic() >= give_up_s:
                    self._errors.append(self._failure(error))
                    return
            except PowerError as error:
                self._errors.append(error)
                return
            await asyncio.sleep(min(RETRY_S, max(0.0, give_up_s - time.monotonic())))

    async def _connected(self) -> None:
        """Connect, subscribe, and take messages until the connection breaks."""
        will = None if self._will is None else self._mqtt.Will(*self._will, qos=1, retain=True)
        broker = self.broker
        client = self._mqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=self._password,
            tls_context=self._tls,
            timeout=self._timeout_s,
            keepalive=KEEPALIVE_S,
            socket_options=AT_ONCE,
            will=will,
        )
        async with client:
            for topic in self._topics:
                granted = await client.subscribe(topic)
                if any(getattr(code, "value", code) >= SUBSCRIPTION_REFUSED for code in granted):
                    raise MeterUnavailable(
                        f"The broker '{broker.address}' does not let {_user(broker)} subscribe to '{topic}'; permit it there."
                    )
            self._client = client
            self._is_up.set()
            self._settled.set()
            async for message in client.messages:
                self._take(message)

    def _take(self, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
        self._queue.put(Message(str(message.topic), payload, self._timebase.now_ns(), bool(message.retain)))
        self.received += 1

    async def _publish(self, topic: str, payload: bytes | str, retain: bool) -> None:
        if self._client is not None:
            await self._client.publish(topic, payload, retain=retain)

    def _failure(self, error: BaseException) -> PowerError:
        address, why = self.broker.address, _one_line(error)
        code = getattr(error, "rc", None)
        if getattr(code, "value", code) in NO_PERMISSION:
            return MeterUnavailable(
                f"The broker '{address}' does not let {_user(self.broker)} in ({why}); correct username and password_env in "
                "farm.toml."
            )
        if self._settled.is_set():
            return LinkLost(
                f"The broker '{address}' is gone ({why}) and did not come back within {self._reconnect_s:g} s; check broker and "
                "network."
            )
        return MeterUnavailable(
            f"The broker '{address}' cannot be reached ({why}); check that it runs, its address, and whether it speaks TLS."
        )


def _host_and_port(options: Options, default: int) -> tuple[str, int]:
    text = options.text("broker").strip()
    bare = text.removeprefix("mqtts://").removeprefix("mqtt://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or bare.endswith("]") or (":" in host.strip("[]") and not bare.startswith("[")):
        host, port = bare, str(default)  # no port: a name, or an IPv6 address without brackets
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        options.fail(f'broker must be "host:port" such as "10.0.0.2:1883", not {text!r}')
    return host.strip("[]"), int(port)


def _user(broker: Broker) -> str:
    return "anybody without a user name" if broker.username is None else f"the user '{broker.username}'"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
