"""Asks the small farmd: the file that it writes says whether it is well."""

import argparse
import sys
import time
import tomllib
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--address-file", type=Path)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--timeout", type=float)
    given = parser.parse_args()
    file = given.address_file or Path(tomllib.loads(given.config.read_text())["state_dir"]) / "address"
    end_s = time.monotonic() + given.timeout
    while not file.exists() or not file.read_text():
        if time.monotonic() > end_s or (given.pid and ended(given.pid)):
            print("farmd: The daemon does not serve (its process has ended).", file=sys.stderr)
            return 1
        time.sleep(0.05)
    if "unhealthy" in file.read_text():
        print("farmd: The daemon does not serve (it says NOT_SERVING).", file=sys.stderr)
        return 1
    return 0


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
