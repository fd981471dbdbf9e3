"""What goes wrong with simulated instruments goes wrong when it is asked for, and only then."""

from __future__ import annotations

import numpy as np

from power.sim.common.faults import Faults


def test_a_sound_instrument_does_nothing_wrong() -> None:
    sound = Faults()
    assert not any(said(1000) for said in (sound.is_cut, sound.is_silent, sound.is_garbage))
    assert sound.cut_short(b"1.25\n") == b"1.25\n"
    assert sound.distorted(2.5, 100.0) == 2.5


def test_faults_come_after_as_many_messages() -> None:
    faults = Faults(disconnect_after=3, silent_after=2, garbage_after=1)
    assert [faults.is_cut(number) for number in (1, 2, 3, 4)] == [False, False, False, True]
    assert [faults.is_silent(number) for number in (1, 2, 3, 4)] == [False, False, True, True]
    assert [faults.is_garbage(number) for number in (1, 2, 3, 4)] == [False, True, True, True]


def test_faults_can_be_there_from_the_first_message_on() -> None:
    assert Faults(disconnect_after=-1).is_cut(1)
    assert Faults(silent_after=-1).is_silent(1)
    assert Faults(garbage_after=-1).is_garbage(1)


def test_messages_are_cut_short() -> None:
    assert Faults(truncate_at=3).cut_short("1.25") == "1.2"
    assert Faults(truncate_at=9).cut_short(b"1.25") == b"1.25"


def test_powers_are_distorted_by_gain_offset_and_drift() -> None:
    faults = Faults(gain=0.1, offset_w=0.5, drift_w_per_s=0.01)
    assert faults.distorted(10.0, 100.0) == 12.5
    assert list(faults.distorted(np.array([10.0, 20.0]), np.array([0.0, 100.0]))) == [11.5, 23.5]
