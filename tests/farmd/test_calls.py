"""Cutting calls off, draining, and noticing that a client has vanished."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb

from farmd import calls, server
from farmd.calls import SERVICE, CallContext, CallTable
from farmd.errors import LeaseFenced, ShuttingDown
from tests.serving import device_service, serve_inside


class Bare:
    """As much of gRPC's context as a call's end needs."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []
        self.active = True
        self.cancelled = threading.Event()

    def is_active(self) -> bool:
        return self.active

    def add_callback(self, callback: Any) -> bool:
        if self.active:
            self.callbacks.append(callback)
        return self.active

    def cancel(self) -> None:
        self.cancelled.set()

    def end(self) -> None:
        self.active = False
        for callback in self.callbacks:
            callback()


def call_of(bare: Bare, name: str = "Benchmark") -> CallContext:
    return CallContext(bare, SERVICE + name, 0)  # type: ignore[arg-type]


REASON = LeaseFenced("Somebody else has it.")


def test_a_cut_looks_like_a_client_that_has_gone() -> None:
    bare, told = Bare(), []
    call = call_of(bare)
    assert call.add_callback(lambda: told.append("cut"))
    assert call.is_active()
    call.cut(REASON)
    call.cut(ShuttingDown("Too late."))
    bare.end()
    assert told == ["cut"]
    assert not call.is_active()
    assert call.cut_error is REASON
    assert not call.add_callback(lambda: told.append("never"))


def test_a_client_that_goes_is_told_once() -> None:
    bare, told = Bare(), []
    call = call_of(bare)
    call.add_callback(lambda: told.append("gone"))
    bare.end()
    call.cut(REASON)
    assert told == ["gone"]
    assert not call_of(bare).add_callback(lambda: None)


def test_a_call_that_ignores_its_cut_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "END_GRACE_S", 0.05)
    table, stuck, quick = CallTable(), Bare(), Bare()
    stuck_call, quick_call = call_of(stuck), call_of(quick)
    table.enter(stuck_call)
    table.enter(quick_call)
    assert set(table.cut(lambda call: True, REASON)) == {stuck_call, quick_call}
    table.leave(quick_call)
    assert stuck.cancelled.wait(5.0)
    assert not quick.cancelled.is_set()
    assert not table.wait(lambda call: True, 0.01)
    table.leave(stuck_call)
    assert table.wait(lambda call: True, 0.0)


def test_a_drain_waits_for_work_but_not_for_onlookers() -> None:
    table = CallTable()
    work, watch = call_of(Bare(), "Infer"), call_of(Bare(), "WatchStats")
    table.enter(work)
    table.enter(watch)
    timer = threading.Timer(0.3, table.leave, [work])
    watch.add_callback(lambda: table.leave(watch))
    timer.start()
    began_s = time.monotonic()
    calls.drain(table, 30.0)
    assert 0.25 < time.monotonic() - began_s < 20.0
    assert work.cut_error is None
    assert isinstance(watch.cut_error, ShuttingDown)
    with pytest.raises(ShuttingDown):
        table.enter(call_of(Bare()))


class Proxy:
    """A TCP proxy that can stop forwarding without closing, as a pulled cable does."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        self._target = target
        self._pulled = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self._pulled.set()

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            board = socket.create_connection(self._target)
            self._sockets += [client, board]
            for source, sink in ((client, board), (board, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._pulled.is_set():
                    sink.sendall(data)


@contextlib.contextmanager
def proxied(target: tuple[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.mark.slow
def test_a_client_that_vanishes_without_a_word_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_AFTER_MS", 1000)
    monkeypatch.setattr(server, "PING_TIMEOUT_MS", 500)
    with (
        serve_inside(tmp_path) as daemon,
        proxied((daemon.address.host, daemon.address.port)) as proxy,
        device_service(proxy.address) as service,
    ):
        watch = service.WatchStats(pb.WatchStatsRequest())
        next(watch)
        proxy.pull()
        assert daemon.table.wait(lambda call: True, 10.0)
        watch.cancel()


def test_a_client_that_closes_its_connection_ends_its_streams(tmp_path: Path) -> None:
    with serve_inside(tmp_path) as daemon:
        with device_service(daemon.address) as service:
            watch = service.WatchStats(pb.WatchStatsRequest())
            next(watch)
        assert daemon.table.wait(lambda call: True, 5.0)
        with pytest.raises(grpc.RpcError):
            next(watch)
