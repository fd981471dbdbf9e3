"""The line to a broker: who lets one in, what is stamped and kept, a broker that goes and comes back."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from power.errors import LinkLost, MeterUnavailable, OptionInvalid
from power.options import Options
from power.sim.common.broker import Access, MqttBroker
from power.sim.common.clock import VirtualTime
from power.transports.mqtt import Broker, Message, MqttLine
from tests.conftest import Certificates


@pytest.fixture
def served() -> Iterator[MqttBroker]:
    with MqttBroker() as made:
        yield made


def at(served: MqttBroker, **settings: Any) -> Broker:
    return Broker("127.0.0.1", served.port, **settings)


def due(line: MqttLine) -> Message:
    message = line.receive(5.0)
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.2", "10.0.0.2:1883"),
        ("10.0.0.2:1884", "10.0.0.2:1884"),
        ("mqtt://broker.lan:1883/", "broker.lan:1883"),
        ("[fe80::1]:1883", "[fe80::1]:1883"),
        ("fe80::1", "[fe80::1]:1883"),
        ("[fe80::1]", "[fe80::1]:1883"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert Broker.from_options(Options({"broker": text}, "m")).address == address


def test_tls_has_a_port_of_its_own() -> None:
    assert Broker.from_options(Options({"broker": "h", "tls": True}, "m")).address == "h:8883"


@pytest.mark.parametrize("text", ["h:", "h:0", "h:65536", ":1883", "h:1883x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(OptionInvalid, match='broker must be "host:port"'):
        Broker.from_options(Options({"broker": text}, "m"))


def test_messages_are_stamped_when_they_come_and_counted(served: MqttBroker) -> None:
    clock = VirtualTime(5.0)
    line, other = MqttLine(at(served), ["a/#"], timebase=clock), MqttLine(at(served), [])
    other.publish("a/1", "one")
    assert due(line) == Message("a/1", b"one", 5_000_000_000)
    clock.sleep(2.0)
    other.publish("b/1", "not for it")
    other.publish("a/2", b"two")
    assert due(line) == Message("a/2", b"two", 7_000_000_000)
    assert (line.received, line.taken) == (2, 2)
    assert line.receive(0.0) is None
    assert list(line.listen(0.02)) == []
    for each in (line, other, line):
        each.close()
    with pytest.raises(LinkLost, match="was closed"):
        line.receive(0.1)
    with pytest.raises(LinkLost, match="was closed"):
        line.publish("a", "b")


def test_the_will_is_published_when_the_line_is_cut(served: MqttBroker) -> None:
    line = MqttLine(at(served), ["p/will"])
    plug = MqttLine(at(served), [], will=("p/will", b"Offline"), reconnect_s=0.0)
    plug.cut()
    assert due(line).payload == b"Offline"
    with pytest.raises(LinkLost):
        plug.receive(5.0)
    plug.close()
    line.close()


def test_a_broker_that_comes_back_is_subscribed_to_again(served: MqttBroker) -> None:
    line = MqttLine(at(served), ["a/#"], reconnect_s=10.0)
    served.stop()
    later = threading.Timer(0.4, served.start)
    later.start()
    line.publish("a/1", "waited for it")
    assert due(line).payload == b"waited for it"
    later.join()
    line.close()


def test_a_broker_that_does_not_come_back(served: MqttBroker) -> None:
    line = MqttLine(at(served), ["a/#"], reconnect_s=0.3)
    begun_s = time.monotonic()
    served.stop()
    for _ in range(2):
        with pytest.raises(
            LinkLost, match=r"The broker '127.0.0.1:\d+' is gone \(.*\) and did not come back within 0.3 s"
        ):
            line.receive(5.0)
    with pytest.raises(LinkLost, match="is gone"):
        line.publish("a/1", "x")
    assert time.monotonic() - begun_s < 20.0
    line.close()


def test_nobody_there(served: MqttBroker) -> None:
    served.stop()
    with pytest.raises(
        MeterUnavailable, match=r"cannot be reached \(.*refused.*\); check that it runs, its address"
    ):
        MqttLine(at(served), ["a"])
    with pytest.raises(MeterUnavailable, match=r"The broker 'no-such-host.invalid:1883' cannot be reached"):
        MqttLine(Broker("no-such-host.invalid"), ["a"])


def test_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT", "s3cret")
    monkeypatch.setenv("WRONG", "guess")
    monkeypatch.delenv("NONE", raising=False)
    with MqttBroker(access=Access({"meter": "s3cret"})) as served:
        with pytest.raises(
            MeterUnavailable, match=r"does not let anybody without a user name in .*; correct username"
        ):
            MqttLine(at(served), ["a"])
        with pytest.raises(MeterUnavailable, match="does not let the user 'meter' in"):
            MqttLine(at(served, username="meter", password_env="WRONG"), ["a"])
        with pytest.raises(MeterUnavailable, match="environment variable NONE, which is not set; export it"):
            MqttLine(at(served, username="meter", password_env="NONE"), ["a"])
        line = MqttLine(at(served, username="meter", password_env="RIGHT"), ["a"])
        line.publish("a", "x")
        assert due(line).payload == b"x"
        line.close()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls(certificates: Certificates) -> None:
    with MqttBroker(access=Access(cert=certificates.cert, key=certificates.key)) as served:
        line = MqttLine(at(served, has_tls=True, ca_file=str(certificates.ca)), ["a"])
        line.publish("a", "x")
        assert due(line).payload == b"x"
        line.close()
        with pytest.raises(MeterUnavailable, match=r"cannot be reached \(.*certificate verify failed"):
            MqttLine(at(served, has_tls=True), ["a"])
        gc.collect()
        with pytest.raises(
            MeterUnavailable, match=r"certificates for the broker .* cannot be used \(.*No such file"
        ):
            MqttLine(at(served, has_tls=True, ca_file="/nowhere.pem"), ["a"])


def test_a_broker_that_does_not_speak_mqtt() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began_s = time.monotonic()
        with pytest.raises(MeterUnavailable, match="cannot be reached"):
            MqttLine(Broker("127.0.0.1", deaf.getsockname()[1]), ["a"], timeout_s=0.3)
        assert time.monotonic() - began_s < 20.0


def test_a_port_that_is_taken(served: MqttBroker) -> None:
    with pytest.raises(
        MeterUnavailable, match=rf"cannot listen on 127.0.0.1:{served.port} .*; choose another port"
    ):
        MqttBroker(served.port).start()
