"""The board's state out of fake trees: what is there is read in SI units, what is not stays absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from farm.v1 import stats_pb2

from farmd import machine, stats
from tests.farmd.boards import write

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_busy_time_leaves_out_idle_and_waiting(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": "cpu  10 20 30 4000 500 6 7 80 9 1\ncpu0 1 1 1 1 1 1 1 1 1 1"})
    assert stats.cpu_busy_ns(tmp_path) == (10 + 20 + 30 + 6 + 7) * TICK_NS


def test_this_machine_tells_the_essentials() -> None:
    snapshot = stats.snapshot(Path("/"))
    assert snapshot.cpu_count == os.cpu_count()
    assert snapshot.cpu_busy_ns > 0
    assert snapshot.daemon_cpu_ns > 0
    assert snapshot.daemon_rss_bytes > 1 << 20
    assert snapshot.memory_total_bytes > snapshot.memory_available_bytes > 0
    assert snapshot.HasField("load_average_1m")
    assert snapshot.sample_time.seconds > 1_600_000_000


def test_an_empty_board_has_nothing_and_invents_nothing(tmp_path: Path) -> None:
    snapshot = stats.snapshot(tmp_path)
    for name in ("cpu_busy_ns", "load_average_1m", "memory_total_bytes", "memory_available_bytes"):
        assert not snapshot.HasField(name), name
    for name in ("temperatures", "frequencies", "throttling", "accelerators", "workers"):
        assert not getattr(snapshot, name), name


@pytest.mark.parametrize("text", ["", "cpu", "cpu  1 2 3", "garbage", "\xff\x00"])
def test_damaged_files_are_absent_values(tmp_path: Path, text: str) -> None:
    write(tmp_path, {f"proc/{name}": text for name in ("stat", "loadavg", "meminfo", "cpuinfo")})
    write(tmp_path, {"sys/class/thermal/thermal_zone0/temp": text})
    snapshot = stats.snapshot(tmp_path)
    assert not snapshot.HasField("cpu_busy_ns")
    assert not snapshot.HasField("memory_total_bytes")
    assert not snapshot.temperatures[0].HasField("celsius")
    assert machine.cpu_model(tmp_path) == ""
    assert machine.cpu_features(tmp_path) == []


def test_temperatures(tmp_path: Path) -> None:
    zone = "sys/devices/virtual/thermal/thermal_zone0"
    write(
        tmp_path,
        {
            f"{zone}/type": "cpu-thermal",
            f"{zone}/temp": 51234,
            "sys/class/hwmon/hwmon0/name": "cpu_thermal",
            "sys/class/hwmon/hwmon0/temp1_input": 51234,
            "sys/class/hwmon/hwmon2/name": "coretemp",
            "sys/class/hwmon/hwmon2/temp1_input": -5000,
            "sys/class/hwmon/hwmon2/temp1_label": "Package id 0",
            "sys/class/hwmon/hwmon2/temp10_input": "",
            "sys/class/hwmon/hwmon2/temp2_input": 44000,
        },
    )
    (tmp_path / "sys/class/thermal").mkdir()
    (tmp_path / "sys/class/thermal/thermal_zone0").symlink_to(tmp_path / zone)
    (tmp_path / "sys/class/hwmon/hwmon0/device").symlink_to(tmp_path / zone)
    found = stats.temperatures(tmp_path)
    assert [(each.name, each.celsius if each.HasField("celsius") else None) for each in found] == [
        ("cpu-thermal", 51.234),
        ("coretemp/Package id 0", -5.0),
        ("coretemp/temp2", 44.0),
        ("coretemp/temp10", None),
    ]


def test_clocks_in_hertz(tmp_path: Path) -> None:
    cpu, gpu = "sys/devices/system/cpu", "sys/class/devfreq/17000000.ga10b"
    write(
        tmp_path,
        {
            f"{cpu}/cpu10/cpufreq/scaling_cur_freq": 800_000,
            f"{cpu}/cpu2/cpufreq/scaling_cur_freq": 1_500_000,
            f"{cpu}/cpu2/cpufreq/cpuinfo_max_freq": 2_201_600,
            f"{cpu}/cpu3/online": 0,
            f"{gpu}/cur_freq": 1_300_500_000,
            f"{gpu}/max_freq": 1_300_500_000,
        },
    )
    assert stats.frequencies(tmp_path) == [
        stats_pb2.Frequency(name="cpu2", hz=1.5e9, max_hz=2.2016e9),
        stats_pb2.Frequency(name="cpu10", hz=0.8e9),
        stats_pb2.Frequency(name="17000000.ga10b", hz=1.3005e9, max_hz=1.3005e9),
    ]


def test_throttle_counters_of_a_package_are_told_once(tmp_path: Path) -> None:
    for cpu, package, core_events in ((0, 0, 3), (1, 0, 4), (2, 1, 5)):
        base = f"sys/devices/system/cpu/cpu{cpu}"
        write(
            tmp_path,
            {
                f"{base}/topology/physical_package_id": package,
                f"{base}/thermal_throttle/core_throttle_count": core_events,
                f"{base}/thermal_throttle/package_throttle_count": 100 + package,
            },
        )
    counted = {each.name: each.event_count for each in stats.throttling(tmp_path)}
    assert counted == {"cpu0": 3, "package0": 100, "cpu1": 4, "cpu2": 5, "package1": 101}


def test_throttling_of_jetson_and_raspberry(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "sys/class/hwmon/hwmon1/oc1_event_cnt": 2,
            "sys/class/hwmon/hwmon1/oc2_event_cnt": 0,
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        },
    )
    assert [(each.name, each.event_count) for each in stats.throttling(tmp_path)] == [
        ("oc1", 2),
        ("oc2", 0),
        ("under_voltage", 1),
        ("frequency_capped", 0),
        ("throttled", 1),
        ("soft_temperature_limit", 0),
    ]


def test_edge_tpus_on_pcie(tmp_path: Path) -> None:
    """Asleep, the chip's sensor reads all ones, which the driver turns into -89.7 degrees."""
    chips = {"apex_0": 91_000, "apex_1": -89_700, "apex_10": 40_300}
    write(tmp_path, {f"sys/class/apex/{name}/temp": value for name, value in chips.items()})
    for number, millidegrees in enumerate((85_000, 90_000, 95_000)):
        for name in chips:
            write(tmp_path, {f"sys/class/apex/{name}/trip_point{number}_temp": millidegrees})
    celsius = {
        each.name: each.celsius if each.HasField("celsius") else None for each in stats.temperatures(tmp_path)
    }
    assert celsius == {"apex_0": 91.0, "apex_1": None, "apex_10": 40.3}
    passed = {
        c.name: c.event_count if c.HasField("event_count") else None for c in stats.throttling(tmp_path)
    }
    assert passed == {"apex_0": 2, "apex_1": None, "apex_10": 0}


def test_accelerators(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "sys/class/drm/card1/device/gpu_busy_percent": 37,
            "sys/class/drm/card1/device/mem_info_vram_used": 123456,
            "sys/devices/platform/17000000.ga10b/load": 250,
        },
    )
    assert stats.accelerators(tmp_path) == [
        stats_pb2.AcceleratorStats(name="card1", utilization=0.37, memory_used_bytes=123456),
        stats_pb2.AcceleratorStats(name="gpu", utilization=0.25),
    ]


def test_workers_and_what_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1)
    assert child.stdout is not None
    child.stdout.readline()
    try:
        (alive,) = stats.snapshot(Path("/"), [stats.WorkerView("m1", child.pid, 7)]).workers
    finally:
        child.communicate(b"\n")
    assert (alive.model_id, alive.pid, alive.inference_count) == ("m1", child.pid, 7)
    assert alive.peak_rss_bytes >= alive.rss_bytes > 1 << 20
    assert alive.HasField("cpu_time_ns")
    gone = stats.worker_stats(stats.WorkerView("m1", child.pid, 7))
    assert not any(gone.HasField(name) for name in ("rss_bytes", "peak_rss_bytes", "cpu_time_ns"))
    assert not stats.worker_stats(stats.WorkerView("m1", None, 0)).HasField("pid")


def test_processor_of_x86(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 9755\nflags\t\t: fpu avx2 avx512_vnni xyz",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"',
        },
    )
    assert machine.cpu_model(tmp_path) == "AMD EPYC 9755"
    assert machine.cpu_features(tmp_path) == ["avx2", "avx512_vnni"]
    assert machine.operating_system(tmp_path).startswith("Debian GNU/Linux 12 (bookworm), Linux ")


def test_processor_of_arm(tmp_path: Path) -> None:
    def core(part: str) -> str:
        return f"Features\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"

    write(tmp_path, {"proc/cpuinfo": core("0xd03") * 4 + core("0xd08") * 2 + core("0xfff")})
    write(tmp_path, {"proc/device-tree/model": "Radxa ROCK 4\0"})
    assert machine.cpu_model(tmp_path) == "0x41/0xfff + Cortex-A53 + Cortex-A72, Radxa ROCK 4"
    assert machine.cpu_features(tmp_path) == ["asimd", "asimddp"]
