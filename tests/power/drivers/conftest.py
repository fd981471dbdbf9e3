"""Fixtures of the drivers' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from power.sim.common.broker import MqttBroker


@pytest.fixture(scope="session", autouse=True)
def listeners_that_look_up_often() -> Iterator[None]:
    """Let the thread that listens to a meter see at once that a recording is over: hundreds of trials would wait for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("power.meters.pushed.WAIT_S", 0.005)
        yield


@pytest.fixture
def broker() -> Iterator[MqttBroker]:
    """A broker on this machine."""
    with MqttBroker() as made:
        yield made
