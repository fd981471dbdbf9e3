"""Tasmota plugs: the dialogue over a broker, the numbers against the simulated plug, its failures."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest

from power.catalogue import make_meter
from power.drivers.tasmota import Tasmota
from power.errors import (
    InstrumentError,
    LinkLost,
    PowerError,
    ReplyInvalid,
    WrongInstrument,
)
from power.meter import Meter
from power.sim.common.base import Simulator
from power.sim.common.broker import MqttBroker
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.tasmota import SimulatedTasmota
from power.timebase import HOST_TIME, Timebase
from power.transports.mqtt import Broker
from tests.power.brokerscript import Question, Script
from tests.power.trials import Levels, Timing, check_coverage

BROKER = Broker("script")
FIRMWARE = Question(
    "cmnd/p1/Status",
    "2",
    [("stat/p1/STATUS2", '{"StatusFWR":{"Version":"14.2.0(tasmota)","Hardware":"ESP8285"}}')],
)
NETWORK = Question(
    "cmnd/p1/Status",
    "5",
    [("stat/p1/STATUS5", '{"StatusNET":{"Hostname":"p1-1234","Mac":"AA:BB:CC:DD:EE:FF"}}')],
)


def sensors(energy: str, *extra: tuple[str, str]) -> Question:
    answer = '{"StatusSNS":{"Time":"2024-01-01T00:00:00","ENERGY":{' + energy + "}}}"
    return Question("cmnd/p1/Status", "8", [*extra, ("stat/p1/STATUS8", answer)])


FULL = sensors('"Total":12.34567,"Power":23.5,"Voltage":231,"Current":0.103')


def scripted(*steps: Question, **settings: Any) -> tuple[Tasmota, Script]:
    line = Script(steps)
    return Tasmota(BROKER, "p1", HOST_TIME, line=line, answer_s=0.01, **settings), line


def test_dialogue_of_the_counter() -> None:
    plug, line = scripted(FIRMWARE, NETWORK, FULL, FULL, sensors('"Power":1,"Total":null'))
    identity = plug.connect()
    assert (identity.model, identity.serial, identity.firmware) == (
        "ESP8285",
        "AA:BB:CC:DD:EE:FF",
        "14.2.0(tasmota)",
    )
    assert not identity.is_simulated
    plug.begin()
    sample = plug.read()
    assert sample.energy_j == pytest.approx(12.34567 * 3.6e6)
    assert (sample.power_w, sample.voltage_v, sample.current_a) == (None, 231.0, 0.103)
    assert plug.step_j == pytest.approx(36.0)
    nothing = plug.read()
    assert (nothing.energy_j, nothing.voltage_v) == (None, None)
    plug.make_safe()
    plug.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_the_power() -> None:
    plug, line = scripted(FIRMWARE, NETWORK, FULL, FULL, sensors('"Power":"NaN"'), reads_power=True)
    plug.connect()
    sample = plug.read()
    assert (sample.power_w, sample.energy_j) == (23.5, None)
    assert plug.resolution_w == pytest.approx(0.1)
    assert plug.read().power_w is None
    line.check_used_up()


def test_another_prefix() -> None:
    ask = Question("lab/p1/cmnd/Status", "2", [("lab/p1/stat/STATUS2", "{}")])
    net = Question("lab/p1/cmnd/Status", "5", [("lab/p1/stat/STATUS5", "{}")])
    now = Question(
        "lab/p1/cmnd/Status", "8", [("lab/p1/stat/STATUS8", '{"StatusSNS":{"ENERGY":{"Total":1.000}}}')]
    )
    plug, line = scripted(ask, net, now, full_topic="lab/%topic%/%prefix%/")
    assert plug.connect().serial is None
    line.check_used_up()


def test_what_was_kept_by_the_broker_is_no_reading() -> None:
    kept = Question(
        "cmnd/p1/Status",
        "8",
        [("stat/p1/STATUS8", '{"StatusSNS":{"ENERGY":{"Total":9.0}}}')],
        is_retained=True,
    )
    plug, _ = scripted(FIRMWARE, NETWORK, FULL, kept)
    plug.connect()
    with pytest.raises(PowerError, match=r"did not answer 'Status 8' within"):
        plug.read()


@pytest.mark.parametrize(
    ("energy", "error", "words"),
    [
        ('"Total":-1.0', ReplyInvalid, "gives -3.6e|gives -1 as Total"),
        ('"Total":true', ReplyInvalid, "'True' as Total, which is no number"),
        ('"Total":[1]', ReplyInvalid, "which is no number"),
        ('"Total":"lots"', ReplyInvalid, "'lots' as Total"),
        ('"Total":1e999', ReplyInvalid, "as Total"),
        ('"Total":12.34566', InstrumentError, "went back from"),
        ('"Total":', ReplyInvalid, "no JSON"),
    ],
)
def test_impossible_values_are_refused(energy: str, error: type[PowerError], words: str) -> None:
    plug, _ = scripted(FIRMWARE, NETWORK, FULL, FULL, sensors(energy))
    plug.connect()
    plug.begin()
    plug.read()
    with pytest.raises(error, match=words):
        plug.read()


def test_a_plug_without_a_meter_is_refused() -> None:
    bare = Question(
        "cmnd/p1/Status", "8", [("stat/p1/STATUS8", '{"StatusSNS":{"Time":"2024-01-01T00:00:00"}}')]
    )
    plug, line = scripted(FIRMWARE, NETWORK, bare)
    with pytest.raises(WrongInstrument, match=r"'p1' at the broker 'script:1883' tells no ENERGY"):
        plug.connect()
    assert line.is_closed


PLUG = Levels(idle_w=20.0, active_w=60.0)


def made(
    broker: MqttBroker, load: Load, timebase: Timebase, seed: int, **settings: Any
) -> AbstractContextManager[Simulator]:
    return SimulatedTasmota(
        load, timebase=timebase, seed=seed, broker=broker.address, topic=f"plug{seed}", **settings
    )


@pytest.mark.parametrize(
    ("read", "timing", "interval_s"),
    [
        ("energy", Timing(60.0, 120.0, 10.0), 30.0),
        pytest.param("power", Timing(24.0, 30.0, 4.0), 3.0),
    ],
)
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(
    broker: MqttBroker, read: str, timing: Timing, interval_s: float
) -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return made(broker, load, timebase, seed)

    check_coverage(
        "tasmota", make, levels=PLUG, timing=timing, options={"read": read, "interval_s": interval_s}
    )


def opened(simulator: SimulatedTasmota, time: Timebase, answer_s: float = 0.3, **settings: object) -> Meter:
    meter = make_meter("plug", "tasmota", {**simulator.options, **settings}, timebase=time).open()
    meter._instrument._answer_s = answer_s  # type: ignore[attr-defined]
    return meter


def ended(meter: Meter, time: VirtualTime, after_s: float = 20.0) -> PowerError:
    """Run on, and return the error that the recording ends with."""
    time.sleep(after_s)
    with pytest.raises(PowerError) as caught:
        meter.stop()
    meter.close()
    return caught.value


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(silent_after=6), "did not answer 'Status 8' within"),
        (Faults(disconnect_after=6), "is offline; check its power"),
        (Faults(garbage_after=6), "which is no JSON"),
    ],
)
@pytest.mark.slow
def test_faults_end_the_run_with_a_sentence(broker: MqttBroker, faults: Faults, words: str) -> None:
    time = VirtualTime()
    with SimulatedTasmota(
        Load(Constant(30.0)), timebase=time, faults=faults, broker=broker.address
    ) as simulator:
        meter = opened(simulator, time)
        meter.start()
        assert words in str(ended(meter, time))


@pytest.mark.parametrize(
    "faults", [Faults(truncate_at=30), Faults(silent_after=1), Faults(garbage_after=0, truncate_at=5)]
)
def test_faults_from_the_start(broker: MqttBroker, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime()
    with SimulatedTasmota(
        Load(Constant(30.0)), timebase=time, faults=faults, broker=broker.address
    ) as simulator:
        meter = make_meter("plug", "tasmota", dict(simulator.options), timebase=time)
        meter._instrument._answer_s = 0.3  # type: ignore[attr-defined]
        with pytest.raises(PowerError, match=r"no JSON|did not answer"):
            meter.open()
        meter.close()


def test_a_late_answer_counts_from_when_it_came(broker: MqttBroker) -> None:
    with made(broker, Load(Constant(30.0)), HOST_TIME, 1, faults=Faults(delay_s=0.2)) as simulator:
        assert isinstance(simulator, SimulatedTasmota)
        meter = opened(simulator, HOST_TIME, answer_s=1.0)
        meter.start()
        trace = meter.stop()
        assert trace.clock_bound_s == pytest.approx(0.1, abs=0.05)
        meter.close()


def test_the_broker_is_gone_in_mid_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.tasmota.RECONNECT_S", 0.5)
    time = VirtualTime()
    with SimulatedTasmota(Load(Constant(30.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        meter.start()
        time.sleep(5.0)
        simulator.stop()
        error = ended(meter, time)
        assert isinstance(error, LinkLost)
        assert "is gone" in str(error) or "is offline" in str(error)


def test_a_broker_that_restarts_costs_nothing() -> None:
    time = VirtualTime()
    with (
        MqttBroker() as broker,
        SimulatedTasmota(
            Load(Constant(30.0)), timebase=time, broker=broker.address, update_s=1.0
        ) as simulator,
    ):
        meter = opened(simulator, time, answer_s=5.0)
        meter.start()
        time.sleep(10.0)
        broker.stop()
        broker.start()
        time.sleep(10.0)
        trace = meter.stop()
        meter.close()
    assert trace.energy_j is not None
    assert trace.energy_j[-1] - trace.energy_j[0] == pytest.approx(30.0 * 20.0, abs=31.0 + 36.0)
