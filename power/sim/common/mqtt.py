"""What simulated devices on a broker have in common: their connection, what they are asked, what they send by themselves."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Unpack

import numpy as np

from power.errors import PowerError
from power.sim.common.base import Settings, Simulator
from power.sim.common.broker import MqttBroker
from power.sim.common.load import Load
from power.sim.common.wattmeter import Wattmeter
from power.timebase import Ticker
from power.transports.mqtt import Broker, Message, MqttLine

GAIN, OFFSET_W = 0.01, 0.05
"""Limits of error of the specimens: plugs have no data sheet that would state any."""
SETTLE_S = 2.0
LISTEN_S = 0.05


class MqttSimulator(Simulator):
    """A device at `broker` ("host:port"; None: one of its own, on `port`).

    topic      what it is called there; "" is its `usual_topic`
    update_s   how often its values are renewed; what it sends by itself it sends then
    consumed   counts what the host has taken of what it sends by itself; None in real time, where nobody has to wait
    """

    takes_port = True
    supply_v = 230.0
    usual_topic: ClassVar[str]

    def __init__(
        self,
        load: Load,
        *,
        port: int = 0,
        broker: str | None = None,
        topic: str = "",
        update_s: float = 1.0,
        consumed: Callable[[], int] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        self.topic, self.update_s, self._consumed = topic or self.usual_topic, update_s, consumed
        self._own = MqttBroker(port) if broker is None else None
        self._address = broker
        self.meter = Wattmeter(
            load, self.timebase, self.faults, self.seed, gain=GAIN, offset_w=OFFSET_W, update_s=update_s
        )
        self.answers = self._pushes = 0
        self._before: dict[str, bytes] = {}
        self._line: MqttLine | None = None
        self._thread: threading.Thread | None = None
        self._ticker: Ticker | None = None
        self._is_over = threading.Event()

    def start(self) -> None:
        """Connect, and begin to serve."""
        if self._own is not None:
            self._own.start()
            self._address = self._own.address
        self._is_over.clear()
        host, _, port = str(self._address).rpartition(":")
        self._line = MqttLine(Broker(host, int(port)), self.heard, timebase=self.timebase, will=self.will)
        self._greet(self._line)
        self._thread = threading.Thread(target=self._serve, args=(self._line,), name="sim-mqtt", daemon=True)
        self._thread.start()
        self._ticker = self.timebase.every(self.update_s, self._push)

    def stop(self) -> None:
        """Be switched off: the connection breaks, and the broker publishes the will."""
        self._is_over.set()
        line, self._line = self._line, None
        if line is not None:  # first of all: whoever is publishing would wait for a broker that is gone
            line.cut()
            line.close()
        if self._ticker is not None:
            self._ticker.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
        if self._own is not None:
            self._own.stop()

    def settled(self) -> None:
        """Wait until the host has taken what was sent by itself."""
        if self._consumed is None:
            return
        until_s = time.monotonic() + SETTLE_S
        while self._consumed() < self._pushes and time.monotonic() < until_s:
            time.sleep(0.0002)

    @property
    def broker_address(self) -> str:
        """Where it is connected."""
        return str(self._address)

    @property
    def common_options(self) -> dict[str, object]:
        """Broker and topic, and the limits of error of its specimens."""
        accuracy = {"gain": GAIN, "offset_w": OFFSET_W, "resolution_w": 0.1}
        return {"broker": self.broker_address, "topic": self.topic, "accuracy": accuracy}

    @property
    @abstractmethod
    def heard(self) -> list[str]:
        """Topics on which it is asked."""

    @property
    @abstractmethod
    def will(self) -> tuple[str, bytes]:
        """What the broker publishes when it is gone."""

    @abstractmethod
    def online(self) -> tuple[str, bytes]:
        """Return what it publishes, retained, when it comes."""

    @abstractmethod
    def answer(self, message: Message) -> list[tuple[str, object]]:
        """Return topics and contents (texts, or what becomes JSON) that answer a question."""

    def pushed(self) -> list[tuple[str, object]]:
        """Return what it sends by itself at a renewal."""
        return []

    def _greet(self, line: MqttLine) -> None:
        topic, payload = self.online()
        line.publish(topic, payload, retain=True)

    def _serve(self, line: MqttLine) -> None:
        with contextlib.suppress(PowerError):  # cut off: there is nobody to tell
            while not self._is_over.is_set():
                message = line.receive(LISTEN_S)
                # amqtt hands what it keeps to whoever connects, asked for or not.
                if message is not None and message.topic in self.heard:
                    self._reply(line, message)

    def _reply(self, line: MqttLine, message: Message) -> None:
        self.answers += 1
        faults = self.faults
        if faults.is_cut(self.answers):
            self._is_over.set()
            line.cut()
            return
        if faults.is_silent(self.answers):
            return
        found = self.answer(message)
        if faults.delay_s:
            self.timebase.sleep(faults.delay_s)
        for topic, content in found:
            line.publish(topic, self._spoiled(topic, content))

    def _push(self) -> bool:
        line, faults = self._line, self.faults
        if line is None or self._is_over.is_set():
            return False
        if faults.silent_after and self.answers >= faults.silent_after:
            return True
        try:
            for topic, content in self.pushed():
                line.publish(topic, self._spoiled(topic, content))
                self._pushes += 1
        except PowerError:
            return False
        self.settled()
        return True

    def _spoiled(self, topic: str, content: object) -> bytes:
        payload = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        faults = self.faults
        if faults.is_garbage(self.answers):
            payload = np.random.default_rng(self.answers).bytes(40)
        if faults.is_stale:
            payload, self._before[topic] = self._before.get(topic, payload), payload
        return faults.cut_short(payload)
