"""The table from exceptions to rich statuses, and what of them reaches a client."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from farmd import errors, status
from tests.farmd.modelfarm import failure_of


def all_errors(root: type[errors.FarmdError] = errors.FarmdError) -> Iterator[type[errors.FarmdError]]:
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


@pytest.mark.parametrize("kind", list(all_errors()))
def test_every_error_has_a_code_and_a_reason(kind: type[errors.FarmdError]) -> None:
    made = status.to_status(kind("It is wrong."))
    info = error_details_pb2.ErrorInfo()
    assert made.details[0].Unpack(info)
    assert info.domain == "wattfarm"
    assert info.reason.isupper()
    assert info.reason.replace("_", "").isalpha()
    assert made.code not in (code_pb2.OK, code_pb2.UNKNOWN)


def test_reasons_are_unique() -> None:
    reasons = [kind.reason for kind in all_errors()]
    assert len(reasons) == len(set(reasons))


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), "DISK_FULL"),
        (OSError(errno.EDQUOT, "quota"), "DISK_FULL"),
        (MemoryError(), "OUT_OF_MEMORY"),
        (grpc.RpcError(), "CANCELLED"),
        (OSError(errno.EIO, "io"), "INTERNAL"),
        (ValueError("secret"), "INTERNAL"),
    ],
)
def test_foreign_exceptions_have_their_place(exception: Exception, reason: str) -> None:
    error = status.to_error(exception)
    assert error.reason == reason
    assert "secret" not in error.message


@contextmanager
def served(behaviour: Callable[[bytes, grpc.ServicerContext], Any], kind: str) -> Iterator[Any]:
    """A server with one method of this kind, and a client's callable."""
    make: Any = {
        "unary": grpc.unary_unary_rpc_method_handler,
        "stream": grpc.unary_stream_rpc_method_handler,
        "gather": grpc.stream_unary_rpc_method_handler,
        "both": grpc.stream_stream_rpc_method_handler,
    }[kind]
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[status.StatusInterceptor()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", {"M": make(behaviour)}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
        channel: Any = opened
        calls: dict[str, Callable[[], Any]] = {
            "unary": lambda: channel.unary_unary("/t.S/M")(b"x"),
            "stream": lambda: list(channel.unary_stream("/t.S/M")(b"x")),
            "gather": lambda: channel.stream_unary("/t.S/M")(iter([b"x"])),
            "both": lambda: list(channel.stream_stream("/t.S/M")(iter([b"x"]))),
        }
        yield calls[kind]
    server.stop(0).wait()


@pytest.mark.parametrize("kind", ["unary", "stream", "gather", "both"])
def test_an_error_reaches_the_client_with_all_its_facts(kind: str) -> None:
    def fail(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise errors.WorkerBackOff(
            "Wait a little.",
            metadata={"runtime": "ort", "deaths": 3},
            violations=[errors.FieldViolation("header.runtime", "it dies")],
            retry_delay_s=1.25,
        )

    def fail_later(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        fail(request, context)

    behaviour = fail_later if kind in ("stream", "both") else fail
    with served(behaviour, kind) as call, pytest.raises(grpc.RpcError) as caught:
        call()
    failure = failure_of(caught.value)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "WORKER_BACK_OFF"
    assert failure.message == "Wait a little."
    assert failure.metadata == {"runtime": "ort", "deaths": "3"}
    assert failure.fields == ["header.runtime"]
    assert failure.retry_delay_s == 1.25


def test_what_nobody_foresaw_is_logged_and_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise KeyError("/secret/path")

    with (
        caplog.at_level(logging.ERROR),
        served(fail, "unary") as call,
        pytest.raises(grpc.RpcError) as caught,
    ):
        call()
    failure = failure_of(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in failure.message
    assert failure.metadata == {"exception": "KeyError"}
    assert "/secret/path" in caplog.text


def test_a_status_somebody_set_already_stays() -> None:
    def refuse(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    with served(refuse, "unary") as call, pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert caught.value.details() == "gone"


@pytest.mark.parametrize("character", ["x", "é", "\n", "%", "😀"])
def test_the_longest_status_fits_into_a_clients_metadata(character: str) -> None:
    def fail(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise errors.WorkerCrashed(
            character * 20_000,
            metadata={"output": character * 100_000, "runtime": "ort"},
            violations=[errors.FieldViolation(f"inputs[{n}]", character * 5000) for n in range(100)],
        )

    with served(fail, "unary") as call, pytest.raises(grpc.RpcError) as caught:
        call()
    failure = failure_of(caught.value)
    assert failure.reason == "WORKER_CRASHED"
    assert failure.metadata["runtime"] == "ort"
    assert failure.metadata["output"].startswith("…")
    assert len(failure.metadata["output"]) > 100
    assert failure.message.endswith("…")


def test_a_text_is_cut_at_the_end_that_matters_less() -> None:
    assert status.cut("abc", 3) == "abc"
    assert status.cut("a" * 50 + "z", 29) == "a" * 20 + "…"
    assert status.cut("a" + "z" * 50, 29, keep_end=True) == "…" + "z" * 20


def test_a_workers_error_names_the_field_of_the_request() -> None:
    error = errors.from_worker(
        {"kind": "OptionInvalid", "message": "Unknown option.", "details": {"option": "treads", "value": 2}},
        runtime="ort",
    )
    assert isinstance(error, errors.OptionInvalid)
    assert error.violations == (errors.FieldViolation("header.options.treads", "Unknown option."),)
    assert error.metadata == {"option": "treads", "value": "2", "runtime": "ort"}


@pytest.mark.parametrize("reply", [{}, {"kind": 3, "details": "x"}, {"kind": "Novel", "message": None}])
def test_a_workers_error_of_an_unknown_kind_is_a_fault(reply: dict[str, Any]) -> None:
    assert type(errors.from_worker(reply)) is errors.WorkerFault
