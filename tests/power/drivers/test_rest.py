"""JSON over HTTP: the dialogue, the numbers against the simulated server, its failures."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import pytest

from power.catalogue import make_meter
from power.drivers.rest import Rest, Values
from power.errors import (
    InstrumentError,
    LinkLost,
    MeterUnavailable,
    NoReading,
    PowerError,
    ReplyInvalid,
)
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.rest import SimulatedRest
from power.timebase import HOST_TIME
from power.transports.jsonpath import JsonPath
from tests.power.trials import Timing, check_coverage, check_in_real_time, specimens

POWER, ENERGY = JsonPath.parse("$.node.power"), JsonPath.parse("$.node.energy")
VOLTAGE, SERIAL = JsonPath.parse("$.node.v"), JsonPath.parse("$.node.sn")


class Documents:
    """A line over a script: the documents that are fetched, in order; an exception is raised."""

    server = "recs/1.0"

    def __init__(self, *documents: object) -> None:
        self._documents = deque(documents)

    def get(self) -> object:
        """Return the next."""
        document = self._documents.popleft()
        if isinstance(document, Exception):
            raise document
        return document

    def check_used_up(self) -> None:
        """Fail unless all were fetched."""
        assert not self._documents


def node(**values: object) -> dict[str, object]:
    return {"node": {"sn": "R-7", **values}}


def test_dialogue_of_a_power() -> None:
    line = Documents(
        node(power=9000, v=12.1),
        node(power="9500", v="12.0"),
        node(v=None, power=None),
        node(power="NaN"),
        {},
    )
    values = Values(POWER, "average", 1e-3, 1.0, 1.0, 0.01, VOLTAGE, None, SERIAL)
    meter = Rest("http://h/p", values, HOST_TIME, line=line)
    identity = meter.connect()
    assert (identity.serial, identity.model, identity.is_simulated) == ("R-7", "recs/1.0", False)
    meter.begin()
    sample = meter.read()
    assert (sample.power_w, sample.voltage_v, sample.current_a, sample.energy_j) == (9.5, 12.0, None, None)
    for _ in range(3):
        nothing = meter.read()
        assert (nothing.power_w, nothing.voltage_v) == (None, None)
    meter.end()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert meter.resolution_w == 0.01


def test_dialogue_of_a_counter() -> None:
    line = Documents(node(energy=1.0), node(energy=1.5), node(energy=1.25))
    meter = Rest("http://h/p", Values(ENERGY, "counter", 3600.0, None, 1.0, 0.36), HOST_TIME, line=line)
    meter.connect()
    meter.begin()
    assert meter.read().energy_j == pytest.approx(5400.0)
    assert (meter.step_j, meter.update_s, meter.resolution_w) == (0.36, 1.0, None)
    with pytest.raises(InstrumentError, match=r"'http://h/p' went back from 5400 J to 4500 J"):
        meter.read()
    line.check_used_up()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nodes": []}, r"there is no 'node' of '\$.node.power', but only 'nodes'; correct path"),
        (node(power="lots"), "gives 'lots' as"),
        (node(power=True), "which is no number"),
        (node(power={"w": 1}), "which is no number"),
        (node(power=-1.0), "gives -1 as"),
        ([1, 2], "but a list of 2"),
    ],
)
def test_what_is_no_power_is_refused(document: object, words: str) -> None:
    meter = Rest("http://h/p", Values(POWER, "average", 1.0, 1.0), HOST_TIME, line=Documents(document))
    with pytest.raises(ReplyInvalid, match=words):
        meter.connect()


COUNTER: dict[str, object] = {
    "path": "$.nodes[?id=RCU_1].power.energy_wh",
    "reading": "counter",
    "unit": "Wh",
}


@pytest.mark.parametrize(
    ("options", "timing"),
    [
        ({"interval_s": 1.0}, Timing(7.0, 9.0, 2.0)),
        pytest.param({**COUNTER, "resolution": 1e-6, "interval_s": 4.0}, Timing(8.0, 12.0, 3.0)),
    ],
)
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(options: dict[str, object], timing: Timing) -> None:
    check_coverage("rest", specimens(SimulatedRest), timing=timing, options=options)


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time(
        "rest",
        specimens(SimulatedRest),
        timing=Timing(1.2, 2.0, 0.8),
        options={**COUNTER, "interval_s": 0.2},
        seed=3,
    )


def failing(faults: Faults | None = None, **settings: Any) -> SimulatedRest:
    return SimulatedRest(Load(Constant(5.0), 12.0), faults=faults, timebase=VirtualTime(), **settings)


def why_not(simulator: SimulatedRest, **settings: object) -> PowerError:
    """Return the error that opening it ends with."""
    meter = make_meter("rack", "rest", {**simulator.options, **settings})
    with pytest.raises(PowerError) as caught:
        meter.open()
    meter.close()
    return caught.value


@pytest.mark.parametrize(
    ("instead", "error", "words"),
    [
        (
            (404, b"nothing"),
            MeterUnavailable,
            r"There is nothing at 'http://127.0.0.1:\d+/power' \(404 Not Found\); correct url",
        ),
        ((403, b""), MeterUnavailable, r"does not permit reading \(403 Forbidden\); correct token_env"),
        ((500, b"<html>"), InstrumentError, r"reports an error \(500 Internal Server Error\); see its log"),
        ((302, b""), MeterUnavailable, "redirects to 'another address'; write that into url"),
        (
            (200, b"<html><body>Login</body></html>"),
            ReplyInvalid,
            "answers '<html><body>Login</body></html>', which is no JSON",
        ),
        ((200, b""), ReplyInvalid, "which is no JSON"),
        ((200, b'{"nodes": [{"id": "RCU_1"}]}'), ReplyInvalid, "there is no 'power'"),
        ((200, b'"' + b"x" * (1 << 20) + b'"'), ReplyInvalid, "answers with more than 1 MiB"),
    ],
)
def test_answers_that_are_none(instead: tuple[int, bytes], error: type[PowerError], words: str) -> None:
    with failing() as simulator:
        simulator.instead = instead
        found = why_not(simulator)
    assert isinstance(found, error)
    with pytest.raises(error, match=words):
        raise found


def test_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(token="s3cret") as simulator:
        assert "does not permit reading (401 Unauthorized)" in str(why_not(simulator))
        monkeypatch.delenv("RACK_TOKEN", raising=False)
        assert "needs the environment variable RACK_TOKEN" in str(why_not(simulator, token_env="RACK_TOKEN"))
        monkeypatch.setenv("RACK_TOKEN", "wrong")
        assert "does not permit reading" in str(why_not(simulator, token_env="RACK_TOKEN"))
        monkeypatch.setenv("RACK_TOKEN", "s3cret")
        for settings in ({"token_env": "RACK_TOKEN"}, {"headers": {"Authorization": "Bearer s3cret"}}):
            with make_meter("rack", "rest", {**simulator.options, **settings}) as meter:
                assert meter.capabilities.kind == "simulated"
        monkeypatch.setenv("RACK_TOKEN", "Bearer s3cret")
        with make_meter("rack", "rest", {**simulator.options, "headers": {"Authorization": "$RACK_TOKEN"}}):
            assert simulator.requests > 0


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(truncate_at=10), "cannot be reached|no JSON"),
        (Faults(wrong_length=True), "cannot be reached"),
        (Faults(garbage_after=1), "no JSON"),
        (Faults(disconnect_after=1), "cannot be reached"),
        (Faults(error="disk full"), "500"),
        (Faults(silent_after=1), "did not answer within 0.3 s"),
    ],
)
def test_faults_end_in_a_sentence(faults: Faults, words: str) -> None:
    with failing(faults) as simulator:
        time = simulator.timebase
        meter = make_meter("rack", "rest", {**simulator.options, "timeout_s": 0.3}, timebase=time)
        with pytest.raises(PowerError, match=words):  # noqa: PT012 - some come at once, others later
            meter.open()
            meter.start()
            time.sleep(10.0)
            meter.stop()
        meter.close()


def test_a_stale_answer_is_no_reading_of_this_time() -> None:
    with failing(Faults(is_stale=True)) as simulator:
        assert "there is no 'nodes'" in str(why_not(simulator))


def test_gone_in_mid_run() -> None:
    with failing() as simulator:
        meter = make_meter("rack", "rest", dict(simulator.options), timebase=simulator.timebase).open()
        meter.start()
        simulator.timebase.sleep(3.0)
        simulator.stop()
        simulator.timebase.sleep(3.0)
        with pytest.raises(LinkLost, match=r"cannot be reached \(.*refused.*\); check that the server runs"):
            meter.stop()
        meter.close()


def test_one_lost_answer_is_a_lost_reading() -> None:
    with failing() as simulator:
        meter = make_meter("rack", "rest", dict(simulator.options), timebase=simulator.timebase).open()
        meter.start()
        simulator.timebase.sleep(2.5)
        simulator.instead = (503, b"busy")
        simulator.timebase.sleep(2.0)
        simulator.instead = None
        simulator.timebase.sleep(3.0)
        trace = meter.stop()
        meter.close()
    assert trace.lost == 2
    assert trace.power_w is not None
    assert trace.power_w.min() > 4.0


def test_a_late_answer_widens_the_bound_of_its_time() -> None:
    with SimulatedRest(Load(Constant(5.0), 12.0), faults=Faults(delay_s=0.2)) as simulator:
        meter = make_meter("rack", "rest", dict(simulator.options)).open()
        meter.start()
        trace = meter.stop()
        meter.close()
    assert trace.clock_bound_s == pytest.approx(0.5 + 0.1, abs=0.05)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "http://no-such-host.invalid/"):
        meter = make_meter("rack", "rest", {"url": url, "path": "$.a"})
        with pytest.raises(LinkLost, match=r"cannot be reached \("):
            meter.open()


def test_slow_from_the_start() -> None:
    with failing(Faults(silent_after=-1)) as simulator:
        meter = make_meter("rack", "rest", {**simulator.options, "timeout_s": 0.1})
        with pytest.raises(
            NoReading, match=r"did not answer within 0.1 s; check the server, or raise timeout_s"
        ):
            meter.open()
