"""What every plug on a broker does: a trial in real time, switched off in mid-run, a topic that nobody sends."""

from __future__ import annotations

import pytest

from power.catalogue import DRIVERS, make_meter
from power.errors import LinkLost, MeterUnavailable
from power.sim.common.broker import MqttBroker
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.mqtt import MqttSimulator
from power.sim.common.waveforms import Constant
from power.sim.shelly import SimulatedShelly
from power.sim.tasmota import SimulatedTasmota
from tests.power.scpi_trouble import with_advice
from tests.power.trials import Levels, Timing, check_in_real_time, specimens

PLUGS: dict[type[MqttSimulator], dict[str, object]] = {
    SimulatedShelly: {"interval_s": 0.2},
    SimulatedTasmota: {"interval_s": 0.5, "update_s": 0.1},
}
"""And how they are asked in real time."""


def test_every_plug_is_tried() -> None:
    assert {made.driver for made in PLUGS} == {name for name in DRIVERS if DRIVERS[name].link == "mqtt"}


@pytest.mark.parametrize("made", PLUGS)
@pytest.mark.slow
def test_energy_in_real_time(made: type[MqttSimulator]) -> None:
    check_in_real_time(
        made.driver,
        specimens(made, update_s=0.1),
        levels=Levels(idle_w=200.0, active_w=2000.0),
        timing=Timing(1.0, 1.5, 0.25),
        options=PLUGS[made],
        seed=3,
    )


@pytest.mark.parametrize("made", PLUGS)
def test_switched_off_in_mid_run(made: type[MqttSimulator], broker: MqttBroker) -> None:
    time = VirtualTime()
    with made(Load(Constant(30.0)), timebase=time, broker=broker.address) as simulator:
        meter = make_meter("plug", made.driver, simulator.options, timebase=time).open()
        meter._instrument._answer_s = 0.1  # type: ignore[attr-defined]
        meter.start()
        time.sleep(5.0)
        simulator.stop()
        time.sleep(5.0)
        words = rf"The (plug|device) '.+' at the broker '{broker.address}' is offline; check its power and its network\.$"
        with pytest.raises(LinkLost, match=words) as caught:
            meter.stop()
        meter.close()
    with_advice(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shelly", "Nothing comes from 'nobody' at the broker '{}'; check topic and generation"),
        ("tasmota", "Nothing answers to 'cmnd/nobody/Status' at the broker '{}'; check topic"),
    ],
)
def test_nothing_comes_from_a_wrong_topic(name: str, words: str, broker: MqttBroker) -> None:
    meter = make_meter("plug", name, {"broker": broker.address, "topic": "nobody"})
    meter._instrument._answer_s = 0.1  # type: ignore[attr-defined]
    with pytest.raises(MeterUnavailable, match=words.format(broker.address)) as caught:
        meter.open()
    meter.close()
    with_advice(caught.value)
