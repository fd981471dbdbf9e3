"""A simulated plug with Tasmota firmware."""

from __future__ import annotations

import datetime
import json

from power.sim.common.mqtt import MqttSimulator
from power.transports.mqtt import Message

KWH_J = 3.6e6


class SimulatedTasmota(MqttSimulator):
    """Answers Status 2, 5, 8 and sends its telemetry.

    energy_res, power_res   digits after the point, as the firmware's EnergyRes and WattRes
    measures                false: a plug without a meter
    """

    driver = "tasmota"
    usual_topic = "plug1"
    energy_res, power_res = 5, 1
    measures = True

    @property
    def options(self) -> dict[str, object]:
        """Broker and topic."""
        return self.common_options

    @property
    def heard(self) -> list[str]:
        """The command that it knows."""
        return [f"cmnd/{self.topic}/Status"]

    @property
    def will(self) -> tuple[str, bytes]:
        """The last will, as the firmware sets it."""
        return f"tele/{self.topic}/LWT", b"Offline"

    def online(self) -> tuple[str, bytes]:
        """Say that it is there."""
        return f"tele/{self.topic}/LWT", b"Online"

    def answer(self, message: Message) -> list[tuple[str, object]]:
        """Answer Status."""
        which = message.payload.decode("latin-1").strip()
        contents: dict[str, object] = {
            "2": {"StatusFWR": {"Version": "14.2.0(tasmota)", "Hardware": "ESP8266EX"}},
            "5": {
                "StatusNET": {"Hostname": self.serial, "Mac": f"02:00:00:00:00:{(self.seed or 0) % 256:02X}"}
            },
            "8": self._sensors(),
        }
        return [(f"stat/{self.topic}/STATUS{which}", contents[which])] if which in contents else []

    def _sensors(self) -> str:
        """Return the answer to Status 8: numbers are shown with a fixed number of digits, which JSON's writers would drop."""
        shown_ns = self.timebase.now_ns() + round(self.faults.clock_offset_s * 1e9)
        now = datetime.datetime(2024, 1, 1) + datetime.timedelta(microseconds=shown_ns // 1000)
        found: dict[str, object] = {"Time": now.isoformat(timespec="seconds")}
        power_w, total_kwh = self.meter.power_w(), self.meter.energy_j() / KWH_J
        if self.measures:
            found["ENERGY"] = {
                "TotalStartTime": "2024-01-01T00:00:00",
                "Total": "<Total>",
                "Power": "<Power>",
                "Factor": 1.0,
                "Voltage": round(self.meter.voltage_v),
                "Current": round(power_w / self.meter.voltage_v, 3),
            }
        text = json.dumps({"StatusSNS": found})
        text = text.replace('"<Total>"', f"{total_kwh:.{self.energy_res}f}")
        return text.replace('"<Power>"', f"{power_w:.{self.power_res}f}")
