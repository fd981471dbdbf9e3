"""Plugs with Tasmota firmware, asked over a broker: `cmnd/<topic>/Status` 8 is answered on `stat/<topic>/STATUS8`.

Source: Tasmota documentation, "MQTT" (topics, LWT), "Commands" (Status, FullTopic, EnergyRes, WattRes, TelePeriod) and "JSON
Status Responses" (StatusFWR, StatusNET, StatusSNS with ENERGY: Total in kWh, Power in W).

The firmware renews its values once a second; Total counts in the steps that EnergyRes shows, at best 0.01 Wh. What the plug sends
by itself (tele/<topic>/SENSOR every TelePeriod, 10 s at least) is too seldom to be of use here; its telemetry is heard for the
last will only.
"""

from __future__ import annotations

from typing import Self

from power.drivers.common.base import SIMULATED_SERIAL, PolledInstrument
from power.drivers.common.readings import Rising, document, member, reading, step_of, text_or_none, topic_of
from power.errors import LinkLost, MeterUnavailable, NoReading, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.mqtt import RECONNECT_S, Broker, Message, MqttLine

J_PER_KWH = 3.6e6
UPDATE_S = 1.0
ANSWER_S = 3.0
FIRMWARE, NETWORK, SENSORS = "2", "5", "8"
FULL_TOPIC = "%prefix%/%topic%/"


class Tasmota(PolledInstrument):
    """One plug. Its energy counter is read, or its power."""

    driver = "tasmota"
    scope: Scope = "wall"

    def __init__(
        self,
        broker: Broker,
        topic: str,
        timebase: Timebase,
        *,
        full_topic: str = FULL_TOPIC,
        reads_power: bool = False,
        interval_s: float = 2.0,
        update_s: float = UPDATE_S,
        answer_s: float = ANSWER_S,
        line: MqttLine | None = None,
    ) -> None:
        """`line` is for tests."""
        self._broker, self._topic, self._timebase = broker, topic, timebase
        self._full_topic, self._reads_power = full_topic, reads_power
        self._interval_s, self._answer_s = interval_s, answer_s
        self._given, self._line = line, line
        self._rising = Rising()
        self._step: float | None = None
        self.update_s = None if reads_power else update_s
        self.averaging_s = update_s if reads_power else None
        # A value is up to one renewal old: half of one on average. What a counter's age varies by is a part of its own.
        self._late_s = 0.5 * update_s
        self._bound_s = self.time_bound_s = self._late_s if reads_power else 0.0

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take broker and its access, topic, full_topic, read, interval_s and update_s."""
        full_topic = options.text("full_topic", FULL_TOPIC)
        if "%prefix%" not in full_topic or "%topic%" not in full_topic:
            options.fail(
                f"full_topic must hold %prefix% and %topic%, as {FULL_TOPIC} does, not {full_topic!r}"
            )
        return cls(
            Broker.from_options(options),
            topic_of(options),
            timebase,
            full_topic=full_topic.rstrip("/") + "/",
            reads_power=options.choice("read", ("energy", "power"), "energy") == "power",
            interval_s=options.number("interval_s", 2.0, low=0.5, high=3600.0),
            update_s=options.number("update_s", UPDATE_S, above=0.0, high=3600.0),
        )

    @property
    def reading(self) -> Reading:
        """A counter, or averages over a renewal."""
        return "average" if self._reads_power else "counter"

    @property
    def interval_s(self) -> float:
        """Time between questions."""
        return self._interval_s

    @property
    def tail_s(self) -> float:
        """Some readings, and what they are late."""
        return super().tail_s + self._late_s

    @property
    def resolution_w(self) -> float | None:
        """The step of the power, which WattRes sets."""
        return self._step if self._reads_power else None

    def accuracy(self, voltage_v: float | None) -> None:
        """Return nothing: it depends on the plug and on who calibrated it, so farm.toml has to say."""

    def connect(self) -> Identity:
        """Reach the broker, ask which firmware the plug has, and whether it measures."""
        heard = [self._named("stat", f"STATUS{which}") for which in (FIRMWARE, NETWORK, SENSORS)]
        heard.append(self._named("tele", "LWT"))
        line = self._line = self._given or MqttLine(
            self._broker, heard, timebase=self._timebase, reconnect_s=RECONNECT_S
        )
        try:
            firmware = self._first_answer()
            network = self._ask(NETWORK)[0]
            if self._values(self._ask(SENSORS)[0]) is None:
                raise WrongInstrument(
                    f"The plug '{self._topic}' at the broker '{line.broker.address}' tells no ENERGY: it does not measure; "
                    "choose another topic in farm.toml."
                )
        except BaseException:  # Ctrl-C too must not leave the line open
            self.disconnect()
            raise
        mac, version = member(network, "StatusNET", "Mac"), member(firmware, "StatusFWR", "Version")
        hardware, host = member(firmware, "StatusFWR", "Hardware"), member(network, "StatusNET", "Hostname")
        return Identity(
            "Tasmota",
            text_or_none(hardware),
            text_or_none(mac),
            text_or_none(version),
            str(host).startswith(SIMULATED_SERIAL),
        )

    def begin(self) -> None:
        """Let the counter begin anywhere."""
        self._rising = Rising()

    def read(self) -> Sample:
        """Ask for the sensors. A value that is missing is None."""
        asked_ns = self._timebase.now_ns()
        answer, arrival_ns = self._ask(SENSORS)
        self.time_bound_s = max(self.time_bound_s, self._bound_s + 0.5e-9 * (arrival_ns - asked_ns))
        values = self._values(answer) or {}
        power_w, energy_kwh, voltage_v, current_a = (
            reading(values.get(name), name, self._where) for name in ("Power", "Total", "Voltage", "Current")
        )
        step = step_of(values.get("Power" if self._reads_power else "Total"))
        if step is not None:
            self._step = step if self._step is None else min(step, self._step)
            self.step_j = None if self._reads_power else self._step * J_PER_KWH
        energy_j = None
        if energy_kwh is not None and not self._reads_power:
            energy_j = self._rising.checked(energy_kwh * J_PER_KWH, self._where)
        return Sample(
            (asked_ns + arrival_ns) // 2 - round(self._late_s * 1e9),
            power_w=power_w if self._reads_power else None,
            voltage_v=voltage_v,
            current_a=current_a,
            energy_j=energy_j,
        )

    def make_safe(self) -> None:
        """Nothing was changed."""

    def disconnect(self) -> None:
        """Leave the broker."""
        if self._line is not None:
            self._line.close()
            self._line = None

    @property
    def _where(self) -> str:
        return f"The plug '{self._topic}' at the broker '{self._broker.address}'"

    def _named(self, prefix: str, name: str) -> str:
        return self._full_topic.replace("%prefix%", prefix).replace("%topic%", self._topic) + name

    def _first_answer(self) -> object:
        try:
            return self._ask(FIRMWARE)[0]
        except LinkLost:
            raise
        except NoReading:
            raise MeterUnavailable(
                f"Nothing answers to '{self._named('cmnd', 'Status')}' at the broker '{self._broker.address}'; check topic in "
                "farm.toml, that the plug is on, and that it uses this broker."
            ) from None

    def _ask(self, which: str) -> tuple[object, int]:
        """Return an answer and when it came. Raises NoReading if none comes in time, LinkLost if the plug is off."""
        line = self._line
        if line is None:
            raise NoReading(f"The plug '{self._topic}' was not connected.")
        while (late := line.receive(0.0)) is not None:  # answers to earlier questions
            self._heed(late)
        line.publish(self._named("cmnd", "Status"), which)
        due = self._named("stat", f"STATUS{which}")
        for message in line.listen(self._answer_s):
            self._heed(message)
            if message.topic == due and not message.is_retained:
                return document(message.payload, self._where), message.arrival_ns
        raise NoReading(
            f"{self._where} did not answer 'Status {which}' within {self._answer_s:g} s; check that it is on and in reach."
        )

    def _heed(self, message: Message) -> None:
        """Look whether it is the plug's last will."""
        if message.topic == self._named("tele", "LWT") and message.payload == b"Offline":
            raise LinkLost(f"{self._where} is offline; check its power and its network.")

    def _values(self, answer: object) -> dict[str, object] | None:
        found = member(answer, "StatusSNS", "ENERGY")
        return found if isinstance(found, dict) else None
