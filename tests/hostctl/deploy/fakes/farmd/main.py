"""A small farmd for installations: the command line, the settings and the word to systemd of the real one.

FAULT is put in when its wheel is made: "start" (the command does not even run), "settings" (refuses any), "crash" (ends as it
starts), "unhealthy" (serves, but says that it does not).
"""

import argparse
import os
import signal
import socket
import sys
import time
import tomllib
from pathlib import Path

FAULT = "none"
VERSION = "0"


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("config", "listen", "state-dir", "address-file"):
        parser.add_argument(f"--{option}", type=Path)
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--check-config", action="store_true")
    given = parser.parse_args()
    if FAULT == "start":
        sys.exit("farmd: ImportError: libwrong.so.1")
    if given.version:
        print(f"farmd, version {VERSION}")
        return
    settings = tomllib.loads(given.config.read_text())
    if FAULT == "settings" or "devise" in settings:
        print(f"farmd: {given.config} has an unknown key 'devise'; did you mean 'device'?", file=sys.stderr)
        sys.exit(2)
    state = given.state_dir or Path(settings.get("state_dir", Path.home() / "state"))
    if given.check_config:
        print(
            f"Settings of {given.config} are sound.\n  listen = {settings['listen']}\n  state_dir = {state}\n  drain_s = 10.0"
        )
        return
    serve(state, given.address_file)


def serve(state: Path, address_file: Path | None) -> None:
    if FAULT == "crash":
        sys.exit("farmd: The accelerator's library is not there.")
    state.mkdir(parents=True, exist_ok=True)
    (address_file or state / "address").write_text(f"{VERSION} {FAULT}")
    ready = os.environ.get("NOTIFY_SOCKET")
    if ready:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"READY=1", ready.replace("@", "\0", 1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"farmd {VERSION} serves", flush=True)
    while True:
        time.sleep(60)
