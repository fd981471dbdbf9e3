"""What farmd costs the board it serves: start-up, memory, CPU time when idle and while it streams a power rail.

A bare Python stands beside start-up and memory.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import Row

STARTS = 5
SETTLE_S = 0.5
OBSERVED_S = 5.0
MAX_START_S = 1.0
MAX_RESIDENT_MB = 60.0
MAX_IDLE_MS_PER_S = 2.0
MAX_STREAMING_MS_PER_S = 30.0
_BARE = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"


def _resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"process {pid} has no resident memory")
    return int(match[1]) * 1024 / 1e6


def _cpu_s(pid: int) -> float:
    """Return the CPU time of all threads; nanoseconds of the scheduler, for /proc/PID/stat counts in steps of 10 ms."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _bare() -> tuple[float, float]:
    """Return (seconds to the first output, resident MB) of a Python that imports nothing."""
    began_s = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        process.stdout.read(1)
        start_s = time.perf_counter() - began_s
        resident_mb = _resident_mb(process.pid)
        process.stdin.close()
    return start_s, resident_mb


def _board(root: Path) -> Path:
    """Write a board with one RAPL package; returns its root."""
    zone = root / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (
        ("name", "package-0"),
        ("energy_uj", "1000000"),
        ("max_energy_range_uj", "262143328850"),
    ):
        (zone / name).write_text(f"{text}\n")
    return root


@contextlib.contextmanager
def _farmd(directory: Path) -> Iterator[tuple[int, grpc.Channel, float]]:
    """Serve; yields the process id, a channel, and the seconds until a health check succeeded."""
    (directory / "farmd.toml").write_text(f'system_root = "{directory / "board"}"\n')
    options = ["--config", str(directory / "farmd.toml"), "--listen", "127.0.0.1:0", "--exit-with-parent"]
    command = [sys.executable, "-m", "farmd", *options, "--state-dir", str(directory / "state")]
    began_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        try:
            address = process.stdout.readline().removeprefix("listening ").strip()
            with grpc.insecure_channel(address) as channel:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
                yield process.pid, channel, time.perf_counter() - began_s
        finally:
            process.terminate()


def _start_s(directory: Path) -> float:
    with _farmd(directory) as (_, _, start_s):
        return start_s


def _costs(directory: Path) -> tuple[float, float, float]:
    """Return (resident MB when idle, CPU ms a second when idle, the same while a rail is streamed)."""
    with _farmd(directory) as (pid, channel, _):
        idle = _load_ms_per_s(pid)
        resident_mb = _resident_mb(pid)
        power = DeviceServiceStub(channel).Power(pb.PowerRequest(interval=Duration(nanos=10_000_000)))
        next(power)
        streaming = _load_ms_per_s(pid)
        power.cancel()
    return resident_mb, idle, streaming


def _load_ms_per_s(pid: int) -> float:
    time.sleep(SETTLE_S)
    before_s = _cpu_s(pid)
    time.sleep(OBSERVED_S)
    return 1000 * (_cpu_s(pid) - before_s) / OBSERVED_S


def run() -> list[Row]:
    """Start farmd several times (the median counts), then watch one for a while."""
    bare = [_bare() for _ in range(STARTS)]
    bare_start_s, bare_mb = (statistics.median(column) for column in zip(*bare, strict=True))
    with tempfile.TemporaryDirectory(prefix="wattfarm-bench-") as name:
        directory = Path(name)
        _board(directory / "board")
        starts_s = [_start_s(directory) for _ in range(STARTS)]
        resident_mb, idle, streaming = _costs(directory)
    return [
        Row(
            f"farmd: start to serving (bare Python: {bare_start_s:.3f} s)",
            *(statistics.median(starts_s), "s", None, MAX_START_S, "at most"),
        ),
        Row(
            f"farmd: resident memory when idle (bare Python: {bare_mb:.1f} MB)",
            *(resident_mb, "MB", None, MAX_RESIDENT_MB, "at most"),
        ),
        Row("farmd: CPU time when idle", idle, "ms/s", None, MAX_IDLE_MS_PER_S, "at most"),
        Row(
            "farmd: CPU time, one rail at 100 Hz", streaming, "ms/s", None, MAX_STREAMING_MS_PER_S, "at most"
        ),
    ]
