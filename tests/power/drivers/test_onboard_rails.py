"""This machine's own rails: RAPL, hwmon and the INA3221 of Jetsons; their numbers on simulated trees, and how they fail."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from power.catalogue import make_meter
from power.drivers.jetson_ina3221 import JetsonIna3221
from power.errors import MeterUnavailable, NoReading, OptionInvalid, RailUnreadable
from power.options import Options
from power.rails import discover, read, total_rails
from power.rails.jetson import JETSONS, jetson_of
from power.reduction.energy import energy
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.hwmon import SimulatedHwmon
from power.sim.jetson_ina3221 import SHUNT_OHM, SHUNT_TOLERANCE, SimulatedJetsonIna3221
from power.sim.rapl import GAIN_LIMIT, OFFSET_LIMIT_W, SimulatedRapl
from power.timebase import HOST_TIME, Timebase
from power.trace import Window
from power.uncertainty import GainOffset
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time

SHORT = Timing(3.0, 8.0, 1.0)
RAPL_LIMITS: dict[str, object] = {"accuracy": {"gain": GAIN_LIMIT, "offset_w": OFFSET_LIMIT_W}}
HWMON_LIMITS: dict[str, object] = {"accuracy": {"gain": 0.012, "offset_w": 0.025, "resolution_w": 0.03125}}
BOARDS = {
    "TX2": ("VDD_IN", "VDD_MUX"),
    "TX2 NX": ("VDD_IN",),
    "Nano": ("POM_5V_IN",),
    "Xavier NX": ("VDD_IN",),
    "Orin NX, Orin Nano": ("VDD_IN",),
    "AGX Xavier": ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    "AGX Orin": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    "AGX Thor": ("VIN",),
}
KERNELS = ("ina3221x", "ina3221")


def rapl(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    return SimulatedRapl(load, timebase=timebase, seed=seed, renewal_s=0.02)


def hwmon(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    return SimulatedHwmon(load, timebase=timebase, seed=seed)


def jetson(**how: Any) -> Any:
    def made(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return SimulatedJetsonIna3221(load, timebase=timebase, seed=seed, renewal_s=0.05, **how)

    return made


@pytest.mark.slow
def test_rapl_energies_lie_within_their_uncertainty() -> None:
    check_coverage("rapl", rapl, timing=SHORT, options=RAPL_LIMITS)


@pytest.mark.slow
def test_hwmon_energies_lie_within_their_uncertainty() -> None:
    check_coverage("hwmon", hwmon, timing=SHORT, options=HWMON_LIMITS)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"module": "Orin NX, Orin Nano", "kernel": "ina3221"}, id="one rail, mainline"),
        pytest.param({"module": "Nano", "kernel": "ina3221x"}, id="one rail, ina3221x"),
        pytest.param({"module": "AGX Orin", "kernel": "ina3221"}, id="three rails"),
    ],
)
@pytest.mark.slow
def test_jetson_energies_lie_within_their_uncertainty(how: dict[str, Any]) -> None:
    # Samples of an instant meet bursts at a rhythm of their own: at this one they scatter as independent samples do.
    levels, interval_s = (Levels(), 0.1) if how["kernel"] == "ina3221" else (Levels(burst_s=0.01), 0.08)
    options: dict[str, object] = {
        "shunt_tolerance": SHUNT_TOLERANCE,
        "shunt_ohm": SHUNT_OHM,
        "interval_s": interval_s,
    }
    check_coverage("jetson-ina3221", jetson(**how), levels=levels, timing=SHORT, options=options)


@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("rapl", rapl, RAPL_LIMITS),
        ("hwmon", hwmon, HWMON_LIMITS),
        ("jetson-ina3221", jetson(), {"shunt_tolerance": SHUNT_TOLERANCE}),
    ],
)
@pytest.mark.slow
def test_energy_in_real_time(name: str, make: Any, options: dict[str, object]) -> None:
    check_in_real_time(name, make, timing=Timing(1.0, 1.5, 0.25), options=options, seed=3)


@pytest.mark.parametrize(
    ("kernel", "module", "files"),
    [
        ("ina3221", "Orin NX, Orin Nano", ["in1_input", "curr1_input"]),
        ("ina3221x", "Nano", ["in_power0_input", "in_voltage0_input", "in_current0_input"]),
    ],
)
def test_the_files_of_a_reading_in_order(
    kernel: Any, module: str, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialogue of a meter that reads files: these, in this order, and no other of the 30 that are there."""
    opened: list[str] = []
    real_open = os.open

    def watching(path: Any, flags: int, mode: int = 0o777) -> int:
        opened.append(Path(path).name)
        return real_open(path, flags, mode)

    time = VirtualTime()
    with SimulatedJetsonIna3221(
        Load(Constant(4.0)), timebase=time, kernel=kernel, module=module
    ) as simulator:
        driver = JetsonIna3221.from_options(Options(simulator.options, "m"), time)
        driver.connect()
        driver.begin()
        monkeypatch.setattr("power.rails.model.os.open", watching)
        sample = driver.read()
        monkeypatch.undo()
    assert opened == files
    assert sample.power_w == pytest.approx(4.0, rel=0.01)
    assert sample.voltage_v == pytest.approx(5.0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("module", list(BOARDS))
def test_the_total_of_every_module_under_both_kernels(module: str, kernel: Any) -> None:
    load = Load(Constant(10.0))
    with SimulatedJetsonIna3221(load, timebase=VirtualTime(), module=module, kernel=kernel) as simulator:
        rails = discover(simulator.root)
        assert total_rails(rails) == BOARDS[module]
        known = {rail.name: rail for rail in rails}
        assert sum(read(known[name]).power_w or 0.0 for name in BOARDS[module]) == pytest.approx(
            10.0, rel=0.02
        )
        assert "NC" not in known
        assert not any("sum of shunt" in name for name in known)
        found = jetson_of(list(known))
        assert found is not None
        assert found.total_of(list(known)) == BOARDS[module]


def test_every_module_of_the_table_is_tried() -> None:
    assert {jetson.name for jetson in JETSONS} == set(BOARDS)


@pytest.mark.parametrize(
    ("module", "with_carrier", "scope"),
    [
        ("TX2", True, "board"),
        ("TX2", False, "module"),
        ("AGX Orin", True, "module"),
        ("AGX Xavier", True, "module"),
        ("AGX Thor", True, "board"),
        ("Nano", True, "module"),
    ],
)
def test_what_a_total_covers(module: str, with_carrier: bool, scope: str) -> None:
    with SimulatedJetsonIna3221(
        Load(Constant(5.0)), timebase=VirtualTime(), module=module, with_carrier=with_carrier
    ) as simulator:
        meter = make_meter("j", "jetson-ina3221", simulator.options)
        with meter:
            assert meter.capabilities.scope == scope
            assert meter.capabilities.accuracy is None
            assert meter.identity.model == f"Jetson {module}"
            assert meter.identity.is_simulated


def test_a_thor_without_its_carrier_sensor_asks_for_names() -> None:
    with SimulatedJetsonIna3221(
        Load(Constant(5.0)), timebase=VirtualTime(), module="AGX Thor", with_carrier=False
    ) as simulator:
        meter = make_meter("j", "jetson-ina3221", simulator.options)
        with pytest.raises(MeterUnavailable, match=r"VDD_CPU_SOC_MSS.*name them with rails"):
            meter.open()
        named = {**simulator.options, "rails": ["VDD_GPU"]}
        with make_meter("j", "jetson-ina3221", named) as one:
            assert one.capabilities.scope == "rail"


def test_an_unknown_module_asks_for_names(tmp_path: Path) -> None:
    place = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    lay(place, {"name": "ina3221", "in1_label": "VDD_NEW", "in2_label": "VDD_OTHER"})
    lay(place, {"in1_input": 5000, "curr1_input": 100, "in2_input": 5000, "curr2_input": 100})
    with pytest.raises(MeterUnavailable, match=r"VDD_NEW, VDD_OTHER.*rails = \[…\]"):
        make_meter("j", "jetson-ina3221", {"root": str(tmp_path)}).open()


def test_other_sensors_are_no_jetson(tmp_path: Path) -> None:
    with SimulatedHwmon(Load(Constant(5.0)), timebase=VirtualTime()) as simulator:
        meter = make_meter("j", "jetson-ina3221", simulator.options)
        with pytest.raises(MeterUnavailable, match=r"no jetson-ina3221 rails; the 2 GB Nano"):
            meter.open()


def test_the_shunt_is_read_or_asked_for() -> None:
    with SimulatedJetsonIna3221(Load(Constant(5.0)), timebase=VirtualTime(), kernel="ina3221x") as simulator:
        settings = {**simulator.options, "shunt_tolerance": 0.01}
        with pytest.raises(MeterUnavailable, match="give shunt_ohm besides shunt_tolerance"):
            make_meter("j", "jetson-ina3221", settings).open()
        with make_meter("j", "jetson-ina3221", {**settings, "shunt_ohm": 0.005}) as meter:
            accuracy = meter.capabilities.accuracy
    assert isinstance(accuracy, GainOffset)
    # 80 µV on 5 mΩ are 16 mA, at 5 V 80 mW; one step of 40 µV is half of that.
    assert accuracy.u_offset_w == pytest.approx(0.080 / 3**0.5)
    assert accuracy.resolution_w == pytest.approx(0.040)
    assert accuracy.u_gain == pytest.approx((0.0125**2 + 0.0025**2 + 0.0008**2) ** 0.5 / 3**0.5)


@pytest.mark.parametrize(
    ("driver", "settings", "words"),
    [
        ("rapl", {"rail": ["a"]}, "did you mean 'rails'"),
        ("rapl", {"rails": "package-0"}, "must be a list"),
        ("hwmon", {"interval_s": 0.001}, "from 0.01"),
        ("hwmon", {"rail_map": {"sensors": {}}}, "rail_map needs sensors"),
        ("hwmon", {"rail_map": {"sensors": {"ina226_u1": "A"}, "total": ["B"]}}, "speaks of the rail 'B'"),
        ("hwmon", {"rail_map": {"sensors": {"ina226_u1": "A"}, "factors": {"A": 0}}}, "above 0"),
        ("hwmon", {"rail_map": {"sensors": {"ina226_u1": "A"}, "totals": ["A"]}}, "did you mean 'total'"),
        ("jetson-ina3221", {"shunt_tolerance": 1.0}, "to 0.2"),
        ("rapl", {"accuracy": {"gian": 0.1, "offset_w": 0.0}}, "did you mean 'gain'"),
    ],
)
def test_settings_are_checked(driver: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words):
        make_meter("m", driver, settings)


def lay(place: Path, files: Mapping[str, object]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name).write_text(f"{content}\n")
    return place


def package(root: Path, number: int, energy_uj: int, range_uj: int = 262_143_328_850) -> Path:
    files = {"name": f"package-{number}", "energy_uj": energy_uj, "max_energy_range_uj": range_uj}
    return lay(root / f"sys/class/powercap/intel-rapl:{number}", files) / "energy_uj"


def test_the_rapl_counter_in_joules_and_through_a_wrap(tmp_path: Path) -> None:
    time = VirtualTime()
    counter = package(tmp_path, 0, 9_000_000, range_uj=10_000_000)
    with make_meter("m", "rapl", {"root": str(tmp_path), "interval_s": 60.0}, timebase=time) as meter:
        meter.start()
        time.sleep(1.0)
        counter.write_text("1000000\n")
        meter.mark()
        time.sleep(1.0)
        counter.write_text("2500000\n")
        trace = meter.stop()
        assert meter.capabilities.reading == "counter"
        assert meter.capabilities.accuracy is None
        assert meter.tail_s < 0.2
    assert trace.energy_j is not None
    assert list(trace.energy_j) == pytest.approx([0.0, 2.0, 3.5], abs=2e-6)
    assert trace.update_s == pytest.approx(1e-3)


def test_a_counter_that_wraps_often_loses_nothing() -> None:
    time = VirtualTime()
    load = Load(Constant(40.0))
    with (
        SimulatedRapl(load, timebase=time, range_uj=10_000_000) as simulator,
        make_meter("m", "rapl", simulator.options, timebase=time) as meter,
    ):
        meter.start()
        begin_s = time.now_ns() / 1e9
        time.sleep(10.0)
        trace = meter.stop()
    found = energy(trace, Window(begin_s + 1.0, begin_s + 9.0))
    assert found.energy_j == pytest.approx(320.0, rel=0.005)


def test_psys_and_mmio_are_not_added_to_packages(tmp_path: Path) -> None:
    package(tmp_path, 0, 1_000_000)
    lay(
        tmp_path / "sys/class/powercap/intel-rapl:1",
        {"name": "psys", "energy_uj": 5, "max_energy_range_uj": 9},
    )
    lay(tmp_path / "sys/class/powercap/intel-rapl-mmio:0", {"name": "package-0", "energy_uj": 5})
    with make_meter("m", "rapl", {"root": str(tmp_path)}) as meter:
        assert meter.identity.model == "psys"
        assert meter.capabilities.scope == "board"
    with make_meter("m", "rapl", {"root": str(tmp_path), "rails": ["package-0"]}) as meter:
        assert meter.capabilities.scope == "rail"


def test_two_sockets_are_added(tmp_path: Path) -> None:
    time = VirtualTime()
    first, second = package(tmp_path, 0, 1_000_000), package(tmp_path, 1, 5_000_000)
    with make_meter("m", "rapl", {"root": str(tmp_path)}, timebase=time) as meter:
        meter.start()
        time.sleep(0.5)
        first.write_text("1250000")
        second.write_text("5500000")
        time.sleep(0.05)
        trace = meter.stop()
    assert trace.energy_j is not None
    assert trace.energy_j[-1] == pytest.approx(0.75)


def test_permission_denied_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read anything, so the refusal is played by the call that the kernel would refuse.
    counter = str(package(tmp_path, 0, 1))
    real_open = os.open

    def refusing(path: Any, flags: int, mode: int = 0o777) -> int:
        if str(path) == counter:
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, flags, mode)

    monkeypatch.setattr("power.rails.model.os.open", refusing)
    with pytest.raises(MeterUnavailable, match=f"sudo chmod a\\+r {counter}"):
        make_meter("m", "rapl", {"root": str(tmp_path)}).open()


@pytest.mark.parametrize("driver", ["rapl", "hwmon"])
def test_a_machine_without_sensors(driver: str, tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match=f"no {driver} rails"):
        make_meter("m", driver, {"root": str(tmp_path)}).open()


def test_a_rail_that_is_not_there(tmp_path: Path) -> None:
    package(tmp_path, 0, 1)
    with pytest.raises(MeterUnavailable, match="no rail 'psys'; this machine has package-0"):
        make_meter("m", "rapl", {"root": str(tmp_path), "rails": ["psys"]}).open()


def test_several_sensors_without_a_known_total_ask_for_names(tmp_path: Path) -> None:
    for number, name in enumerate(("ina226", "ina219")):
        lay(tmp_path / f"sys/class/hwmon/hwmon{number}", {"name": name, "power1_input": 1})
    with pytest.raises(MeterUnavailable, match="name them with rails"):
        make_meter("m", "hwmon", {"root": str(tmp_path)}).open()


MAP = {
    "sensors": {"ina226_u79": "VCCINT", "ina226-u80": "VCCAUX"},
    "total": ["VCCINT", "VCCAUX"],
    "factors": {"VCCINT": 6.0},
}


def zynq(root: Path) -> None:
    """Lay two INA226 as the iio-hwmon bridge shows them, the shunt's voltage first, and their IIO devices beside them."""
    for number, (chip, milli_v, milli_a) in enumerate((("u79", 850, 1000), ("u80", 1800, 500))):
        files = {"name": f"ina226_{chip}", "in1_input": 2, "in2_input": milli_v, "curr1_input": milli_a}
        lay(root / f"sys/class/hwmon/hwmon{number}", {**files, "power1_input": milli_v * milli_a})
        channels = {"voltage1": milli_v, "power2": milli_v * milli_a // 1000, "current3": milli_a}
        device = {f"in_{key}_raw": value for key, value in channels.items()}
        scales = {f"in_{key}_scale": 1.0 for key in channels}
        lay(
            root / f"sys/bus/iio/devices/iio:device{number}",
            {"name": "ina226", "label": f"ina226-{chip}", **device, **scales},
        )


def test_a_rail_map_names_and_totals_the_rails_of_a_zynq(tmp_path: Path) -> None:
    zynq(tmp_path)
    time = VirtualTime()
    with make_meter("m", "hwmon", {"root": str(tmp_path), "rail_map": MAP}, timebase=time) as meter:
        assert meter.identity.model == "VCCINT, VCCAUX"
        assert meter.capabilities.scope == "board"
        meter.start()
        time.sleep(0.5)
        trace = meter.stop()
    # Six phases of 0.85 W, of which the sensor sees one, and 0.9 W.
    assert trace.power_w is not None
    assert trace.power_w[0] == pytest.approx(6 * 0.85 + 0.9)
    assert len(discover(tmp_path)) == 2  # each sensor once, though the kernel shows it twice
    one = {"root": str(tmp_path), "rails": ["VCCAUX"], "rail_map": MAP}
    with make_meter("m", "hwmon", one, timebase=time) as meter:
        meter.start()
        time.sleep(0.5)
        trace = meter.stop()
    assert trace.voltage_v is not None
    assert trace.voltage_v[0] == pytest.approx(1.8)  # the bus, not the shunt


def test_without_a_map_a_zynq_asks_for_names(tmp_path: Path) -> None:
    zynq(tmp_path)
    with pytest.raises(MeterUnavailable, match="ina226_u79/power1, ina226_u80/power1"):
        make_meter("m", "hwmon", {"root": str(tmp_path)}).open()


TREES = [("rapl", SimulatedRapl), ("hwmon", SimulatedHwmon), ("jetson-ina3221", SimulatedJetsonIna3221)]


@pytest.mark.parametrize(
    ("faults", "words"),
    [(Faults(disconnect_after=50), "has vanished"), (Faults(garbage_after=50), "holds no number")],
    ids=["vanished", "noise"],
)
@pytest.mark.parametrize(("driver", "simulated"), TREES)
def test_a_sensor_that_breaks_in_mid_run(driver: str, simulated: Any, faults: Faults, words: str) -> None:
    time = VirtualTime()
    with simulated(Load(Constant(3.0)), timebase=time, faults=faults) as simulator:
        meter = make_meter("m", driver, simulator.options, timebase=time).open()
        meter.start()
        time.sleep(5.0)
        with pytest.raises(RailUnreadable, match=words):
            meter.stop()
        meter.close()


@pytest.mark.parametrize(("driver", "simulated"), TREES)
def test_a_counter_or_sensor_that_is_late(driver: str, simulated: Any) -> None:
    time = VirtualTime()
    with (
        simulated(Load(Constant(3.0)), timebase=time, faults=Faults(delay_s=0.5)) as simulator,
        make_meter("m", driver, simulator.options, timebase=time) as meter,
    ):
        meter.start()
        begin_s = time.now_ns() / 1e9
        time.sleep(4.0)
        trace = meter.stop()
    assert energy(trace, Window(begin_s + 1.0, begin_s + 3.0)).energy_j == pytest.approx(6.0, rel=0.03)


def test_an_empty_file_is_no_zero(tmp_path: Path) -> None:
    place = lay(tmp_path / "sys/class/hwmon/hwmon0", {"name": "ina226", "power1_input": ""})
    with pytest.raises(MeterUnavailable, match="holds no number"):
        make_meter("m", "hwmon", {"root": str(tmp_path)}).open()
    (place / "power1_input").unlink()
    with pytest.raises(MeterUnavailable, match="no hwmon rails"):
        make_meter("m", "hwmon", {"root": str(tmp_path)}).open()


def test_reading_before_opening_is_refused() -> None:
    driver = JetsonIna3221.from_options(Options({}, "m"), HOST_TIME)
    with pytest.raises(NoReading, match="not opened"):
        driver.read()
