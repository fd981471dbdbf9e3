"""Serves a farmd for a test, on a real socket: as a process of its own, or within the test's process.

with serve_farmd(tmp_path, device="bench") as (address, process), device_service(address) as service:
    service.GetInfo(pb.GetInfoRequest())
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from farmd import config as settings
from farmd.server import Daemon, serving

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
ROOT = Path(__file__).resolve().parent.parent


def write_config(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a farmd.toml; dictionaries become tables."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    for name, table in values.items():
        if isinstance(table, Mapping):
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: Any) -> str:
    return json.dumps([str(v) for v in value] if isinstance(value, list | tuple) else _plain(value))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def start_farmd(
    directory: Path, arguments: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **config: Any
) -> subprocess.Popen[str]:
    """Start farmd with a farmd.toml of these settings; its streams are pipes. It may refuse to start."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {"listen": "127.0.0.1:0", "state_dir": directory / "state", **config}
    path = write_config(directory / "farmd.toml", values)
    (directory / "address").unlink(missing_ok=True)
    with (directory / "farmd.log").open("w") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "farmd", "--config", str(path)),
                *("--address-file", str(directory / "address"), *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )


def await_address(directory: Path, process: subprocess.Popen[str]) -> str:
    """Return where it serves, once it does."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with suppress(FileNotFoundError):
            return (directory / "address").read_text().strip()
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"farmd did not serve (exit code {process.poll()}): {log_of(directory)}")


def log_of(directory: Path) -> str:
    """Return what farmd has said on stderr so far."""
    return (directory / "farmd.log").read_text()


def stop_farmd(process: subprocess.Popen[str]) -> int:
    """End it in order, or by force if that takes too long; returns the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return code


@contextmanager
def serve_farmd(
    directory: Path, arguments: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **config: Any
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a real farmd process on an ephemeral loopback port; yields its address and process.

    `config` holds keys of farmd.toml, dictionaries as tables; state and log lie in `directory`.
    """
    process = start_farmd(directory, arguments, env=env, **config)
    try:
        yield await_address(directory, process), process
    finally:
        stop_farmd(process)


@contextmanager
def serve_inside(directory: Path, **config: Any) -> Iterator[Daemon]:
    """Serve within this process: faster, and the test can reach into the daemon; `str(daemon.address)` is where."""
    state_dir = directory / "state"
    state_dir.mkdir(parents=True, exist_ok=True)
    document = {"listen": "127.0.0.1:0", "state_dir": str(state_dir), **config}
    plain = {key: _plain(value) for key, value in document.items()}
    with serving(settings.from_document(plain, "the test", directory), drain_s=0.0) as daemon:
        yield daemon


@contextmanager
def open_channel(
    address: object, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[grpc.Channel]:
    """Open a channel without gRPC's global connection pool, so that a restarted daemon gets a fresh connection."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20)]
    if credentials is None:
        channel = grpc.insecure_channel(str(address), options)
    else:
        channel = grpc.secure_channel(str(address), credentials, options)
    with channel:
        yield channel


@contextmanager
def device_service(
    address: object, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[DeviceServiceStub]:
    """Call the daemon at this address."""
    with open_channel(address, credentials) as channel:
        yield DeviceServiceStub(channel)


def lease(fence: int, name: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a lease."""
    return (("wattfarm-lease", name or f"lease-{fence}"), ("wattfarm-fence", str(fence)))


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in a status' ErrorInfo; "" if it has none."""
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "wattfarm"
            return str(info.reason)
    return ""
