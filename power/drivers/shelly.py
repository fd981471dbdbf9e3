"""Shelly plugs and relays with power metering, over a broker.

First generation: `<topic>/relay/0/power` in W and `/energy` in watt-minutes, sent by itself and after `<topic>/command` update.
Later ones: `<topic>/status/switch:0` and `<topic>/events/rpc` (NotifyStatus, what has changed only), and answers to the RPC
Switch.GetStatus; apower in W, aenergy.total in Wh.

Source: Shelly API reference, "Gen1 Device API" (MQTT: relay and meter topics, commands, announce) and "Gen2+ Device API" (MQTT
channel, Notifications, RPC protocol, components Switch and PM1, Shelly.GetDeviceInfo).

How often a counter is renewed is not documented; a minute, the rhythm of its notifications, is assumed (update_s).
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from typing import Self

from power.drivers.common.base import SIMULATED_SERIAL, PushedInstrument
from power.drivers.common.readings import Rising, document, member, reading, step_of, text_or_none, topic_of
from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, PowerError, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Ticker, Timebase
from power.trace import Reading
from power.transports.mqtt import RECONNECT_S, Broker, Message, MqttLine

J_PER_WATT_MINUTE, J_PER_WH = 60.0, 3600.0
UPDATE_S = 60.0
POWER_AGE_S = 1.0
"""A power is averaged and renewed about once a second: its middle lies so long ago, ± as much."""
ANSWER_S = 3.0
UNASKED_SILENCE_S = 200.0
METHODS = {"switch": "Switch.GetStatus", "pm1": "PM1.GetStatus"}


class Shelly(PushedInstrument):
    """One channel of a device. Its energy counter is read, or its power.

    Whatever it sends by itself is taken; it is asked every `interval_s` besides (0: never, for an account that may only listen).
    """

    driver = "shelly"
    scope: Scope = "wall"

    check_text = "that the plug is on, in reach of its network, and publishes there"

    def __init__(
        self,
        broker: Broker,
        topic: str,
        timebase: Timebase,
        *,
        channel: int = 0,
        component: str = "switch",
        is_first: bool = False,
        reads_power: bool = False,
        interval_s: float = 2.0,
        update_s: float = UPDATE_S,
        answer_s: float = ANSWER_S,
        line: MqttLine | None = None,
    ) -> None:
        """`is_first`: of the first generation; `line` is for tests."""
        self._broker, self._topic, self._timebase = broker, topic, timebase
        self._channel, self._component, self._is_first = channel, component, is_first
        self._reads_power, self._ask_s, self._answer_s = reads_power, interval_s, answer_s
        self._given, self._line = line, line
        self._name = f"wattfarm-{secrets.token_hex(4)}"
        self._rising, self._questions = Rising(), 0
        self._answered = threading.Condition()
        self._answers = 0
        self._ticker: Ticker | None = None
        self._step: float | None = None
        self.update_s = None if reads_power else update_s
        self.step_j = None if reads_power or not is_first else J_PER_WATT_MINUTE
        # A count is up to one renewal old: half of one on average, the rest is the counter's age, a part of its own. Where only
        # notifications come, they come just when it is renewed.
        self._late_s = POWER_AGE_S if reads_power else 0.5 * update_s if interval_s else 0.0
        self.time_bound_s = POWER_AGE_S if reads_power else 0.0
        self.silence_s = max(10.0, 3.0 * interval_s) if interval_s else UNASKED_SILENCE_S

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take broker and its access, topic, channel, component, generation, read, interval_s and update_s."""
        broker, topic = Broker.from_options(options), topic_of(options)
        generation = options.integer("generation", 1 if topic.startswith("shellies/") else 2, low=1, high=4)
        component = options.choice("component", tuple(METHODS), "switch")
        if generation == 1 and component != "switch":
            options.fail(f"component = '{component}' is for devices from the second generation on")
        return cls(
            broker,
            topic,
            timebase,
            channel=options.integer("channel", 0, low=0, high=7),
            component=component,
            is_first=generation == 1,
            reads_power=options.choice("read", ("energy", "power"), "energy") == "power",
            interval_s=options.number("interval_s", 2.0, low=0.0, high=3600.0),
            update_s=options.number("update_s", UPDATE_S, above=0.0, high=3600.0),
        )

    @property
    def reading(self) -> Reading:
        """A counter, or powers as they are."""
        return "instantaneous" if self._reads_power else "counter"

    @property
    def source_text(self) -> str:
        """Topic and broker."""
        return f"under the topic '{self._topic}' of the broker '{self._broker.address}'"

    @property
    def interval_s(self) -> float | None:
        """How often it is asked; it sends more when something changes."""
        return self._ask_s or None

    @property
    def setup_text(self) -> str | None:
        """Which of its outputs it is."""
        return f"{self._component} {self._channel}"

    @property
    def resolution_w(self) -> float | None:
        """The step of the power."""
        return self._step if self._reads_power else None

    @property
    def tail_s(self) -> float:
        """Until it is asked again, or sends by itself, and what a reading is late."""
        return self._late_s + (2.0 * self._ask_s if self._ask_s else UPDATE_S + 5.0)

    def accuracy(self, voltage_v: float | None) -> None:
        """Return nothing: it depends on the model, so farm.toml has to say."""

    def connect(self) -> Identity:
        """Reach the broker, ask the device what it is, and see whether it measures."""
        line = self._line = self._given or MqttLine(
            self._broker, self._heard(), timebase=self._timebase, reconnect_s=RECONNECT_S
        )
        try:
            if not self._ask_s:
                self._await_anything(line)
                return Identity("Shelly")
            line.publish(*self._question("Shelly.GetDeviceInfo"))
            info = self._await_info(line)
            line.publish(*self._question(METHODS[self._component]))
            self._await_reading(line, info)
        except BaseException:  # Ctrl-C too must not leave the line open
            self.disconnect()
            raise
        firmware = text_or_none(member(info, "fw_ver" if self._is_first else "ver"))
        simulated = str(member(info, "id")).startswith(SIMULATED_SERIAL)
        return Identity(
            "Shelly",
            text_or_none(member(info, "model")),
            text_or_none(member(info, "mac")),
            firmware,
            simulated,
        )

    def begin(self) -> None:
        """Forget what came before, ask at once, and again and again."""
        line = self._connected
        while line.receive(0.0) is not None:
            pass
        self._rising = Rising()
        if self._ask_s:
            line.publish(*self._question(METHODS[self._component]))
            self._ticker = self._timebase.every(self._ask_s, self._ask)

    def receive(self, timeout_s: float) -> Sequence[Sample]:
        """Return the readings among the messages that came."""
        line, samples = self._connected, []
        message = line.receive(timeout_s)
        while message is not None:
            sample = self._sample(message)
            if sample is not None:
                samples.append(sample)
            message = line.receive(0.0)
        return samples

    def end(self) -> None:
        """Ask no more."""
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def make_safe(self) -> None:
        """Nothing was changed."""

    def disconnect(self) -> None:
        """Leave the broker."""
        self.end()
        if self._line is not None:
            self._line.close()
            self._line = None

    @property
    def _connected(self) -> MqttLine:
        if self._line is None:
            raise NoReading(f"The device '{self._topic}' was not connected.")
        return self._line

    @property
    def _where(self) -> str:
        return f"The device '{self._topic}' at the broker '{self._broker.address}'"

    @property
    def _key(self) -> str:
        return f"{self._component}:{self._channel}"

    def _heard(self) -> list[str]:
        if self._is_first:
            relay = f"{self._topic}/relay/{self._channel}"
            return [f"{relay}/power", f"{relay}/energy", f"{self._topic}/online", f"{self._topic}/announce"]
        names = (f"status/{self._key}", "events/rpc", "online")
        return [f"{self._name}/rpc", *(f"{self._topic}/{name}" for name in names)]

    def _question(self, method: str) -> tuple[str, str]:
        """Return topic and payload that ask for something."""
        if self._is_first:
            return f"{self._topic}/command", "announce" if method == "Shelly.GetDeviceInfo" else "update"
        self._questions += 1
        asked: dict[str, object] = {"id": self._questions, "src": self._name, "method": method}
        if method != "Shelly.GetDeviceInfo":
            asked["params"] = {"id": self._channel}
        return f"{self._topic}/rpc", json.dumps(asked)

    def _ask(self) -> bool:
        """Ask, and wait for the answer, so that questions do not pile up."""
        before = self._answers
        try:
            self._connected.publish(*self._question(METHODS[self._component]))
        except PowerError:
            return False  # `receive` tells it
        with self._answered:
            self._answered.wait_for(lambda: self._answers > before, self._answer_s)
        return True

    def _await_anything(self, line: MqttLine) -> None:
        for message in line.listen(self.silence_s):
            self._heed(message)
            if not message.is_retained:
                return
        raise self._nothing()

    def _await_info(self, line: MqttLine) -> object:
        """Return what the device says it is; None where it only sends readings."""
        found_any = False
        for message in line.listen(self._answer_s):
            self._heed(message)
            found_any = found_any or not message.is_retained
            info = None
            if message.topic == f"{self._topic}/announce":
                info = document(message.payload, self._where)
            elif message.topic == f"{self._name}/rpc":
                info = self._result(message)
            if info is not None:
                return info
        if not found_any:
            raise self._nothing()
        return None

    def _await_reading(self, line: MqttLine, info: object) -> None:
        for message in line.listen(self._answer_s):
            sample = self._sample(message)
            if sample is not None and (sample.power_w if self._reads_power else sample.energy_j) is not None:
                return
        model, what = member(info, "model") or "device", "power" if self._reads_power else "energy"
        raise WrongInstrument(
            f"'{self._topic}' at the broker '{self._broker.address}' is a {model} that tells no {what} of {self._key}; choose "
            "another device, channel or component in farm.toml."
        )

    def _nothing(self) -> MeterUnavailable:
        return MeterUnavailable(
            f"Nothing comes from '{self._topic}' at the broker '{self._broker.address}'; check topic and generation in "
            "farm.toml, that the device is on, and that its MQTT goes to this broker."
        )

    def _heed(self, message: Message) -> None:
        if message.topic == f"{self._topic}/online" and message.payload == b"false":
            raise LinkLost(f"{self._where} is offline; check its power and its network.")

    def _result(self, message: Message) -> object:
        """Return the result in an answer to the last question; None if it is to an earlier one."""
        answer = document(message.payload, self._where)
        if member(answer, "id") != self._questions:
            return None
        refusal = member(answer, "error")
        if refusal is not None:
            said = member(refusal, "message") or refusal
            raise InstrumentError(
                f"{self._where} refuses ({str(said)[:80]}); check component and channel in farm.toml."
            )
        return member(answer, "result")

    def _sample(self, message: Message) -> Sample | None:
        """Return the reading in a message; None where it is about something else, or older than it came."""
        self._heed(message)
        if message.is_retained:
            return None
        time_ns = message.arrival_ns - round(self._late_s * 1e9)
        if self._is_first:
            return self._first_sample(message, time_ns)
        if message.topic == f"{self._name}/rpc":
            fields = self._result(message)
            self._note_answer()
            return None if fields is None else self._fields_sample(fields, time_ns)
        found = document(message.payload, self._where)
        if message.topic == f"{self._topic}/events/rpc":
            found = (
                member(found, "params", self._key)
                if member(found, "method") in ("NotifyStatus", "NotifyFullStatus")
                else None
            )
        # What has not changed is not told: no news is no lost reading.
        sample = self._fields_sample(found, time_ns)
        return None if sample.power_w is None and sample.energy_j is None else sample

    def _first_sample(self, message: Message, time_ns: int) -> Sample | None:
        is_power = message.topic.endswith("/power")
        if is_power != self._reads_power or not message.topic.endswith(("/power", "/energy")):
            return None
        text = message.payload.decode("utf-8", "replace")
        value = reading(text, message.topic.rpartition("/")[2], self._where)
        sample = Sample(time_ns)
        if value is not None and is_power:
            self._note_step(10.0 ** -len(text.strip().partition(".")[2]))
            sample = Sample(time_ns, power_w=value)
        elif value is not None:
            sample = Sample(time_ns, energy_j=self._rising.checked(value * J_PER_WATT_MINUTE, self._where))
        self._note_answer()
        return sample

    def _fields_sample(self, fields: object, time_ns: int) -> Sample:
        power, energy = member(fields, "apower"), member(fields, "aenergy", "total")
        power_w, energy_wh = (
            reading(power, "apower", self._where),
            reading(energy, "aenergy.total", self._where),
        )
        step = step_of(power if self._reads_power else energy)
        if step is not None:
            self._note_step(step)
        return Sample(
            time_ns,
            power_w=power_w if self._reads_power else None,
            voltage_v=reading(member(fields, "voltage"), "voltage", self._where),
            current_a=reading(member(fields, "current"), "current", self._where),
            energy_j=None
            if energy_wh is None or self._reads_power
            else self._rising.checked(energy_wh * J_PER_WH, self._where),
        )

    def _note_step(self, step: float) -> None:
        self._step = step if self._step is None else min(step, self._step)
        if not self._reads_power and not self._is_first:
            self.step_j = self._step * J_PER_WH

    def _note_answer(self) -> None:
        with self._answered:
            self._answers += 1
            self._answered.notify_all()
