"""What simulated instruments can be made with."""

from __future__ import annotations

import pytest

from power.catalogue import DRIVERS, driver
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant

SIMULATED = [name for name, entry in DRIVERS.items() if entry.simulator]


@pytest.mark.parametrize("name", SIMULATED)
def test_every_simulator_takes_time_faults_and_a_seed(name: str) -> None:
    kind = driver(name).simulated()
    time, faults = VirtualTime(), Faults(gain=0.1)
    simulator = kind(Load(Constant(1.0), kind.supply_v), timebase=time, faults=faults, seed=7)
    simulator.stop()
    assert (simulator.timebase, simulator.faults, simulator.seed) == (time, faults, 7)
    assert simulator.serial == "WATTFARM-SIM-7"


@pytest.mark.parametrize("name", SIMULATED)
def test_a_port_is_taken_by_those_that_say_so(name: str) -> None:
    kind = driver(name).simulated()
    if kind.takes_port:
        kind(Load(Constant(1.0)), port=0).stop()  # type: ignore[call-arg]
    else:
        with pytest.raises(TypeError, match="port"):
            kind(Load(Constant(1.0)), port=0)  # type: ignore[call-arg]
