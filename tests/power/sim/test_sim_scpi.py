"""Simulated SCPI instruments understand what real ones do."""

from __future__ import annotations

import socket

import pytest

from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.scpi import ScpiError, ScpiSimulator, command, number, on_off, word
from power.sim.common.waveforms import Constant


class Small(ScpiSimulator):
    """Two channels with a scale."""

    driver = "none"
    idn = "MAKER,MODEL,{serial},1.0"
    accepted = ("CHANnel<n>:COUPling", "SENSe:CURRent[:DC]:NPLC")

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(Load(Constant(1.0)), faults=faults)
        self.scales = {1: 1.0, 2: 1.0}

    @command("CHANnel<n>:SCALe")
    def set_scale(self, argument: str, channel: int) -> None:
        """Set it."""
        self.scales[channel] = number(argument, 0.001, 10.0)

    @command("CHANnel<n>:SCALe?")
    def scale(self, argument: str, channel: int) -> str:
        """Tell it."""
        return f"{self.scales[channel]:g}"

    @command("SENSe:CURRent[:DC]:NPLC?")
    def cycles(self, argument: str) -> str:
        """Tell a constant."""
        return "10"

    @command("DATA?")
    def data(self, argument: str) -> bytes:
        """Give a block."""
        return self.block(b"\n\xff\x00")


def ask(simulator: Small, *lines: str) -> list[bytes]:
    """Send lines over a socket; return what came back to each that asks."""
    port = int(str(simulator.options["resource"]).split("::")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=2.0) as line, line.makefile("rb") as answers:
        found = []
        for text in lines:
            line.sendall(text.encode() + b"\n")
            if "?" in text:
                found.append(answers.readline().strip())
        return found


@pytest.mark.parametrize(
    ("lines", "answers"),
    [
        (["*IDN?"], [b"MAKER,MODEL,WATTFARM-SIM-0,1.0"]),
        ([":CHANnel2:SCALe 0.5", "chan2:scal?", "CHAN:SCAL?"], [b"0.5", b"1"]),
        ([":CHAN1:SCAL 2;SCAL?"], [b"2"]),
        (["CHAN1:SCAL 2;:CHAN2:SCAL 3", "CHAN1:SCAL?;:CHAN2:SCAL?"], [b"2;3"]),
        (["SENS:CURR:NPLC?", "SENSE:CURRENT:DC:NPLC?"], [b"10", b"10"]),
        (["CHANN1:SCAL?;:SYST:ERR?"], [b'-113,"Undefined header; CHANN1:SCAL?"']),
        (["CHAN1:SCAL 99", "SYST:ERR?", "SYST:ERR?"], [b'-222,"Data out of range; 99"', b'0,"No error"']),
        (["CHAN1:SCAL x", "*ESR?", "*CLS", "SYST:ERR:NEXT?"], [b"32", b'0,"No error"']),
        (["*OPC?"], [b"1"]),
        (["CHAN1:COUP DC", ":SENS:CURR:NPLC 1", "SYST:ERR?"], [b'0,"No error"']),
    ],
)
def test_commands(lines: list[str], answers: list[bytes]) -> None:
    with Small() as simulator:
        assert ask(simulator, *lines) == answers


def test_arguments() -> None:
    assert number("1.5E-3 V", 0.0, 1.0) == 0.0015
    assert word("norm", "NORMal", "PEAK") == "NORM"
    assert on_off("ON")
    assert not on_off("0")
    for wrong in (lambda: word("nor", "NORMal"), lambda: on_off("maybe"), lambda: number("", 0, 1)):
        with pytest.raises(ScpiError):
            wrong()


@pytest.mark.parametrize(
    ("faults", "sent"),
    [
        (Faults(), b"#9000000003\n\xff\x00\n"),
        (Faults(wrong_length=True), b"#9000000004\n\xff\x00\n"),
        (Faults(truncate_at=12), b"#9000000003\n"),
        (Faults(silent_after=1), b""),
        (Faults(disconnect_after=1), b""),
    ],
)
@pytest.mark.slow
def test_faults(faults: Faults, sent: bytes) -> None:
    with Small(faults) as simulator:
        port = int(str(simulator.options["resource"]).split("::")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=0.3) as line:
            line.sendall(b"*CLS\nDATA?\n")
            found = b""
            try:
                while part := line.recv(100):
                    found += part
            except TimeoutError:
                pass
        assert found == sent


def test_a_stale_answer_is_that_to_the_question_before() -> None:
    with Small(Faults(is_stale=True)) as simulator:
        port = int(str(simulator.options["resource"]).split("::")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2.0) as line,
            line.makefile("rb") as answers,
        ):
            line.sendall(b"*IDN?\nCHAN1:SCAL?\n")
            assert answers.readline().startswith(b"MAKER")
            assert simulator.received == ["*IDN?", "CHAN1:SCAL?"]
