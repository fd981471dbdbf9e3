"""tegrastats: what it prints in its three ways, energies read from a running program, and how that fails."""

from __future__ import annotations

import os
import time as real_time
from collections.abc import Sequence
from pathlib import Path

import pytest

from power.catalogue import make_meter
from power.drivers.tegrastats import Tegrastats, rails_of
from power.errors import LinkLost, MeterUnavailable, PowerError, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.tegrastats import GAIN_LIMIT, OFFSET_LIMIT_A, SimulatedTegrastats
from power.timebase import Timebase
from power.transports.process import LineProcess
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time, specimens
from tests.waiting import alive, wait_until

LIMITS: dict[str, object] = {"accuracy": {"gain": GAIN_LIMIT, "offset_w": 5.0 * OFFSET_LIMIT_A}}

TX2 = (
    "RAM 1126/7846MB (lfb 1281x4MB) SWAP 0/3923MB (cached 0MB) CPU [0%@345,off,off,1%@345,0%@345,0%@345] EMC_FREQ 0% "
    "GR3D_FREQ 0% PLL@40C MCPU@40C PMIC@100C Tboard@36C GPU@38C BCPU@40C thermal@39.1C Tdiode@37.75C "
    "VDD_SYS_GPU 152/152 VDD_SYS_SOC 382/382 VDD_4V0_WIFI 0/19 VDD_IN 1038/1134 VDD_SYS_CPU 152/152 VDD_SYS_DDR 76/77"
)
XAVIER = (
    "RAM 721/31927MB (lfb 7291x4MB) SWAP 0/15963MB (cached 0MB) CPU [2%@1190,0%@1190,off,off] EMC_FREQ 0%@665 GR3D_FREQ 0%@318 "
    "APE 150 MTS fg 0% bg 0% AO@31C GPU@28C Tdiode@34.75C PMIC@100C AUX@30.5C CPU@31.5C thermal@30.6C Tboard@32C "
    "GPU 1155/1150 CPU 462/431 SOC 1001/1001 CV 0/0 VDDRQ 231/208 SYS5V 1562/1562"
)
NANO = (
    "RAM 1997/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [5%@1224,4%@1224] EMC_FREQ 0%@1600 "
    "GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C GPU@40C thermal@40C POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
ORIN = (
    "02-24-2023 11:53:07 RAM 2512/30588MB (lfb 6459x4MB) SWAP 0/15294MB (cached 0MB) CPU [0%@729,0%@729,off,off] "
    "GR3D_FREQ 0%@[0,0] VIC_FREQ 729 CV0@-256C CPU@44.6C SOC2@41.4C tj@44.6C "
    "VDD_GPU_SOC 2390mW/2385mW VDD_CPU_CV 398mW/401mW VIN_SYS_5V0 2520mW/2519mW NC 0mW/0mW VDDQ_VDD2_1V8AO 302mW/302mW NC 0mW/0mW"
)
THOR = (
    "09-02-2025 10:15:02 RAM 4021/125772MB (lfb 3x4MB) SWAP 0/0MB (cached 0MB) CPU [1%@972,0%@972] cpu@38.1C gpu@36.4C tj@38.1C "
    "VDD_GPU 5139mW/5100mW/5200mW VDD_CPU_SOC_MSS 4210mW/4200mW/4500mW VIN_SYS_5V0 6500mW/6500mW/6600mW "
    "VIN 25100mW/24000mW/26000mW"
)


@pytest.mark.parametrize(
    ("line", "rails"),
    [
        (TX2, {"VDD_IN": 1.038, "VDD_SYS_GPU": 0.152, "VDD_4V0_WIFI": 0.0, "VDD_SYS_DDR": 0.076}),
        (XAVIER, {"GPU": 1.155, "CPU": 0.462, "SOC": 1.001, "CV": 0.0, "VDDRQ": 0.231, "SYS5V": 1.562}),
        (NANO, {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366}),
        (ORIN, {"VDD_GPU_SOC": 2.39, "VDD_CPU_CV": 0.398, "VIN_SYS_5V0": 2.52, "VDDQ_VDD2_1V8AO": 0.302}),
        (THOR, {"VDD_GPU": 5.139, "VDD_CPU_SOC_MSS": 4.21, "VIN_SYS_5V0": 6.5, "VIN": 25.1}),
    ],
    ids=["TX2", "AGX Xavier", "Nano", "AGX Orin", "AGX Thor"],
)
def test_the_power_now_of_every_rail_and_nothing_else(line: str, rails: dict[str, float]) -> None:
    found = rails_of(line)
    assert {name: found[name] for name in rails} == pytest.approx(rails)
    assert len(found) == (6 if line is TX2 else len(rails))  # no RAM, SWAP, IRAM, loads, temperatures


def test_a_line_without_rails_holds_none() -> None:
    assert rails_of(ORIN.partition("VDD_GPU_SOC")[0]) == {}
    assert rails_of("") == {}


def printing(folder: Path, *lines: str, status: int = 0, says: str = "") -> str:
    """Write a program that prints lines, again and again where status is 0."""
    script = folder / "tegrastats"
    body = "\n".join(f"echo '{line}'" for line in lines)
    loop = (
        f"while :; do\n{body or ':'}\nsleep 0.05\ndone"
        if status == 0
        else f"{body}\necho '{says}' >&2\nexit {status}"
    )
    script.write_text(f"#!/bin/sh\n{loop}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("line", "total_w", "scope"),
    [
        (TX2, 1.038, "module"),
        (XAVIER, 1.155 + 0.462 + 1.001 + 0.231 + 1.562, "module"),
        (NANO, 1.75, "module"),
        (ORIN, 2.39 + 0.398 + 2.52, "module"),
        (THOR, 25.1, "board"),
    ],
    ids=["TX2", "AGX Xavier", "Nano", "AGX Orin", "AGX Thor"],
)
def test_the_total_never_counts_twice(line: str, total_w: float, scope: str, tmp_path: Path) -> None:
    with make_meter("t", "tegrastats", {"command": printing(tmp_path, line)}) as meter:
        assert meter.capabilities.scope == scope
        assert meter.capabilities.accuracy is None
        meter.start()
        real_time.sleep(0.15)
        trace = meter.stop()
    assert trace.power_w is not None
    assert set(trace.power_w.round(6)) == {round(total_w, 6)}


def test_the_short_names_of_older_releases(tmp_path: Path) -> None:
    line = "RAM 1/2MB VDD_IN 2532/2698 VDD_CPU 152/241 VDD_GPU 152/152 VDD_SOC 381/406 VDD_WIFI 0/19 VDD_DDR 115/134"
    with make_meter("t", "tegrastats", {"command": printing(tmp_path, line)}) as meter:
        meter.start()
        trace = meter.stop()
        assert meter.capabilities.scope == "module"
    assert trace.power_w is not None
    assert trace.power_w[0] == pytest.approx(2.532)


def test_named_rails_are_added(tmp_path: Path) -> None:
    settings = {"command": printing(tmp_path, ORIN), "rails": ["VDD_GPU_SOC", "VDD_CPU_CV"]}
    with make_meter("t", "tegrastats", settings) as meter:
        assert meter.capabilities.scope == "rail"
        meter.start()
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.power_w[0] == pytest.approx(2.788)


class Script:
    """A LineProcess over a script: the programs that are run, in order, and the lines that each reading brings."""

    def __init__(self, *runs: tuple[list[str], list[list[str]]]) -> None:
        self._runs = list(runs)
        self.is_running = False

    def __call__(self, command: Sequence[str], *, timebase: Timebase) -> Script:
        assert not self.is_running, "two of them take processor time from the board"
        due, self._lines = self._runs.pop(0)
        assert list(command) == due
        self.is_running, self.text, self._timebase = True, command[0], timebase
        return self

    def read_lines(self, timeout_s: float) -> list[tuple[str, int]]:
        return [(line, self._timebase.now_ns()) for line in self._lines.pop(0)]

    def close(self) -> None:
        assert not self._lines, f"left over: {self._lines}"
        self.is_running = False

    def check_used_up(self) -> None:
        assert not self._runs, f"left over: {self._runs}"


def test_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact programs and lines: a line that is empty is none, one without the rail has no value, which is not zero."""
    run = ["sudo", "tegrastats", "--interval", "250"]
    script = Script((run, [[], ["", TX2]]), (run, [[TX2], [], ["", TX2.replace("VDD_IN", "VDD_OUT"), TX2]]))
    monkeypatch.setattr("power.drivers.tegrastats.LineProcess", script)
    meter = Tegrastats(VirtualTime(), command=("sudo", "tegrastats"), interval_s=0.25)
    identity = meter.connect()
    assert (identity.model, identity.is_simulated, meter.scope) == ("tegrastats", False, "module")
    meter.begin()
    assert [sample.power_w for sample in meter.receive(0.1)] == [1.038]
    assert meter.receive(0.1) == []
    assert [sample.power_w for sample in meter.receive(0.1)] == [None, 1.038]
    meter.end()
    meter.make_safe()
    meter.disconnect()
    script.check_used_up()
    assert not script.is_running


def test_the_program_is_asked_for_the_interval_and_ended_with_its_children(tmp_path: Path) -> None:
    script = tmp_path / "tegrastats"
    script.write_text(
        f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nsleep 1000 &\necho $! >> {tmp_path}/child\n'
        f"while :; do echo '{NANO}'; sleep 0.05; done\n"
    )
    script.chmod(0o755)
    with make_meter("t", "tegrastats", {"command": str(script), "interval_s": 0.2}) as meter:
        meter.start()
        meter.stop()
    assert (tmp_path / "asked").read_text().strip() == "--interval 200"
    for child in (tmp_path / "child").read_text().split():
        wait_until(lambda child=child: not alive(int(child)), what="the end of a child")


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage(
        "tegrastats",
        specimens(SimulatedTegrastats, style="jp5"),
        levels=Levels(burst_s=0.01),
        timing=Timing(2.0, 8.0, 0.5),
        options={**LIMITS, "interval_s": 0.08},
    )


@pytest.mark.parametrize("style", ["jp4", "jp7"])
@pytest.mark.slow
def test_energy_in_real_time(style: str) -> None:
    check_in_real_time(
        "tegrastats",
        specimens(SimulatedTegrastats, style=style),
        timing=Timing(1.0, 1.5, 0.25),
        options=LIMITS,
        seed=3,
    )


def test_orin_without_root(tmp_path: Path) -> None:
    command = printing(tmp_path, ORIN.partition("VDD_GPU_SOC")[0])
    with pytest.raises(
        MeterUnavailable, match='on Orin only root sees them, so give command = "sudo tegrastats"'
    ):
        make_meter("t", "tegrastats", {"command": command}).open()


def test_rails_of_an_unknown_module(tmp_path: Path) -> None:
    line = "RAM 1/2MB VDD_NEW 10mW/10mW VDD_OTHER 20mW/20mW"
    with pytest.raises(MeterUnavailable, match=r"VDD_NEW, VDD_OTHER.*rails = \[…\]"):
        make_meter("t", "tegrastats", {"command": printing(tmp_path, line)}).open()
    with pytest.raises(MeterUnavailable, match="prints no rail 'VDD_IN'; it prints VDD_NEW"):
        make_meter("t", "tegrastats", {"command": printing(tmp_path, line), "rails": ["VDD_IN"]}).open()


def test_what_is_no_tegrastats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.tegrastats.FIRST_LINES_S", 0.3)
    with pytest.raises(MeterUnavailable, match="printed 'hello', which is no line of tegrastats"):
        make_meter("t", "tegrastats", {"command": printing(tmp_path, "hello")}).open()
    with pytest.raises(MeterUnavailable, match="printed nothing"):
        make_meter("t", "tegrastats", {"command": printing(tmp_path)}).open()


def test_a_program_that_is_not_there_or_may_not_be_run(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="There is no program 'no-tegrastats'"):
        make_meter("t", "tegrastats", {"command": "no-tegrastats"}).open()
    plain = tmp_path / "plain"
    plain.write_text("")
    with pytest.raises(MeterUnavailable, match="may not run"):
        make_meter("t", "tegrastats", {"command": str(plain)}).open()


def test_a_program_that_fails_tells_its_status_and_last_words(tmp_path: Path) -> None:
    command = printing(tmp_path, status=3, says="failed to open /dev/nvhost-ctrl")
    with pytest.raises(
        LinkLost, match=r"ended with status 3, saying: failed to open /dev/nvhost-ctrl; run it by hand"
    ):
        make_meter("t", "tegrastats", {"command": command}).open()
    with SimulatedTegrastats(Load(Constant(3.0)), faults=Faults(error="no permission")) as simulator:
        meter = make_meter("t", "tegrastats", simulator.options)
        with pytest.raises(LinkLost, match="saying: no permission"):
            meter.open()


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        (Faults(disconnect_after=5), LinkLost, "was killed by signal 9"),
        (Faults(garbage_after=5), ReplyInvalid, "which holds no power"),
        (Faults(silent_after=5), LinkLost, "sent nothing for .* s through .*; check that it still runs"),
    ],
)
@pytest.mark.slow
def test_what_breaks_in_mid_run(
    faults: Faults, kind: type[PowerError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("power.drivers.tegrastats.FIRST_LINES_S", 0.4)
    time = VirtualTime()
    with SimulatedTegrastats(Load(Constant(3.0)), timebase=time, faults=faults) as simulator:
        meter = make_meter("t", "tegrastats", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(3.0)
        real_time.sleep(0.9)
        with pytest.raises(kind, match=words):
            meter.stop()
        meter.close()


def test_a_line_that_is_cut_off_is_refused() -> None:
    time = VirtualTime()
    with SimulatedTegrastats(Load(Constant(3.0)), timebase=time, faults=Faults(truncate_at=60)) as simulator:
        meter = make_meter("t", "tegrastats", simulator.options, timebase=time)
        with pytest.raises(MeterUnavailable, match="prints no power rails"):
            meter.open()


def test_a_line_without_the_rail_is_lost_and_not_zero(tmp_path: Path) -> None:
    other = "RAM 1/2MB VDD_CPU_GPU_CV 5mW/5mW"
    both = f"{other} VDD_IN 4000mW/4000mW"
    with make_meter(
        "t", "tegrastats", {"command": printing(tmp_path, both, other), "rails": ["VDD_IN"]}
    ) as meter:
        meter.start()
        real_time.sleep(0.2)
        trace = meter.stop()
    assert trace.power_w is not None
    assert set(trace.power_w) == {4.0}
    assert trace.lost > 0


def test_switched_off_in_mid_run() -> None:
    time = VirtualTime()
    with SimulatedTegrastats(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("t", "tegrastats", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        simulator.stop()
        real_time.sleep(0.2)
        with pytest.raises(LinkLost, match="was killed"):
            meter.stop()
        meter.close()


def test_a_program_that_ignores_being_asked_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.transports.process.END_S", 0.2)
    process = LineProcess(["/bin/sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"])
    (line, _), *_ = process.read_lines(5.0)
    process.close()
    process.close()
    wait_until(lambda: not alive(int(line)), what="its end")
    with pytest.raises(LinkLost, match="was ended"):
        process.read_lines(0.1)
    assert not os.path.exists(f"/proc/{line}/fd")


def test_bytes_without_an_end_are_no_lines() -> None:
    process = LineProcess(["/bin/sh", "-c", "head -c 200000 /dev/zero; sleep 100"])

    def reading() -> None:
        for _ in range(50):
            process.read_lines(0.1)

    with pytest.raises(LinkLost, match="prints no lines"):
        reading()
    process.close()
