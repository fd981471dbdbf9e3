"""Back-off and health after deaths of workers, on a clock of our own."""

from __future__ import annotations

import grpc
import pytest

from farmd import errors
from farmd.deaths import LONGEST_DELAY_S, STAGES, UNHEALTHY_AFTER, Deaths


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def delay_of(deaths: Deaths) -> float:
    try:
        deaths.check("ort")
    except errors.WorkerBackOff as error:
        return error.retry_delay_s or 0.0
    return 0.0


def test_one_death_delays_nothing_and_further_ones_double_the_delay() -> None:
    deaths = Deaths(Clock())
    delays = []
    for _ in range(12):
        deaths.died("ort", "infer", "It died.")
        delays.append(delay_of(deaths))
    assert delays[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == LONGEST_DELAY_S


def test_the_delay_runs_from_the_last_death() -> None:
    clock = Clock()
    deaths = Deaths(clock)
    for _ in range(3):
        deaths.died("ort", "infer", "It died of SIGSEGV.")
    clock.now_s += 0.75
    with pytest.raises(errors.WorkerBackOff, match=r"3 workers of ort died.*0\.2 s.*SIGSEGV") as caught:
        deaths.check("ort")
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.retry_delay_s == pytest.approx(0.25)
    clock.now_s += 0.25
    deaths.check("ort")


def test_another_runtime_is_not_delayed() -> None:
    deaths = Deaths(Clock())
    for _ in range(5):
        deaths.died("openvino", "infer", "It died.")
    assert delay_of(deaths) == 0.0


def test_repeated_deaths_are_complained_of_until_a_success() -> None:
    deaths = Deaths(Clock())
    for count in range(1, UNHEALTHY_AFTER + 1):
        assert deaths.complaints() == []
        deaths.died("ort", "infer", f"Death {count}.")
    assert deaths.complaints() == ["The last 3 workers of ort died. Death 3."]
    assert deaths.succeeded("ort", "infer")
    assert deaths.complaints() == []
    assert not deaths.succeeded("ort", "infer")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reached", STAGES)
def test_a_death_is_forgiven_by_whoever_gets_as_far(stage: str, reached: str) -> None:
    deaths = Deaths(Clock())
    for _ in range(UNHEALTHY_AFTER):
        deaths.died("ort", stage, "It died.")
    deaths.succeeded("ort", reached)
    assert (deaths.complaints() == []) is (STAGES.index(reached) >= STAGES.index(stage))
