"""Rails of boards, read from fake sysfs trees: every kind of sensor, and the ways in which reading fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power.errors import RailUnreadable
from power.rails import Rail, RailReader, discover, read, total_rails
from power.rails.model import Channel


def lay(root: Path, folder: str, files: Mapping[str, object]) -> Path:
    """Write the files of one device."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name).write_text(f"{content}\n")
    return place


def rapl(root: Path, zone: str, name: str, energy_uj: int = 0, range_uj: int = 262_143_328_850) -> Path:
    files = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": range_uj}
    return lay(root, f"sys/class/powercap/{zone}", files)


def named(rails: list[Rail]) -> dict[str, Rail]:
    return {rail.name: rail for rail in rails}


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    assert discover(tmp_path) == []
    assert total_rails([]) == ()


def test_rapl_lists_parts_and_never_adds_them(tmp_path: Path) -> None:
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "uncore"),
        ("intel-rapl:0:2", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:1:0", "dram"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        rapl(tmp_path, zone, name)
    rails = discover(tmp_path)
    assert [rail.name for rail in rails] == [
        "package-0",
        "package-0/core",
        "package-0/uncore",
        "package-0/dram",
        "package-1",
        "package-1/dram",
        "package-0-mmio",
    ]
    assert {rail.reading for rail in rails} == {"counter"}
    assert total_rails(rails) == ("package-0", "package-0/dram", "package-1", "package-1/dram")


def test_rapl_of_the_platform_contains_all_else(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", "package-0")
    rapl(tmp_path, "intel-rapl:1", "psys")
    rails = discover(tmp_path)
    assert named(rails)["psys"].is_total
    assert named(rails)["psys"].scope == "board"
    assert total_rails(rails) == ("psys",)


def test_a_counter_counts_from_the_first_reading(tmp_path: Path) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    (rail,) = discover(tmp_path)
    reader = RailReader(rail)
    assert reader.read().energy_j == 0.0
    (zone / "energy_uj").write_text("7500000")
    sample = reader.read()
    assert sample.energy_j == pytest.approx(2.5)
    assert sample.power_w is None
    assert read(rail).energy_j == 7.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.integers(0, 99_000), min_size=1, max_size=20), st.integers(0, 99_999))
def test_a_counter_through_any_number_of_wraps(tmp_path: Path, steps_uj: list[int], begin_uj: int) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", begin_uj, range_uj=99_999)
    (rail,) = discover(tmp_path)
    reader = RailReader(rail)
    reader.read()
    now_uj = begin_uj
    for step_uj in steps_uj:
        now_uj += step_uj
        (zone / "energy_uj").write_text(str(now_uj % 100_000))
        assert reader.read().energy_j == pytest.approx((now_uj - begin_uj) * 1e-6, abs=1e-9)


def test_a_counter_that_was_reset_is_no_wrap(tmp_path: Path) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 130_000_000_000)
    reader = RailReader(discover(tmp_path)[0])
    reader.read()
    (zone / "energy_uj").write_text("12")
    with pytest.raises(RailUnreadable, match="was reset"):
        reader.read()


def test_a_counter_of_unknown_range_must_not_go_back(tmp_path: Path) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 1000)
    (zone / "max_energy_range_uj").unlink()
    (rail,) = discover(tmp_path)
    assert rail.wrap_j is None
    reader = RailReader(rail)
    reader.read()
    (zone / "energy_uj").write_text("12")
    with pytest.raises(RailUnreadable, match="was reset"):
        reader.read()


def test_no_permission_names_the_file_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read anything, so the refusal is played by the call that the kernel would refuse.
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 1)
    counter = str(zone / "energy_uj")
    real_open = os.open

    def refusing(path: str, flags: int) -> int:
        if path == counter:
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, flags)

    monkeypatch.setattr("power.rails.model.os.open", refusing)
    (rail,) = discover(tmp_path)
    assert f"sudo chmod a+r {counter}" in rail.unreadable_reason
    with pytest.raises(RailUnreadable) as caught:
        read(rail)
    assert caught.value.path == counter
    assert caught.value.rail == "package-0"


@pytest.mark.parametrize(("text", "words"), [("", "but ''"), ("n/a", "but 'n/a'"), ("nan", "but 'nan'")])
def test_a_file_without_a_number(tmp_path: Path, text: str, words: str) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 1)
    (zone / "energy_uj").write_text(text)
    (rail,) = discover(tmp_path)
    assert "holds no number" in rail.unreadable_reason
    assert words in rail.unreadable_reason


def test_a_rail_that_vanishes(tmp_path: Path) -> None:
    zone = rapl(tmp_path, "intel-rapl:0", "package-0", 1)
    (rail,) = discover(tmp_path)
    (zone / "energy_uj").unlink()
    with pytest.raises(RailUnreadable, match="has vanished"):
        read(rail)


def test_a_bus_that_fails(tmp_path: Path) -> None:
    rail = Rail("r", "hwmon", str(tmp_path), "instantaneous", "rail", power=Channel(str(tmp_path), 1.0))
    with pytest.raises(RailUnreadable, match="look for its driver"):
        read(rail)  # a directory stands for a sensor that answers with an error


def test_ina226_in_si_units(tmp_path: Path) -> None:
    files = {"name": "ina226", "power1_input": 1_500_000, "in0_input": 2, "in1_input": 12_000}
    files |= {"curr1_input": 125, "update_interval": 35}
    lay(tmp_path, "sys/class/hwmon/hwmon4", files)
    (rail,) = discover(tmp_path)
    assert (rail.name, rail.driver, rail.scope, rail.reading) == ("ina226/power1", "hwmon", "rail", "average")
    assert rail.rate_hz == pytest.approx(1000 / 35)
    sample = read(rail)
    assert (sample.power_w, sample.voltage_v, sample.current_a) == (1.5, 12.0, 0.125)
    assert sample.energy_j is None
    assert total_rails([rail]) == ("ina226/power1",)


def ina3221(root: Path, folder: str, labels: tuple[str, str, str]) -> Path:
    files: dict[str, object] = {"name": "ina3221", "in7_input": 999, "curr4_input": 999, "in7_label": "sum"}
    for number, label in enumerate(labels, 1):
        files |= {f"in{number}_label": label, f"in{number}_input": 5000, f"curr{number}_input": 100 * number}
        files |= {f"in{number + 3}_input": 1}
    return lay(root, folder, files)


def test_jetson_with_the_mainline_driver(tmp_path: Path) -> None:
    chip = ina3221(tmp_path, "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3", ("VDD_IN", "NC", "VDD_SOC"))
    (tmp_path / "sys/class/hwmon").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon3").symlink_to(chip)
    rails = discover(tmp_path)
    assert [rail.name for rail in rails] == ["VDD_IN", "VDD_SOC"]  # once, without NC and the sum
    assert read(rails[0]).power_w == pytest.approx(0.5)
    assert read(rails[1]).power_w == pytest.approx(1.5)
    assert rails[0].is_total
    assert rails[0].scope == "module"
    assert total_rails(rails) == ("VDD_IN",)


def test_jetson_agx_orin_does_not_count_the_memory_twice(tmp_path: Path) -> None:
    ina3221(tmp_path, "sys/class/hwmon/hwmon3", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))
    ina3221(tmp_path, "sys/class/hwmon/hwmon4", ("NC", "VDDQ_VDD2_1V8AO", "NC"))
    assert total_rails(discover(tmp_path)) == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


def test_a_channel_that_is_switched_off_is_no_rail(tmp_path: Path) -> None:
    chip = ina3221(tmp_path, "sys/class/hwmon/hwmon3", ("A", "B", "C"))
    (chip / "in2_enable").write_text("0")
    rails = discover(tmp_path)
    assert [rail.name for rail in rails] == ["A", "C"]
    assert total_rails(rails) == ()  # nobody knows whether A feeds C


def test_jetson_with_the_old_driver(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files: dict[str, object] = {"name": "ina3221x"}
    for number, label in enumerate(("POM_5V_IN", "NC", "POM_5V_CPU")):
        files |= {f"rail_name_{number}": label, f"in_power{number}_input": 2500}
        files |= {f"in_voltage{number}_input": 5000, f"in_current{number}_input": 500}
    lay(tmp_path, folder, files)
    rails = discover(tmp_path)
    assert [rail.name for rail in rails] == ["POM_5V_IN", "POM_5V_CPU"]
    sample = read(rails[0])
    assert (sample.power_w, sample.voltage_v, sample.current_a) == (2.5, 5.0, 0.5)
    assert total_rails(rails) == ("POM_5V_IN",)


def test_iio_with_scale_and_offset(tmp_path: Path) -> None:
    files = {"name": "pac1934", "in_voltage1_raw": 990, "in_voltage_scale": 0.5, "in_voltage_offset": 10}
    files |= {"in_current1_raw": 200, "in_current1_scale": 2.0}
    lay(tmp_path, "sys/bus/iio/devices/iio:device0", files)
    (rail,) = discover(tmp_path)
    assert rail.driver == "iio"
    sample = read(rail)
    assert sample.voltage_v == pytest.approx(0.5)
    assert sample.current_a == pytest.approx(0.4)
    assert sample.power_w == pytest.approx(0.2)


def test_iio_ina2xx_has_its_own_channel_numbers(tmp_path: Path) -> None:
    files: dict[str, object] = {"name": "ina226", "in_sampling_frequency": 1000}
    for channel, value in (("voltage0", 1), ("voltage1", 5000), ("power2", 3000), ("current3", 600)):
        files |= {f"in_{channel}_raw": value, f"in_{channel}_scale": 1.0}
    lay(tmp_path, "sys/bus/iio/devices/iio:device0", files)
    (rail,) = discover(tmp_path)
    assert rail.rate_hz == 1000
    sample = read(rail)
    assert (sample.power_w, sample.voltage_v, sample.current_a) == (3.0, 5.0, 0.6)


def test_a_plain_converter_is_no_power_rail(tmp_path: Path) -> None:
    files = {"name": "adc", "in_voltage0_raw": 1, "in_voltage_scale": 1.0, "in_temp_raw": 20}
    lay(tmp_path, "sys/bus/iio/devices/iio:device0", files)
    lay(tmp_path, "sys/class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": 40_000, "in0_input": 1100})
    assert discover(tmp_path) == []


def test_iio_without_a_scale_has_no_unit_and_is_left_out(tmp_path: Path) -> None:
    lay(tmp_path, "sys/bus/iio/devices/iio:device0", {"name": "x", "in_power0_raw": 1})
    assert discover(tmp_path) == []


def test_graphics_cards_acpi_and_pmbus(tmp_path: Path) -> None:
    card = {"name": "amdgpu", "power1_average": 42_000_000, "power1_label": "PPT"}
    lay(tmp_path, "sys/class/hwmon/hwmon0", card)
    lay(tmp_path, "sys/class/hwmon/hwmon1", {"name": "power_meter", "power1_average": 90_000_000})
    supply = {"name": "pmbus", "power2_input": 6_000_000, "power2_label": "pout1"}
    supply |= {"in3_input": 12_000, "in3_label": "vout1", "curr2_input": 500, "curr2_label": "iout1"}
    lay(tmp_path, "sys/class/hwmon/hwmon2", supply)
    rails = named(discover(tmp_path))
    assert (rails["PPT"].scope, rails["power_meter/power1"].scope) == ("card", "board")
    sample = read(rails["pout1"])
    assert (sample.power_w, sample.voltage_v, sample.current_a) == (6.0, 12.0, 0.5)


def test_equal_labels_get_their_device(tmp_path: Path) -> None:
    for device in ("hwmon0", "hwmon1"):
        lay(tmp_path, f"sys/class/hwmon/{device}", {"name": "ina219", "power1_input": 1})
    assert [rail.name for rail in discover(tmp_path)] == ["ina219/power1@hwmon0", "ina219/power1@hwmon1"]


@dataclass(frozen=True)
class Message:
    """A rail as the protocol carries it."""

    name: str
    driver: str
    is_total: bool = False


def test_totals_of_rails_that_came_over_the_network() -> None:
    rails = [Message("package-0", "rapl"), Message("package-0/core", "rapl"), Message("PPT", "hwmon")]
    assert total_rails(rails) == ("package-0",)
    assert total_rails([Message("psys@a", "rapl", True), Message("psys@b", "rapl", True)]) == (
        "psys@a",
        "psys@b",
    )


def test_the_daemon_gets_no_numpy_from_here() -> None:
    code = "import power.rails, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
