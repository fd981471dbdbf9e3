"""`python -m benchmarks [NAME ...] [--markdown]`: run the benchmarks and print one table."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pkgutil
import platform
import sys
from concurrent.futures import ProcessPoolExecutor

import benchmarks
from benchmarks import Row, rows_of


def names() -> list[str]:
    """Return the benchmark modules, by file name."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def line(row: Row, markdown: bool) -> str:
    """Render one row; the only place where numbers are rounded."""
    baseline = "–" if row.baseline is None else f"{row.baseline:.4g} {row.unit}"
    value = f"{row.value:.3f}" if row.baseline is not None else f"{row.value:.4g} {row.unit}"
    cells = [
        row.name,
        f"{row.measured:.4g} {row.unit}",
        baseline,
        value,
        f"{row.sense} {row.bar:g}",
        "yes" if row.holds else "NO",
    ]
    return "| " + " | ".join(cells) + " |" if markdown else "  ".join(cells)


def _alone(name: str) -> list[Row]:
    """Run one benchmark in a process of its own: the peak of memory of one before it would hide its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(rows_of, name).result()


def main() -> int:
    """Run what was asked for; exit 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*names(), []], help="benchmarks to run (default: all)")
    parser.add_argument("--markdown", action="store_true", help="print a table for docs/performance.md")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load average {load}"
    )
    if arguments.markdown:
        print("\n| claim | measured | baseline | ratio | bar | holds |\n|---|---|---|---|---|---|")
    holds = True
    for name in arguments.name or names():
        for row in _alone(name):
            print(line(row, arguments.markdown), flush=True)
            holds = holds and row.holds
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
