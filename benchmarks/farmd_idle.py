"""What an idle farmd costs the board it serves: start-up, resident memory, CPU time. A bare Python stands beside it."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import Row

STARTS = 5
IDLE_S = 5.0
MAX_START_S = 1.0
MAX_RESIDENT_MB = 60.0
MAX_CPU_MS_PER_S = 2.0
_BARE = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"


def _resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"process {pid} has no resident memory")
    return int(match[1]) * 1024 / 1e6


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def _farmd(state_dir: str, idle_s: float) -> tuple[float, float, float]:
    """Return (seconds until a health check succeeds, resident MB then, CPU seconds a second of idling)."""
    command = [
        sys.executable,
        "-m",
        "farmd",
        "--listen",
        "127.0.0.1:0",
        "--state-dir",
        state_dir,
        "--exit-with-parent",
    ]
    began_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        address = process.stdout.readline().removeprefix("listening ").strip()
        with grpc.insecure_channel(address) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            start_s = time.perf_counter() - began_s
            before_s = _cpu_s(process.pid)
            time.sleep(idle_s)
            load = (_cpu_s(process.pid) - before_s) / idle_s if idle_s else 0.0
            resident_mb = _resident_mb(process.pid)
        process.terminate()
    return start_s, resident_mb, load


def run() -> list[Row]:
    """Start farmd several times (the median counts), once long enough to see it idle."""
    bare = [_bare() for _ in range(STARTS)]
    bare_start_s, bare_mb = (statistics.median(column) for column in zip(*bare, strict=True))
    with tempfile.TemporaryDirectory(prefix="wattfarm-bench-") as directory:
        starts_s = [_farmd(directory, 0.0)[0] for _ in range(STARTS)]
        _, resident_mb, load = _farmd(directory, IDLE_S)
    return [
        Row(
            f"farmd: start to serving (bare Python: {bare_start_s:.3f} s)",
            *(statistics.median(starts_s), "s", None, MAX_START_S, "at most"),
        ),
        Row(
            f"farmd: resident memory when idle (bare Python: {bare_mb:.1f} MB)",
            *(resident_mb, "MB", None, MAX_RESIDENT_MB, "at most"),
        ),
        Row("farmd: CPU time when idle", 1000 * load, "ms/s", None, MAX_CPU_MS_PER_S, "at most"),
    ]


if __name__ == "__main__":
    for row in run():
        print(
            f"{row.name}: {row.measured:.3g} {row.unit}, {row.sense} {row.bar:g}: {'yes' if row.holds else 'NO'}"
        )
