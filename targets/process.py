"""What a worker can tell of its own process: clocks, memory, CPU time, threads."""

import os
import time
from typing import Callable, Dict, Optional, Set


def _monotonic_ns() -> int:
    return int(time.monotonic() * 1e9)


def _process_time_ns() -> int:
    return int(time.process_time() * 1e9)


# Python 3.6 has neither of the two; a double holds 104 days of nanoseconds exactly.
monotonic_ns: Callable[[], int] = getattr(time, "monotonic_ns", _monotonic_ns)
process_time_ns: Callable[[], int] = getattr(time, "process_time_ns", _process_time_ns)


def memory_of_process() -> Dict[str, Optional[int]]:
    """Return rss_bytes and peak_rss_bytes of this process; None where /proc does not tell (proc(5))."""
    found: Dict[str, Optional[int]] = {"rss_bytes": None, "peak_rss_bytes": None}
    names = {"VmRSS": "rss_bytes", "VmHWM": "peak_rss_bytes"}
    try:
        with open("/proc/self/status") as status:
            for line in status:
                key, _, rest = line.partition(":")
                if key in names:
                    found[names[key]] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return {"rss_bytes": None, "peak_rss_bytes": None}
    return found


def thread_ids() -> Set[str]:
    """Return the ids of the native threads of this process; empty where /proc does not tell."""
    try:
        return set(os.listdir("/proc/self/task"))
    except OSError:
        return set()


def usable_cores() -> int:
    """Return the processors this process may run on, containers and affinity included."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return max(1, os.cpu_count() or 1)
