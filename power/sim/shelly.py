"""Simulated Shelly plugs of both kinds: the first generation's topics, and the later ones' RPC and notifications."""

from __future__ import annotations

import json

from power.sim.common.mqtt import MqttSimulator
from power.transports.mqtt import Message

WH_J, WATT_MINUTE_J = 3600.0, 60.0


class SimulatedShelly(MqttSimulator):
    """Sends at each renewal, and answers. A topic below shellies/ makes it one of the first generation.

    measures   false: a relay without a meter
    is_silent  true: it only answers, with its notifications switched off
    """

    driver = "shelly"
    usual_topic = "shellyplusplugs-sim"
    measures = True
    is_silent = False
    _last_power_w = -1.0

    @property
    def is_first(self) -> bool:
        """Whether it is of the first generation."""
        return self.topic.startswith("shellies/")

    @property
    def options(self) -> dict[str, object]:
        """Broker and topic, and how often its counter is renewed."""
        return {**self.common_options, "update_s": self.update_s}

    @property
    def heard(self) -> list[str]:
        """Where it takes questions."""
        return [f"{self.topic}/command" if self.is_first else f"{self.topic}/rpc"]

    @property
    def will(self) -> tuple[str, bytes]:
        """The last will."""
        return f"{self.topic}/online", b"false"

    def online(self) -> tuple[str, bytes]:
        """Say that it is there."""
        return f"{self.topic}/online", b"true"

    def answer(self, message: Message) -> list[tuple[str, object]]:
        """Answer a command or an RPC."""
        if self.is_first:
            return self._command(message.payload)
        asked = json.loads(message.payload)
        frame = {"id": asked["id"], "src": self.topic, "dst": asked["src"]}
        method, topic = asked["method"], f"{asked['src']}/rpc"
        if method == "Shelly.GetDeviceInfo":
            return [(topic, {**frame, "result": self._info()})]
        if self.faults.error or method != "Switch.GetStatus" or asked["params"]["id"] != 0:
            said = self.faults.error or f"No handler for {method}"
            return [(topic, {**frame, "error": {"code": 404, "message": said}})]
        return [(topic, {**frame, "result": {"id": 0, "output": True, **self._status()}})]

    def pushed(self) -> list[tuple[str, object]]:
        """Send the counter, and the power only if it has changed."""
        if not self.measures or self.is_silent:
            return []
        if self.is_first:
            return self._relay()
        status = self._status()
        changed = {name: value for name, value in status.items() if name in ("id", "aenergy")}
        if status["apower"] != self._last_power_w:
            changed["apower"] = status["apower"]
        self._last_power_w = float(str(status["apower"]))
        params = {"ts": round(self.timebase.now_ns() / 1e9, 2), "switch:0": changed}
        return [(f"{self.topic}/events/rpc", {"src": self.topic, "method": "NotifyStatus", "params": params})]

    def _command(self, payload: bytes) -> list[tuple[str, object]]:
        if payload == b"announce":
            return [(f"{self.topic}/announce", self._info())]
        return self._relay() if payload == b"update" and self.measures else []

    def _relay(self) -> list[tuple[str, object]]:
        relay = f"{self.topic}/relay/0"
        energy = str(int(self.meter.energy_j() / WATT_MINUTE_J))
        return [(f"{relay}/power", f"{self.meter.power_w():.2f}"), (f"{relay}/energy", energy)]

    def _info(self) -> dict[str, object]:
        mac = f"0200000000{(self.seed or 0) % 256:02X}"
        if self.is_first:
            return {"id": self.serial, "model": "SHPLG-S", "mac": mac, "fw_ver": "20230913-112316/v1.14.0"}
        return {
            "id": self.serial,
            "model": "SNPL-00112EU",
            "mac": mac,
            "gen": 2,
            "ver": "1.4.4",
            "app": "PlusPlugS",
        }

    def _status(self) -> dict[str, object]:
        if not self.measures:
            return {"id": 0}
        power_w, meter = self.meter.power_w(), self.meter
        return {
            "id": 0,
            "apower": round(power_w, 1),
            "voltage": round(meter.voltage_v, 1),
            "current": round(power_w / meter.voltage_v, 3),
            "aenergy": {"total": round(meter.energy_j() / WH_J, 3), "by_minute": [0.0, 0.0, 0.0]},
        }
