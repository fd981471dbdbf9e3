"""Shelly plugs of both kinds: the dialogue over a broker, the numbers against the simulated plug, its failures."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

import pytest

from power.catalogue import make_meter
from power.drivers.shelly import Shelly
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
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.shelly import SimulatedShelly
from power.timebase import HOST_TIME, Timebase
from power.transports.mqtt import Broker, Message, MqttLine
from tests.power.brokerscript import Question, Script
from tests.power.trials import Levels, Timing, check_coverage

FIRST, LATER = "shellies/shellyplug-s-6A6375", "shellyplusplugs-a8032ab1"
INFO = '{"id":"shellyplug-s-6A6375","model":"SHPLG-S","mac":"BCFF4D6A6375","fw_ver":"1.14.0"}'
RELAY = [(f"{FIRST}/relay/0/power", "23.45"), (f"{FIRST}/relay/0/energy", "1234")]
ANNOUNCE = Question(f"{FIRST}/command", "announce", [(f"{FIRST}/announce", INFO)])
UPDATE = Question(f"{FIRST}/command", "update", RELAY)


def scripted(topic: str, *steps: Question, **settings: Any) -> tuple[Shelly, Script]:
    line = Script(steps)
    is_first = topic.startswith("shellies/")
    meter = Shelly(
        Broker("script"),
        topic,
        HOST_TIME,
        line=line,
        is_first=is_first,
        answer_s=0.01,
        interval_s=3600.0,
        **settings,
    )
    line._src = meter._name
    return meter, line


def rpc(number: int, method: str, result: str, **extra: object) -> Question:
    asked = {"id": number, "src": "{src}", "method": method, **extra}
    return Question(f"{LATER}/rpc", json.dumps(asked), [("{src}/rpc", f'{{"id":{number},{result}}}')])


DEVICE = '"result":{"id":"shellyplusplugs-a8032ab1","model":"SNPL-00112EU","mac":"A8032AB1","ver":"1.4.4"}'
STATUS = '"result":{"id":0,"apower":8.9,"voltage":237.5,"current":0.045,"aenergy":{"total":6.532}}'
ASK_INFO = rpc(1, "Shelly.GetDeviceInfo", DEVICE)
ASK = [rpc(n, "Switch.GetStatus", STATUS, params={"id": 0}) for n in range(4)]


def test_dialogue_of_the_first_generation() -> None:
    meter, line = scripted(FIRST, ANNOUNCE, UPDATE, UPDATE)
    identity = meter.connect()
    assert (identity.model, identity.serial, identity.firmware) == ("SHPLG-S", "BCFF4D6A6375", "1.14.0")
    assert not identity.is_simulated
    meter.begin()
    (sample,) = meter.receive(0.0)
    assert sample.energy_j == pytest.approx(1234 * 60.0)
    assert (sample.power_w, sample.voltage_v) == (None, None)
    assert meter.step_j == 60.0
    line.comes(f"{FIRST}/relay/0/energy", "nan")
    assert [sample.energy_j for sample in meter.receive(0.0)] == [None]
    assert meter.receive(0.0) == []
    meter.end()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_the_later_generations() -> None:
    meter, line = scripted(LATER, ASK_INFO, ASK[2], ASK[3])
    identity = meter.connect()
    assert (identity.model, identity.serial, identity.firmware) == ("SNPL-00112EU", "A8032AB1", "1.4.4")
    meter.begin()
    (sample,) = meter.receive(0.0)
    assert sample.energy_j == pytest.approx(6.532 * 3600.0)
    assert (sample.voltage_v, sample.current_a) == (237.5, 0.045)
    assert meter.step_j == pytest.approx(3.6)
    meter.end()
    meter.disconnect()
    line.check_used_up()


def notified(**fields: object) -> str:
    return json.dumps({"method": "NotifyStatus", "params": {"ts": 1.0, "switch:0": fields}})


def test_notifications_tell_only_what_has_changed() -> None:
    meter, line = scripted(LATER, ASK_INFO, ASK[2], ASK[3])
    meter.connect()
    meter.begin()
    meter.receive(0.0)
    rpc_topic, status = f"{LATER}/events/rpc", f"{LATER}/status/switch:0"
    for topic, text in (
        (rpc_topic, notified(id=0, apower=12.0)),
        (rpc_topic, notified(id=0, aenergy={"total": 7.0})),
        (
            rpc_topic,
            json.dumps({"method": "NotifyEvent", "params": {"switch:0": {"aenergy": {"total": 9.0}}}}),
        ),
        (rpc_topic, json.dumps({"method": "NotifyStatus", "params": {"sys": {}}})),
        (rpc_topic, notified(id=0, aenergy={"by_minute": [1.0]})),
        (status, json.dumps({"id": 0, "apower": 12.0, "voltage": 230.0, "aenergy": {"total": 8.0}})),
    ):
        line.comes(topic, text)
    line.comes(status, json.dumps({"aenergy": {"total": 99.0}}), is_retained=True)
    found = [(sample.energy_j, sample.power_w, sample.voltage_v) for sample in meter.receive(0.0)]
    expected: list[object] = [
        (pytest.approx(7.0 * 3600.0), None, None),
        (pytest.approx(8.0 * 3600.0), None, 230.0),
    ]
    assert list[object](found) == expected
    meter.end()


def test_powers_are_read_where_that_is_wanted() -> None:
    meter, line = scripted(LATER, ASK_INFO, ASK[2], ASK[3], reads_power=True)
    meter.connect()
    meter.begin()
    meter.receive(0.0)
    line.comes(f"{LATER}/events/rpc", notified(id=0, apower=12.25))
    line.comes(f"{LATER}/events/rpc", notified(id=0, aenergy={"total": 7.0}))
    line.comes(f"{LATER}/events/rpc", notified(id=0, apower=None))
    assert [(sample.power_w, sample.energy_j) for sample in meter.receive(0.0)] == [(12.25, None)]
    assert meter.resolution_w == pytest.approx(0.01)
    meter.end()


def test_an_answer_to_an_earlier_question_is_passed_over() -> None:
    late = Question(ASK[3].topic, ASK[3].payload, [("{src}/rpc", '{"id":2,' + STATUS + "}")])
    meter, _ = scripted(LATER, ASK_INFO, ASK[2], late)
    meter.connect()
    meter.begin()
    assert meter.receive(0.0) == []
    meter.end()


@pytest.mark.parametrize(
    ("payload", "error", "words"),
    [
        ("<html>", ReplyInvalid, "sent '<html>', which is no JSON"),
        (notified(id=0, aenergy={"total": -1.0}), ReplyInvalid, "gives -1 as aenergy.total"),
        (notified(id=0, aenergy={"total": "x"}), ReplyInvalid, "'x' as aenergy.total, which is no number"),
        (notified(id=0, aenergy={"total": {}}), ReplyInvalid, "which is no number"),
        (notified(id=0, aenergy={"total": 1.0}), InstrumentError, "went back from 23515.2 J to 3600 J"),
    ],
)
def test_impossible_values_are_refused(payload: str, error: type[PowerError], words: str) -> None:
    meter, line = scripted(LATER, ASK_INFO, ASK[2], ASK[3])
    meter.connect()
    meter.begin()
    meter.receive(0.0)
    line.comes(f"{LATER}/events/rpc", payload)
    with pytest.raises(error, match=words):
        meter.receive(0.0)
    meter.end()


def test_a_device_without_a_meter_is_refused() -> None:
    meter, line = scripted(LATER, ASK_INFO, rpc(2, "Switch.GetStatus", '"result":{"id":0}', params={"id": 0}))
    with pytest.raises(WrongInstrument, match=r"is a SNPL-00112EU that tells no energy of switch:0"):
        meter.connect()
    assert line.is_closed


def test_a_refused_question_is_told() -> None:
    refusal = '"error":{"code":404,"message":"No handler for Switch.GetStatus"}'
    meter, _ = scripted(LATER, ASK_INFO, rpc(2, "Switch.GetStatus", refusal, params={"id": 0}))
    with pytest.raises(
        InstrumentError, match=r"refuses \(No handler for Switch.GetStatus\); check component"
    ):
        meter.connect()


def test_a_last_will_that_the_broker_kept() -> None:
    meter, line = scripted(
        FIRST, Question(f"{FIRST}/command", "announce", [(f"{FIRST}/online", "false")], is_retained=True)
    )
    with pytest.raises(LinkLost, match=r"is offline; check its power"):
        meter.connect()
    assert line.is_closed


def test_one_that_may_only_be_listened_to() -> None:
    line = Script([])
    meter = Shelly(Broker("script"), LATER, HOST_TIME, line=line, interval_s=0.0)
    line.comes(f"{LATER}/online", "true", is_retained=True)
    line.comes(f"{LATER}/status/switch:0", '{"aenergy":{"total":5.0}}')
    meter.connect()
    meter.begin()
    line.comes(f"{LATER}/status/switch:0", '{"aenergy":{"total":6.0}}')
    assert [sample.energy_j for sample in meter.receive(0.0)] == [pytest.approx(21600.0)]
    assert (meter.interval_s, meter.silence_s) == (None, 200.0)
    meter.end()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[MqttLine]:
    """The lines that drivers open, so that a simulator in virtual time can wait for what they have taken."""
    lines: list[MqttLine] = []

    class Noted(MqttLine):
        pushed = 0

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            lines.append(self)

        def receive(self, timeout_s: float) -> Message | None:
            message = super().receive(timeout_s)
            if message is not None and message.topic.endswith("/events/rpc"):
                self.pushed += 1
            return message

    monkeypatch.setattr("power.drivers.shelly.MqttLine", Noted)
    return lines


PLUG = Levels(idle_w=20.0, active_w=60.0)


@pytest.mark.parametrize(
    ("prefix", "read", "timing", "interval_s", "update_s"),
    [
        pytest.param("shellies/p", "energy", Timing(80.0, 160.0, 24.0), 20.0, 10.0),
        ("plus", "energy", Timing(40.0, 80.0, 14.0), 12.0, 2.0),
        pytest.param("plus", "power", Timing(20.0, 24.0, 4.0), 3.0, 1.0),
    ],
)
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(
    broker: MqttBroker,
    prefix: str,
    read: str,
    timing: Timing,
    interval_s: float,
    update_s: float,
) -> None:
    """Asked; sending by itself is tried in the next test, which needs a handshake for each message."""

    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        simulator = SimulatedShelly(
            load,
            timebase=timebase,
            seed=seed,
            broker=broker.address,
            topic=f"{prefix}{seed}",
            update_s=update_s,
        )
        simulator.is_silent = True
        return simulator

    check_coverage(
        "shelly", make, levels=PLUG, timing=timing, options={"read": read, "interval_s": interval_s}
    )


@pytest.mark.slow
def test_what_it_sends_by_itself_is_enough(broker: MqttBroker, taken: list[MqttLine]) -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        taken.clear()
        return SimulatedShelly(
            load,
            timebase=timebase,
            seed=seed,
            broker=broker.address,
            topic=f"push{seed}",
            update_s=10.0,
            consumed=lambda: sum(line.pushed for line in taken),  # type: ignore[attr-defined]
        )

    timing = Timing(80.0, 160.0, 15.0)
    check_coverage("shelly", make, levels=PLUG, timing=timing, options={"interval_s": 100.0}, trials=60)


def opened(simulator: SimulatedShelly, timebase: Timebase, **settings: object) -> Meter:
    meter = make_meter("plug", "shelly", {**simulator.options, **settings}, timebase=timebase)
    driver = meter._instrument  # type: ignore[attr-defined]
    driver._answer_s, driver.silence_s = 0.3, 0.6
    return meter.open()


def heard_out(meter: Meter) -> None:
    """Wait until the recording has broken off."""
    meter._listener._thread.join(20.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            Faults(silent_after=5),
            "sent nothing for 0.6 s under the topic '.*' of the broker '.*'; check that the plug",
        ),
        (Faults(disconnect_after=5), "is offline; check its power"),
        (Faults(garbage_after=5), "which is no JSON"),
    ],
)
@pytest.mark.parametrize("topic", ["plus", "shellies/p"])
@pytest.mark.slow
def test_faults_end_the_run_with_a_sentence(
    broker: MqttBroker, topic: str, faults: Faults, words: str
) -> None:
    if topic != "plus" and faults.garbage_after:
        words = "which is no number"
    with SimulatedShelly(
        Load(Constant(30.0)), faults=faults, broker=broker.address, topic=topic, update_s=0.2
    ) as simulator:
        meter = opened(simulator, HOST_TIME, interval_s=0.2)
        meter.start()
        heard_out(meter)
        with pytest.raises(PowerError, match=words):
            meter.stop()
        meter.close()


@pytest.mark.parametrize(
    "faults",
    [Faults(truncate_at=5), Faults(silent_after=1), Faults(error="Overpower"), Faults(is_stale=True)],
)
def test_faults_from_the_start(broker: MqttBroker, faults: Faults) -> None:
    with SimulatedShelly(
        Load(Constant(30.0)), faults=faults, broker=broker.address, topic="plus"
    ) as simulator:
        simulator.is_silent = True
        with pytest.raises(PowerError, match=r"no JSON|tells no energy|Overpower|Nothing comes"):
            opened(simulator, HOST_TIME)


def test_the_broker_is_gone_in_mid_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.shelly.RECONNECT_S", 0.3)
    with MqttBroker() as broker, SimulatedShelly(Load(Constant(30.0)), broker=broker.address) as simulator:
        meter = opened(simulator, HOST_TIME)
        meter._instrument.silence_s = 5.0  # type: ignore[attr-defined]
        meter.start()
        broker.stop()
        heard_out(meter)
        with pytest.raises(LinkLost, match=r"is gone \(.*\) and did not come back within 0.3 s"):
            meter.stop()
        meter.close()
