"""The board's state at one instant, read from /proc and /sys, and through psutil. What a board does not tell stays absent.

Sources: proc(5); Linux kernel Documentation/driver-api/thermal/sysfs-api.rst (millidegrees),
Documentation/hwmon/sysfs-interface.rst, Documentation/admin-guide/pm/cpufreq.rst (kHz),
Documentation/ABI/testing/{sysfs-devices-system-cpu,sysfs-class-devfreq}; NVIDIA Jetson Linux developer guide,
"Platform Power and Performance" (oc*_event_cnt, GPU load in thousandths); Raspberry Pi documentation,
"vcgencmd get_throttled"; google/gasket-driver, src/apex_driver.c (the Edge TPU on PCIe).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from farm.v1 import stats_pb2

NS_PER_S = 1_000_000_000
RASPBERRY_FLAGS = {16: "under_voltage", 17: "frequency_capped", 18: "throttled", 19: "soft_temperature_limit"}
"""Bits of get_throttled that say "has happened since boot"."""
APEX_ASLEEP_MILLIDEGREES = -89_700
"""What an Edge TPU's driver makes of a sensor whose bits are all ones: the chip is asleep."""


class WorkerView(NamedTuple):
    """What the supervisor tells of a worker: its model, its process, and the inferences it has served."""

    model_id: str
    pid: int | None
    inference_count: int


def snapshot(
    root: Path, workers: Iterable[WorkerView] = (), sensors: Iterable[Path] = ()
) -> stats_pb2.BoardStats:
    """Read the state of the board whose file system starts at `root`, of these workers, and of modules published at `sensors`."""
    total_bytes, available_bytes = memory_bytes(root)
    stats = stats_pb2.BoardStats(
        monotonic_ns=time.monotonic_ns(),
        cpu_count=os.cpu_count(),
        cpu_busy_ns=cpu_busy_ns(root),
        daemon_cpu_ns=time.process_time_ns(),
        daemon_rss_bytes=process_memory_bytes(os.getpid())[0],
        load_average_1m=load_average_1m(root),
        memory_total_bytes=total_bytes,
        memory_available_bytes=available_bytes,
        temperatures=[found for each in (root, *sensors) for found in temperatures(each)],
        frequencies=frequencies(root),
        throttling=throttling(root),
        accelerators=accelerators(root),
        workers=[worker_stats(worker) for worker in workers],
    )
    stats.sample_time.GetCurrentTime()
    return stats


def cpu_busy_ns(root: Path) -> int | None:
    """Return the CPU time all processors spent busy since boot, idle and waiting for I/O left out.

    Guest time is part of user time (proc(5)) and steal time was never ours, so neither is added.
    """
    text = read_text(root / "proc/stat")
    match = re.match(r"cpu +([0-9 ]+)", text or "")
    if not match:
        return None
    ticks = [int(field) for field in match[1].split()]
    if len(ticks) < 7:
        return None
    user, nice, system, _idle, _iowait, irq, softirq = ticks[:7]
    return (user + nice + system + irq + softirq) * (NS_PER_S // os.sysconf("SC_CLK_TCK"))


def load_average_1m(root: Path) -> float | None:
    """Return the mean number of runnable tasks over the last minute."""
    text = read_text(root / "proc/loadavg")
    try:
        return float((text or "").split()[0])
    except (IndexError, ValueError):
        return None


def memory_bytes(root: Path) -> tuple[int | None, int | None]:
    """Return (memory of the board, memory available without swapping)."""
    text = read_text(root / "proc/meminfo") or ""
    return _kibibytes(text, "MemTotal"), _kibibytes(text, "MemAvailable")


def process_memory_bytes(pid: int) -> tuple[int | None, int | None]:
    """Return (resident memory, its peak) of one of our own processes; None once it is gone."""
    import psutil  # late: a daemon that nobody asks does not pay for it

    try:
        rss_bytes = int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None, None
    # psutil has no peak on Linux.
    return rss_bytes, _kibibytes(read_text(Path(f"/proc/{pid}/status")) or "", "VmHWM")


def process_cpu_ns(pid: int) -> int | None:
    """Return user and system time of one of our own processes; None once it is gone."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return round((times.user + times.system) * NS_PER_S)


def worker_stats(worker: WorkerView) -> stats_pb2.WorkerStats:
    """Return what the kernel tells of a worker's process."""
    if worker.pid is None:
        return stats_pb2.WorkerStats(model_id=worker.model_id, inference_count=worker.inference_count)
    rss_bytes, peak_rss_bytes = process_memory_bytes(worker.pid)
    return stats_pb2.WorkerStats(
        model_id=worker.model_id,
        pid=worker.pid,
        rss_bytes=rss_bytes,
        peak_rss_bytes=peak_rss_bytes,
        cpu_time_ns=process_cpu_ns(worker.pid),
        inference_count=worker.inference_count,
    )


def temperatures(root: Path) -> list[stats_pb2.Temperature]:
    """List thermal zones, hwmon sensors and Edge TPUs; a sensor that gives no value now has none."""
    found = []
    for zone in _numbered(root / "sys/class/thermal", "thermal_zone*"):
        millidegrees = read_integer(zone / "temp")
        found.append(_temperature(read_text(zone / "type") or zone.name, millidegrees))
    for chip in _numbered(root / "sys/class/hwmon", "hwmon*"):
        if "thermal_zone" in str((chip / "device").resolve()):
            continue  # the kernel shows thermal zones here a second time
        name = read_text(chip / "name") or chip.name
        for file in _numbered(chip, "temp*_input"):
            sensor = file.name.removesuffix("_input")
            label = read_text(chip / f"{sensor}_label") or sensor
            found.append(_temperature(f"{name}/{label}", read_integer(file)))
    return found + [_temperature(chip.name, _apex_millidegrees(chip)) for chip in _apex_chips(root)]


def _apex_chips(root: Path) -> list[Path]:
    return _numbered(root / "sys/class/apex", "apex_[0-9]*")


def _apex_millidegrees(chip: Path) -> int | None:
    millidegrees = read_integer(chip / "temp")
    return None if millidegrees == APEX_ASLEEP_MILLIDEGREES else millidegrees


def frequencies(root: Path) -> list[stats_pb2.Frequency]:
    """List the clocks of processor cores (cpufreq) and of devices such as the GPU (devfreq)."""
    found = []
    for cpu in _numbered(root / "sys/devices/system/cpu", "cpu[0-9]*"):
        if (cpu / "cpufreq").is_dir():
            now, highest = (
                read_integer(cpu / "cpufreq" / f) for f in ("scaling_cur_freq", "cpuinfo_max_freq")
            )
            found.append(_frequency(cpu.name, now, highest, 1000))
    for device in _numbered(root / "sys/class/devfreq", "*"):
        now, highest = read_integer(device / "cur_freq"), read_integer(device / "max_freq")
        found.append(_frequency(device.name, now, highest, 1))
    return found


def throttling(root: Path) -> list[stats_pb2.Throttling]:
    """List the throttle counters since boot; a board without any may throttle all the same, unseen."""
    return [
        stats_pb2.Throttling(name=name, event_count=count)
        for source in (_throttled_processors, _throttled_jetson, _throttled_raspberry, _throttled_apex)
        for name, count in source(root)
    ]


def _throttled_processors(root: Path) -> Iterator[tuple[str, int | None]]:
    packages = set()
    for cpu in _numbered(root / "sys/devices/system/cpu", "cpu[0-9]*"):
        counters = cpu / "thermal_throttle"
        if not counters.is_dir():
            continue
        yield cpu.name, read_integer(counters / "core_throttle_count")
        package = read_integer(cpu / "topology/physical_package_id")
        if package is not None and package not in packages and (counters / "package_throttle_count").exists():
            packages.add(package)  # every core of a package shows the package's counter
            yield f"package{package}", read_integer(counters / "package_throttle_count")


def _throttled_jetson(root: Path) -> Iterator[tuple[str, int | None]]:
    for file in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")):
        yield file.name.removesuffix("_event_cnt"), read_integer(file)


def _throttled_raspberry(root: Path) -> Iterator[tuple[str, int | None]]:
    """Yield 1 for what has happened since boot: the firmware keeps flags, not counts."""
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        flags = int(text or "", 16)
    except ValueError:
        return
    for bit, name in RASPBERRY_FLAGS.items():
        yield name, flags >> bit & 1


def _throttled_apex(root: Path) -> Iterator[tuple[str, int | None]]:
    """Yield how many trip points each Edge TPU is past: its driver halves the clock at each, and keeps no count."""
    for chip in _apex_chips(root):
        now, trips = _apex_millidegrees(chip), [read_integer(chip / f"trip_point{n}_temp") for n in range(3)]
        known = [trip for trip in trips if trip is not None]
        yield chip.name, sum(now >= trip for trip in known) if known and now is not None else None


def accelerators(root: Path) -> list[stats_pb2.AcceleratorStats]:
    """List the accelerators whose driver tells its load in sysfs: amdgpu, and the GPU of Jetson boards."""
    found = []
    for card in _numbered(root / "sys/class/drm", "card[0-9]*"):
        percent = read_integer(card / "device/gpu_busy_percent")
        if percent is not None:
            used = read_integer(card / "device/mem_info_vram_used")
            found.append(_accelerator(card.name, percent / 100, used))
    for name in ("gpu.0", "17000000.gpu", "17000000.ga10b", "57000000.gpu"):
        load = read_integer(root / "sys/devices" / name / "load")
        load = load if load is not None else read_integer(root / "sys/devices/platform" / name / "load")
        if load is not None:
            found.append(_accelerator("gpu", load / 1000, None))
            break
    return found


def read_text(path: Path) -> str | None:
    """Return a small file's stripped text; None if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return None


def read_integer(path: Path) -> int | None:
    """Return the whole number in a small file; None if there is none."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """List matching entries in the order of their numbers: cpu2 before cpu10."""
    return sorted(folder.glob(pattern), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _kibibytes(text: str, name: str) -> int | None:
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _temperature(name: str, millidegrees: int | None) -> stats_pb2.Temperature:
    return stats_pb2.Temperature(name=name, celsius=None if millidegrees is None else millidegrees / 1000)


def _frequency(name: str, now: int | None, highest: int | None, unit_hz: int) -> stats_pb2.Frequency:
    return stats_pb2.Frequency(
        name=name,
        hz=None if now is None else float(now * unit_hz),
        max_hz=None if highest is None else float(highest * unit_hz),
    )


def _accelerator(name: str, utilization: float, used_bytes: int | None) -> stats_pb2.AcceleratorStats:
    return stats_pb2.AcceleratorStats(name=name, utilization=utilization, memory_used_bytes=used_bytes)


WorkersCallable = Callable[[], Iterable[WorkerView]]
"""How the board calls ask the supervisor for its workers."""
