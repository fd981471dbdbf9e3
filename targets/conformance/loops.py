"""Checks of the timed loop, of cancelling, and of the end."""

import socket
import subprocess
from typing import Any, Optional

import numpy as np

from targets.client import Client, Message
from targets.conformance.subject import Subject, expect, expect_memory, expect_refusal, inputs_for
from targets.errors import OptionInvalid, TargetsError

_END_TIMEOUT_S = 30.0
_SHORT_NS = 100 * 10**6
_LONG_NS = 600 * 10**9


def times_itself(subject: Subject, client: Client) -> None:
    """Both scenarios last as long as they are asked to, and the file of times holds a start and an end for each request."""
    reply = client.call("load", **subject.load)
    inputs = client.place(inputs_for(reply["spec"], 5))
    for scenario, in_flight in (("latency", 1), ("throughput", reply["optimal_in_flight"])):
        told, starts, ends = client.benchmark(
            scenario=scenario, duration_ns=_SHORT_NS, min_count=4, warmup_count=2, inputs=inputs
        )
        _expect_window(client, told, starts, ends, "the {} benchmark".format(scenario), _SHORT_NS, 4)
        expect(
            told["in_flight"] == in_flight, "the {} benchmark had {} in flight", scenario, told["in_flight"]
        )
        if scenario == "latency":
            expect(bool((starts[1:] >= ends[:-1]).all()), "requests of the latency benchmark overlap")
    _keeps_to_its_limits(client)
    try:
        told = client.benchmark(scenario="throughput", in_flight=2, inputs=inputs)[0]
        expect(told["in_flight"] == 2, "2 were asked for, but {} were in flight", told["in_flight"])
    except OptionInvalid:
        expect(
            reply["optimal_in_flight"] == 1, "2 in flight are refused, though optimal_in_flight is above 1"
        )


def _keeps_to_its_limits(client: Client) -> None:
    """min_count and max_duration_ns hold, inputs are made up where none are given, and a scenario is one of the two."""
    least, starts, ends = client.benchmark(duration_ns=0, min_count=5)
    _expect_window(client, least, starts, ends, "a benchmark of at least 5 requests", 0, 5)
    most, starts, ends = client.benchmark(duration_ns=_LONG_NS, max_duration_ns=1)
    _expect_window(client, most, starts, ends, "a benchmark of at most 1 ns", 0, 1)
    expect(
        most["first_ns"] == least["first_ns"], "first_ns changed: it is of the first inference after the load"
    )
    expect_refusal(
        client, "ProtocolError", "benchmark", scenario="sprint", in_flight=None, duration_ns=1, min_count=1, warmup_ns=0,
        warmup_count=0, inputs=None, seed=1, times_path=str(client.folder / "times"),
    )  # fmt: skip


def _expect_window(
    client: Client, reply: Message, starts: Any, ends: Any, what: str, duration_ns: int, least: int
) -> None:
    """The reply, the events and the file of times fit together."""
    phases = [event.get("phase") for event in client.events if event.get("event") == "progress"][-2:]
    expect(
        phases == ["warmup", "running"],
        "{} told the phases {} by progress events, not warmup and running",
        what,
        phases,
    )
    expect(reply["requests"] == len(starts) == len(ends) >= least, what + " tells another number of requests")
    expect(bool((ends >= starts).all()), what + " has a request that ends before it begins")
    expect(bool((np.diff(starts) >= 0).all()), what + " has starts out of order")
    begin_ns, end_ns = reply["window_start_ns"], reply["window_end_ns"]
    expect(begin_ns <= starts[0] and end_ns == max(ends), what + " has a wrong window")
    expect(end_ns - begin_ns >= duration_ns, what + " is too short")
    for member in ("batch", "first_ns", "cpu_time_ns"):
        expect(
            isinstance(reply[member], int) and reply[member] >= 0,
            "{} tells {!r} as '{}'",
            what,
            reply[member],
            member,
        )
    expect(reply["outputs_finite"] in (True, False, None), what + " does not tell outputs_finite")
    device_ns = reply.get("device_time_ns")
    expect(
        device_ns is None or (isinstance(device_ns, int) and device_ns > 0), what + " tells no device_time_ns"
    )
    expect_memory(reply["memory"])


def stops_when_asked(subject: Subject, client: Client) -> None:
    """A cancelled benchmark ends, and leaves the model loaded."""
    number = _running(subject, client)
    reply = client.call("cancel", target=number)
    expect(reply.get("cancelled") is True, "cancel did not tell that there was something to cancel")
    try:
        client.finish(number)
        raise AssertionError("a cancelled benchmark gave a result")
    except TargetsError as error:
        expect(error.kind == "Cancelled", "a cancelled benchmark gave {}", error.kind)
    client.infer(inputs_for(subject.spec, 5))


def _running(subject: Subject, client: Client) -> int:
    """Start a benchmark of ten minutes, wait until its window has begun, and return its number."""
    subject.loaded(client)
    number = client.start_benchmark(duration_ns=_LONG_NS)
    while not any(event.get("phase") == "running" for event in client.events):
        client.listen()
    return number


def ends_in_good_order(subject: Subject, client: Client) -> None:
    """After close it ends by itself with 0; and where the wire is closed without a word it ends too."""
    client.call("hello")
    client.call("close")
    expect(_end_of(client) == 0, "after close it ended with {}", client.process.returncode)
    with subject.client() as another:
        another.call("hello")
        another.sock.shutdown(socket.SHUT_RDWR)
        _expect_end(another)


def ends_with_its_wire(subject: Subject, client: Client) -> None:
    """Without a daemon there must be no worker, even in the middle of a benchmark."""
    _running(subject, client)
    client.sock.shutdown(socket.SHUT_RDWR)
    _expect_end(client)


def _expect_end(client: Client) -> None:
    expect(_end_of(client) is not None, "it lives on {:g} s after its wire was closed", _END_TIMEOUT_S)


def _end_of(client: Client) -> Optional[int]:
    try:
        return client.process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
