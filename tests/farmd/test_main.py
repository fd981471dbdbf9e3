"""The daemon as a process: how it starts, refuses to start, serves with TLS, and ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import model_pb2
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.farmd.modelfarm import DOUBLE, FAKES, RUNNERS, benchmark_of, header_of, until, x_of
from tests.serving import (
    ROOT,
    await_address,
    device_service,
    lease,
    log_of,
    open_channel,
    reason_of,
    serve_farmd,
    start_farmd,
    stop_farmd,
    write_config,
)

if TYPE_CHECKING:
    from tests.conftest import Certificates

FAKE_RUNTIME: dict[str, Any] = {
    "extra_worker_paths": list(FAKES),
    "worker_env": {"WATTFARM_RUNNERS": RUNNERS},
}


def refused(directory: Path, **config: Any) -> str:
    """Start a farmd that must refuse; return its one sentence."""
    process = start_farmd(directory, **config)
    try:
        assert process.wait(30) == 1, log_of(directory)
    finally:
        stop_farmd(process)
    lines = log_of(directory).strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("farmd: ")
    return lines[0]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    command = [sys.executable, "-m", "farmd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=cwd, env=env, check=False)


def load_fake(service: DeviceServiceStub, metadata: Any = None, **options: str) -> model_pb2.LoadedModel:
    """Load the fakes' model."""
    header = header_of(DOUBLE, options=options)
    requests = (pb.LoadModelRequest(header=header), pb.LoadModelRequest(chunk=DOUBLE))
    return list(service.LoadModel(iter(requests), timeout=60, metadata=metadata))[-1].model


def wait_gone(pid: int, timeout_s: float = 30.0) -> bool:
    """Wait until a process that is not our child has ended."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


# Starting.


def test_it_says_where_it_listens_in_one_line(tmp_path: Path) -> None:
    with serve_farmd(tmp_path, device="bench") as (address, process):
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening {address}\n"
        assert address.startswith("127.0.0.1:")
        with device_service(address) as service:
            assert service.GetInfo(pb.GetInfoRequest()).device == "bench"
    assert process.returncode == 0
    assert not (tmp_path / "address").exists()


def test_options_come_before_the_file(tmp_path: Path) -> None:
    arguments = ("--device", "other", "--board", "some-board", "--state-dir", str(tmp_path / "elsewhere"))
    with serve_farmd(tmp_path, arguments, device="bench") as (address, _), device_service(address) as service:
        info = service.GetInfo(pb.GetInfoRequest())
    assert (info.device, info.board) == ("other", "some-board")
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o700


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with serve_farmd(tmp_path) as (_, process):
        message = refused(tmp_path / "second", state_dir=tmp_path / "state")
        assert f"process {process.pid}" in message
    with serve_farmd(tmp_path):
        pass  # the lock went with its holder


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        assert f"cannot listen on {address} (Address already in use)" in refused(tmp_path, listen=address)
    with serve_farmd(tmp_path / "first") as (address, _):
        assert f"cannot listen on {address}" in refused(tmp_path / "second", listen=address)


def test_an_address_of_another_machine_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    tls = {"cert": certificates.cert, "key": certificates.key}
    assert "cannot listen on 192.0.2.1:0 (Cannot assign requested address)" in refused(
        tmp_path, listen="192.0.2.1:0", tls=tls
    )


def test_an_unusable_state_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used (Not a directory)" in refused(tmp_path, state_dir=tmp_path / "file" / "state")
    assert "cannot be used" in refused(tmp_path, state_dir="/proc/wattfarm")


def test_a_damaged_fence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/fence.json").write_text("{")
    assert "fence.json is damaged" in refused(tmp_path)


# Settings.


def test_check_config_prints_the_settings(tmp_path: Path) -> None:
    path = write_config(tmp_path / "farmd.toml", {"device": "bench", "lease": {"required": True}})
    result = run("--config", str(path), "--check-config")
    assert (result.returncode, result.stderr) == (0, "")
    assert "device = bench" in result.stdout
    assert "lease = required=True" in result.stdout


def test_check_config_says_what_is_wrong(tmp_path: Path) -> None:
    path = write_config(tmp_path / "farmd.toml", {"devise": "bench"})
    for arguments in (("--check-config",), ()):
        result = run("--config", str(path), *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == f"farmd: {path} has an unknown key 'devise'; did you mean 'device'?\n"


def test_check_config_reads_the_certificates(tmp_path: Path) -> None:
    tls = {"cert": tmp_path / "absent.pem", "key": tmp_path / "absent.key"}
    path = write_config(tmp_path / "farmd.toml", {"tls": tls})
    result = run("--config", str(path), "--check-config")
    assert result.returncode == 2
    assert "absent.pem, cannot be read (No such file or directory)" in result.stderr


def test_the_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    write_config(tmp_path / "farmd.toml", {"device": "here"})
    assert "device = here" in run("--check-config", cwd=tmp_path).stdout


def test_version_and_wrong_usage() -> None:
    assert run("--version").stdout.startswith("farmd, version ")
    assert run("--nonsense").returncode == 2
    result = run("--listen", "nowhere")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


# TLS.


def test_beyond_loopback_it_refuses_without_tls(tmp_path: Path) -> None:
    assert "refuses to listen on 0.0.0.0:0 without TLS" in refused(tmp_path, listen="0.0.0.0:0")


def test_tls_beyond_loopback(tmp_path: Path, certificates: Certificates) -> None:
    tls = {"cert": certificates.cert, "key": certificates.key}
    trust = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    with serve_farmd(tmp_path, listen="0.0.0.0:0", tls=tls) as (bound, _):
        address = bound.replace("0.0.0.0", "127.0.0.1")
        with device_service(address, trust) as service:
            service.Stats(pb.StatsRequest(), timeout=10)
        with device_service(address) as plain, pytest.raises(grpc.RpcError) as caught:
            plain.Stats(pb.StatsRequest(), timeout=5)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_mutual_tls_lets_in_only_known_clients(tmp_path: Path, certificates: Certificates) -> None:
    tls = {"cert": certificates.cert, "key": certificates.key, "client_ca": certificates.ca}
    known = grpc.ssl_channel_credentials(
        certificates.ca.read_bytes(),
        certificates.client_key.read_bytes(),
        certificates.client_cert.read_bytes(),
    )
    unknown = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    with serve_farmd(tmp_path, tls=tls) as (address, _):
        with device_service(address, known) as service:
            service.Stats(pb.StatsRequest(), timeout=10)
        with device_service(address, unknown) as service, pytest.raises(grpc.RpcError):
            service.Stats(pb.StatsRequest(), timeout=5)


def test_unusable_certificates_are_refused(tmp_path: Path, certificates: Certificates) -> None:
    cert, key = certificates.cert, certificates.key
    assert "are no pair" in refused(tmp_path, tls={"cert": cert, "key": certificates.client_key})
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("hello")
    assert "is not PEM" in refused(tmp_path, tls={"cert": cert, "key": garbage})
    garbage.write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    assert "no usable certificate" in refused(tmp_path, tls={"cert": cert, "key": key, "client_ca": garbage})
    assert "are no pair" in refused(tmp_path, tls={"cert": garbage, "key": key})
    assert "cannot be read" in refused(tmp_path, tls={"cert": tmp_path, "key": key})


def test_an_encrypted_key_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "is encrypted" in refused(tmp_path, tls={"cert": certificates.cert, "key": locked})


# Ending.


@pytest.mark.slow
def test_a_drain_lets_running_calls_end(tmp_path: Path) -> None:
    with (
        serve_farmd(tmp_path, drain_s=20, **FAKE_RUNTIME) as (address, process),
        open_channel(address) as channel,
    ):
        service, health = DeviceServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        model = load_fake(service)
        watch = service.WatchStats(pb.WatchStatsRequest())
        next(watch)
        answers = service.Benchmark(benchmark_of(model.model_id, duration_s=5), timeout=60)
        next(answers)
        process.send_signal(signal.SIGTERM)
        draining = health_pb2.HealthCheckResponse.NOT_SERVING
        assert until(lambda: health.Check(health_pb2.HealthCheckRequest()).status == draining)
        time.sleep(0.2)  # health says it first, so that nobody comes who would be refused
        with pytest.raises(grpc.RpcError) as caught:
            service.Stats(pb.StatsRequest())
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert reason_of(caught.value) == "SHUTTING_DOWN"
        result = list(answers)[-1].result
        assert result.request_count > 0
        with pytest.raises(grpc.RpcError) as caught:
            for _ in watch:
                pass
        assert reason_of(caught.value) == "SHUTTING_DOWN"
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_drain_is_bounded_during_a_benchmark(tmp_path: Path) -> None:
    with (
        serve_farmd(tmp_path, drain_s=0.5, **FAKE_RUNTIME) as (address, process),
        device_service(address) as service,
    ):
        model = load_fake(service)
        (worker,) = service.Stats(pb.StatsRequest()).stats.workers
        answers = service.Benchmark(benchmark_of(model.model_id, duration_s=60), timeout=120)
        next(answers)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            for _ in answers:
                pass
        assert reason_of(caught.value) == "SHUTTING_DOWN"
        assert process.wait(30) == 0
        assert time.monotonic() - began_s < 25
        assert wait_gone(worker.pid)


@pytest.mark.slow
def test_a_drain_is_bounded_while_a_runtime_hangs(tmp_path: Path) -> None:
    with (
        serve_farmd(tmp_path, drain_s=0.5, infer_timeout_s=600, **FAKE_RUNTIME) as (address, process),
        device_service(address) as service,
    ):
        model = load_fake(service, fault="hang", at="infer")
        (worker,) = service.Stats(pb.StatsRequest()).stats.workers
        stuck = service.Infer.future(pb.InferRequest(model_id=model.model_id, inputs=[x_of(*[1.0] * 8)]))
        time.sleep(0.3)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - began_s < 25
        assert stuck.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert wait_gone(worker.pid)


def test_a_call_that_never_comes_back_does_not_keep_it(tmp_path: Path) -> None:
    code = (
        "import sys, threading; from farmd import main, server; main.LONGEST_END_S = 0.5; "
        "server.Daemon.stop = lambda self, drain_s: threading.Event().wait(); main.main(sys.argv[1:])"
    )
    path = write_config(
        tmp_path / "farmd.toml", {"listen": "127.0.0.1:0", "state_dir": tmp_path / "state", "drain_s": 0}
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "proto")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--config", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
    finally:
        stop_farmd(process)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with (
        serve_farmd(tmp_path, drain_s=60, **FAKE_RUNTIME) as (address, process),
        device_service(address) as service,
    ):
        model = load_fake(service)
        (worker,) = service.Stats(pb.StatsRequest()).stats.workers
        answers = service.Benchmark(benchmark_of(model.model_id, duration_s=60), timeout=120)
        next(answers)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
        assert wait_gone(worker.pid)


def test_kill_9_keeps_the_fence(tmp_path: Path) -> None:
    with serve_farmd(tmp_path) as (address, process), device_service(address) as service:
        service.Stats(pb.StatsRequest(), metadata=lease(41))
        process.kill()
        process.wait()
    with serve_farmd(tmp_path) as (address, _), device_service(address) as service:
        assert service.GetInfo(pb.GetInfoRequest()).fence == 41
        with pytest.raises(grpc.RpcError) as caught:
            service.Stats(pb.StatsRequest(), metadata=lease(40))
        assert reason_of(caught.value) == "LEASE_FENCED"
        service.Stats(pb.StatsRequest(), metadata=lease(41))


def test_a_new_holder_finds_no_models_of_the_past_one(tmp_path: Path) -> None:
    """A holder may go without a word, as after kill -9: what it left would fill the board and work beside the next run."""
    with serve_farmd(tmp_path, **FAKE_RUNTIME) as (address, _), device_service(address) as service:
        everybodys = load_fake(service)
        left = load_fake(service, metadata=lease(1))
        also_mine = load_fake(service, metadata=lease(1))
        service.UnloadModel(pb.UnloadModelRequest(model_id=also_mine.model_id), metadata=lease(1))
        workers = {w.model_id: w.pid for w in service.Stats(pb.StatsRequest()).stats.workers}
        mine = pb.InferRequest(model_id=everybodys.model_id, inputs=[x_of(*[1.0] * 8)])
        assert service.Infer(mine, metadata=lease(2)).outputs
        listed = service.ListModels(pb.ListModelsRequest()).models
        assert [model.model_id for model in listed] == [everybodys.model_id]
        assert wait_gone(workers[left.model_id])
        with pytest.raises(grpc.RpcError) as caught:
            service.Infer(pb.InferRequest(model_id=left.model_id), metadata=lease(2))
        assert "has a new holder (fence 2)" in (caught.value.details() or "")


def test_a_new_holder_ends_the_benchmark_of_the_past_one(tmp_path: Path) -> None:
    with serve_farmd(tmp_path, **FAKE_RUNTIME) as (address, _), device_service(address) as service:
        model = load_fake(service)
        request = benchmark_of(model.model_id, duration_s=60)
        answers = service.Benchmark(request, timeout=120, metadata=lease(1))
        next(answers)
        began_s = time.monotonic()
        mine = service.Benchmark(benchmark_of(model.model_id, duration_s=0.2), timeout=60, metadata=lease(2))
        assert list(mine)[-1].result.request_count > 0
        assert time.monotonic() - began_s < 25
        with pytest.raises(grpc.RpcError) as caught:
            for _ in answers:
                pass
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert reason_of(caught.value) == "LEASE_FENCED"


PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""


def parent_of(directory: Path, body: str = PARENT) -> tuple[subprocess.Popen[str], int, str]:
    """Start a process that starts farmd with --exit-with-parent; returns it, farmd's pid and its address."""
    config = write_config(
        directory / "farmd.toml", {"listen": "127.0.0.1:0", "state_dir": directory / "state", "drain_s": 60}
    )
    command = [sys.executable, "-m", "farmd", "--config", str(config), "--exit-with-parent"]
    command += ["--address-file", str(directory / "address")]
    log = (directory / "farmd.log").open("w")
    parent = subprocess.Popen(
        [sys.executable, "-c", body, *command], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
    )
    log.close()
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    return parent, pid, await_address(directory, parent)


def end(process: subprocess.Popen[str]) -> None:
    """Kill and reap."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    parent, pid, _ = parent_of(tmp_path)
    end(parent)
    assert wait_gone(pid)


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    body = """
import subprocess, sys, threading, time
def start():
    print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid, flush=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(600)
"""
    parent, pid, address = parent_of(tmp_path, body)
    try:
        with device_service(address) as service:
            service.Stats(pb.StatsRequest(), timeout=10)
            time.sleep(0.3)
            service.Stats(pb.StatsRequest(), timeout=10)
    finally:
        end(parent)
    assert wait_gone(pid)


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        with serve_farmd(tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}):
            assert listener.recv(100) == b"READY=1"
        assert listener.recv(100) == b"STOPPING=1"


def test_a_client_that_comes_while_it_starts_is_served(tmp_path: Path) -> None:
    process = start_farmd(tmp_path)
    try:
        address = await_address(tmp_path, process)
        answers: list[pb.GetInfoResponse] = []

        def ask() -> None:
            with device_service(address) as service:
                answers.append(service.GetInfo(pb.GetInfoRequest(), timeout=60))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({answer.instance_id for answer in answers}) == 1
        assert len(answers) == 4
    finally:
        stop_farmd(process)


def test_it_imports_neither_numpy_nor_a_vendor(tmp_path: Path) -> None:
    code = (
        "import sys; import farmd.main, farmd.server; "
        "print(sorted({'numpy', 'onnxruntime', 'openvino', 'ai_edge_litert', 'psutil', 'tomllib'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "proto")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env, check=True
    )
    assert result.stdout == "[]\n"
