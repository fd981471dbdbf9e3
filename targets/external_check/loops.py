"""The points of the timed loop, of cancelling, and of the end. Each runs on a process of its own and returns what it found."""

import socket
import subprocess
from typing import Any

import numpy as np

from targets.client import Client, Message
from targets.errors import KINDS, TargetsError
from targets.external_check.subject import (
    Failed,
    Subject,
    check_memory,
    demand,
    load_model,
    loaded_inputs,
    refused,
)

_END_S = 10.0
_LONG_NS = 600 * 10**9


def latency(subject: Subject, client: Client) -> str:
    """The timed loop, one request after the other."""
    inputs = loaded_inputs(subject, client)
    reply, starts, ends = client.benchmark(
        duration_ns=200000000, min_count=3, warmup_count=2, inputs=client.place(inputs)
    )
    _check_window(client, reply, starts, ends, duration_ns=200000000, least=3)
    demand(bool((starts[1:] >= ends[:-1]).all()), "requests overlap in the latency scenario")
    demand(reply["in_flight"] == 1, "in_flight is {}, not 1", reply["in_flight"])
    short, starts, ends = client.benchmark(duration_ns=0, min_count=5)
    _check_window(client, short, starts, ends, duration_ns=0, least=5)
    demand(
        short["first_ns"] == reply["first_ns"],
        "first_ns changed: it is of the first inference after the load",
    )
    cut, starts, ends = client.benchmark(duration_ns=_LONG_NS, max_duration_ns=1)
    _check_window(client, cut, starts, ends, duration_ns=0, least=1)
    refused(
        client, "ProtocolError", "benchmark", scenario="sprint", in_flight=None, duration_ns=1, min_count=1, warmup_ns=0,
        warmup_count=0, inputs=None, seed=1, times_path=str(client.folder / "times"),
    )  # fmt: skip
    mean_us = (reply["window_end_ns"] - reply["window_start_ns"]) / reply["requests"] / 1e3
    return "{} requests, {:.1f} us each".format(reply["requests"], mean_us)


def throughput(subject: Subject, client: Client) -> str:
    """The timed loop with the worker's own number of requests in flight."""
    optimal = load_model(subject, client)[2]["optimal_in_flight"]
    reply, starts, ends = client.benchmark(scenario="throughput", duration_ns=200000000, min_count=3)
    _check_window(client, reply, starts, ends, duration_ns=200000000, least=3)
    demand(
        reply["in_flight"] == optimal,
        "in_flight is {}, but {} is optimal_in_flight",
        reply["in_flight"],
        optimal,
    )
    return "{} requests, {} in flight".format(reply["requests"], reply["in_flight"])


def _check_window(
    client: Client, reply: Message, starts: Any, ends: Any, duration_ns: int, least: int
) -> None:
    """The reply and the file of times fit together and to what was asked for."""
    phases = [event["phase"] for event in client.events if event["event"] == "progress"][-2:]
    demand(phases == ["warmup", "running"], "the phases told are {}, not warmup and running", phases)
    demand(len(starts) == len(ends) == reply["requests"], "the file of times holds {} pairs", len(starts))
    demand(reply["requests"] >= least, "{} requests are fewer than min_count={}", reply["requests"], least)
    demand(bool((ends >= starts).all()), "a request ends before it starts")
    demand(bool((np.diff(starts) >= 0).all()), "the starts are not in order")
    begin, end = reply["window_start_ns"], reply["window_end_ns"]
    demand(
        begin <= starts[0] and end == max(ends),
        "the window is not from before the first start to the last end",
    )
    demand(
        end - begin >= duration_ns,
        "the window of {} ns is shorter than duration_ns={}",
        end - begin,
        duration_ns,
    )
    for member in ("batch", "in_flight", "first_ns", "cpu_time_ns"):
        demand(type(reply[member]) is int and reply[member] >= 0, "'{}' is {!r}", member, reply[member])
    demand(reply["outputs_finite"] in (True, False, None), "outputs_finite is {!r}", reply["outputs_finite"])
    told = reply.get("device_time_ns")
    demand(told is None or (type(told) is int and told > 0), "device_time_ns is {!r}", told)
    check_memory(reply["memory"])


def _running(subject: Subject, client: Client) -> int:
    """Start a benchmark of ten minutes and wait until its window has begun; return its number."""
    load_model(subject, client)
    number = client.start_benchmark(duration_ns=_LONG_NS)
    while not any(event.get("phase") == "running" for event in client.events):
        client.listen()
    return number


def cancel(subject: Subject, client: Client) -> str:
    """A running benchmark ends when it is cancelled, and the worker is as good as before."""
    number = _running(subject, client)
    demand(
        client.call("cancel", target=number)["cancelled"] is True,
        "the cancel was answered with cancelled=false",
    )
    try:
        client.finish(number)
    except TargetsError as error:
        demand(type(error) is KINDS["Cancelled"], "the benchmark failed with {}, not Cancelled", error.kind)
    else:
        raise Failed("the benchmark was answered as if it had not been cancelled")
    client.benchmark()
    return "stopped, and ready for more"


def unload(subject: Subject, client: Client) -> str:
    """A model goes and another comes."""
    load_model(subject, client)
    client.call("unload")
    refused(client, "NotLoaded", "describe")
    client.infer(loaded_inputs(subject, client))
    return "unloaded and loaded again"


def close(subject: Subject, client: Client) -> str:
    """It ends in order."""
    client.call("hello")
    client.call("close")
    code = _exit_code(client)
    demand(code == 0, "the exit code after close is {}", code)
    return "answered, exit code 0"


def wire_closed(subject: Subject, client: Client) -> str:
    """Without a daemon it ends by itself."""
    client.call("hello")
    client.sock.shutdown(socket.SHUT_RDWR)
    _exit_code(client)
    return "ended by itself"


def wire_closed_in_a_benchmark(subject: Subject, client: Client) -> str:
    """Also in the middle of a timed loop: the device must not stay taken."""
    _running(subject, client)
    client.sock.shutdown(socket.SHUT_RDWR)
    _exit_code(client)
    return "ended by itself"


def _exit_code(client: Client) -> int:
    try:
        return int(client.process.wait(_END_S))
    except subprocess.TimeoutExpired:
        raise Failed("the process still runs {:g} s later".format(_END_S))
