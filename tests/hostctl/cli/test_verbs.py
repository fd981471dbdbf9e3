"""Every verb beside `run`, as a user runs it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hostctl.farm import QUICK, Done, Hostctl, lines_of, wait_until


@pytest.fixture
def farm(hostctl: Hostctl, board: str) -> Hostctl:
    """A farm with a board that answers and one that does not."""
    hostctl.add_device("bench", board)
    hostctl.add_device("gone", "127.0.0.1:1")
    return hostctl


def lines(done: Done) -> list[dict[str, Any]]:
    """Return the objects that were printed, one a line."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_devices(farm: Hostctl) -> None:
    found = {entry["device"]: entry for entry in farm.results("devices")}
    assert {name: entry["state"] for name, entry in found.items()} == {
        "bench": "healthy",
        "gone": "no answer",
        "local": "on call",
    }
    assert "does not answer" in found["gone"]["error"]
    assert "onnxruntime" in {runtime["name"] for runtime in found["bench"]["info"]["runtimes"]}
    assert found["bench"]["lease"] is None
    table = farm.run("devices").stdout
    assert "bench" in table
    assert "no answer" in table


def test_show(farm: Hostctl) -> None:
    shown = json.loads(farm.run("show", "bench", "--json").stdout)
    assert shown["info"]["device"] == "bench"
    assert shown["stats"]["monotonic_ns"] > 0
    assert shown["models"] == []
    assert "processor" in farm.run("show", "bench").stdout
    gone = farm.run("show", "gone")
    assert gone.returncode == 4


def test_leases_from_reserve_to_release(farm: Hostctl) -> None:
    lease = json.loads(farm.run("reserve", "bench", "--for", "10m", "--json").stdout)
    assert lease["state"] == "active"
    assert lease["device"] == "bench"
    assert lease["ttl_s"] == 600.0
    held = {entry["device"]: entry["lease"] for entry in farm.results("devices")}
    assert held["bench"]["id"] == lease["id"]
    renewed = json.loads(farm.run("renew", lease["id"], "--for", "1h", "--json").stdout)
    assert renewed["ttl_s"] == 3600.0
    assert renewed["ends"] > lease["ends"]
    assert lease["id"] in farm.run("leases").stdout
    assert farm.run("release", lease["id"]).returncode == 0
    assert farm.leases() == []
    (past,) = farm.results("leases", "--all")
    assert past["state"] == "released"
    over = farm.run("renew", lease["id"])
    assert over.returncode == 5
    assert farm.run("release", "nonsense").returncode == 2


def test_a_waiting_reservation_says_for_whom_and_gets_its_turn(farm: Hostctl) -> None:
    first = json.loads(farm.run("reserve", "bench", "--for", "1h", "--json").stdout)
    refused = farm.run("reserve", "bench", "--no-wait")
    assert refused.returncode == 3
    assert f"{first['holder']} holds bench" in refused.stderr
    waiting = farm.start("reserve", "bench", "--for", "30m", "--json")
    wait_until(lambda: len(farm.leases()) == 2, what="the place in the queue")
    farm.run("release", first["id"])
    out, errors = waiting.communicate(timeout=20)
    assert "Waiting: bench is not free" in errors
    second = json.loads(out)
    assert second["state"] == "active"
    assert second["fence"] > first["fence"]
    assert second["ttl_s"] == 1800.0


@pytest.mark.slow
def test_a_selector_takes_what_is_free(farm: Hostctl, board: str) -> None:
    for name in ("one", "two"):
        farm.add_device(name, board)
    with farm.config.open("a") as file:
        file.write('tags = ["twin"]\n')
    text = farm.config.read_text().replace("[devices.one]", '[devices.one]\ntags = ["twin"]')
    farm.config.write_text(text)
    names = {
        json.loads(farm.run("reserve", "tag=twin,runtime=onnxruntime", "--json").stdout)["device"]
        for _ in "12"
    }
    assert names == {"one", "two"}
    assert farm.run("reserve", "tag=twin", "--no-wait").returncode == 3
    assert farm.run("reserve", "tag=nothing").returncode == 2
    missing = farm.run("reserve", "runtime=tensorrt")
    assert missing.returncode == 4
    assert "tensorrt" in missing.stderr


def test_infer(farm: Hostctl, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1.0, -1.0]], np.float32))
    infer = ("infer", "--device", "bench", "--model", str(model))
    seeded = json.loads(farm.run(*infer, "--batch", "3", "--seed", "7", "--json").stdout)
    again = json.loads(farm.run(*infer, "--batch", "3", "--seed", "7", "--json").stdout)
    assert seeded["outputs"] == again["outputs"]
    (summary,) = seeded["outputs"].values()
    assert summary["shape"] == [3, 1]
    given = farm.run(
        *infer, "--input", f"x={tmp_path / 'x.npy'}", "--output", str(tmp_path / "y.npz"), "--json"
    )
    (summary,) = json.loads(given.stdout)["outputs"].values()
    with np.load(tmp_path / "y.npz") as outputs:
        (output,) = outputs.values()
    assert output.shape == (1, 1)
    assert summary["max"] == pytest.approx(float(output[0, 0]))
    assert "round trip" in farm.run(*infer).stdout
    assert farm.leases() == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--input", "nope={x}"), 1, "nope"),
        (("--input", "x=missing.npy"), 2, "missing.npy"),
        (("--input", "x={wide}"), 1, "x"),
        (("--input", "x"), 2, "KEY=VALUE"),
        (("--runtime", "litert"), 2, "litert"),
        (("--option", "thraeds=1"), 1, "threads"),
    ],
)
def test_infer_with_a_mistake(
    farm: Hostctl, model: Path, tmp_path: Path, options: tuple[str, str], code: int, words: str
) -> None:
    files = {"x": tmp_path / "x.npy", "wide": tmp_path / "wide.npy"}
    np.save(files["x"], np.zeros((1, 2), np.float32))
    np.save(files["wide"], np.zeros((1, 5), np.float32))
    done = farm.run(
        "infer", "--device", "bench", "--model", str(model), *(option.format(**files) for option in options)
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(lines_of(done.stderr)) == 1


def test_stats_once_and_as_a_stream(farm: Hostctl) -> None:
    once = json.loads(farm.run("stats", "bench", "--once", "--json").stdout)
    assert once["cpu_count"] >= 1
    assert "processors busy" in farm.run("stats", "bench", "--once", "--interval", "200ms").stdout
    stream = farm.start("stats", "bench", "--json", "--interval", "100ms")
    assert stream.stdout is not None
    samples = [json.loads(stream.stdout.readline()) for _ in range(3)]
    times = [sample["monotonic_ns"] for sample in samples]
    assert times == sorted(times)
    stream.terminate()
    _, errors = stream.communicate(timeout=10)
    assert stream.returncode == 143
    assert len(lines_of(errors)) == 1
    assert farm.run("stats", "bench", "--interval", "1ms").returncode == 2


def test_power_of_a_board_without_rails_says_what_to_do(farm: Hostctl) -> None:
    done = farm.run("power", "bench", "--once")
    assert done.returncode == 1
    assert "no power rail" in done.stderr
    assert "--meter estimate" in done.stderr


def test_meter_list(farm: Hostctl) -> None:
    with farm.config.open("a") as file:
        file.write('[meters.mine]\ndriver = "estimate"\nidle_w = 1\nmax_w = 2\n')
    found = {entry["name"]: entry for entry in farm.results("meter", "list")}
    assert found["mine"]["options"] == {"idle_w": 1, "max_w": 2}
    assert {"board", "estimate", "rapl", "hwmon"} <= set(found)


def test_model_build_and_count(farm: Hostctl, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    built = farm.run("model", "build", "think-ch3", "-o", str(path), "--json")
    assert json.loads(built.stdout)["path"] == str(path)
    count = json.loads(farm.run("model", "count", str(path), "--json").stdout)
    assert count["params"] == 25801
    assert count["ops_per_inference"] == {"value": 50900, "convention": "mac2", "source": "counted"}
    assert "25,801" in farm.run("model", "count", str(path)).stdout
    wrong = farm.run("model", "build", "think-ch33")
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr
    names = {entry["name"] for entry in farm.results("model", "build")}
    assert {"mobilenetv3-small", "resnet50", "digits-dscnn"} <= names


@pytest.mark.slow
def test_results_from_list_to_report(farm: Hostctl, model: Path, tmp_path: Path) -> None:
    first, second = farm.results("run", "--device", "bench", "--model", str(model), "--batch", "1,2", *QUICK)
    listed = farm.stored()
    assert [result["id"] for result in listed] == [second["id"], first["id"]]
    assert first["id"] in farm.run("results", "list").stdout
    assert json.loads(farm.run("results", "show", first["id"][:8], "--json").stdout) == first
    assert "requests.parquet" in farm.run("results", "show", first["id"]).stdout
    exported = farm.run("results", "export", first["id"]).stdout.splitlines()
    assert len(exported) == 2
    assert "power_w.value" in exported[0]
    lines = farm.run("results", "export", "--json").stdout.splitlines()
    assert {json.loads(line)["id"] for line in lines} == {first["id"], second["id"]}
    page = tmp_path / "report.html"
    assert farm.run("results", "report", "-o", str(page)).returncode == 0
    assert first["id"] in page.read_text()
    assert farm.run("results", "show", "ffffffff").returncode == 2


def test_doctor(farm: Hostctl) -> None:
    plain = farm.run("doctor", "--json")
    assert "inventory" in {finding["subject"] for finding in lines(plain)}
    asked = farm.run("doctor", "--all", "--json")
    found = {finding["subject"]: finding for finding in lines(asked)}
    assert found["device bench"]["state"] == "ok"
    assert found["device gone"]["state"] == "broken"
    assert asked.returncode == 1
    farm.config.write_text('[devices.bench]\naddres = "127.0.0.1:1"\n')
    broken = farm.run("doctor")
    assert broken.returncode == 1
    assert "address" in broken.stdout


def test_calc_is_the_design_s_own_example(farm: Hostctl) -> None:
    typed = (
        "--ops",
        "7.78e9",
        "--time-ms",
        "20.46",
        "--batch",
        "1",
        "--power-w",
        "56.96",
        "--idle-w",
        "14.03",
    )
    found = json.loads(farm.run("calc", *typed, "--peak-gops", "1331.2", "--json").stdout)
    assert found["achieved_gops"] == pytest.approx(7.78e9 / 20.46e-3 / 1e9)
    assert found["gops_per_w"]["net"]["value"] == pytest.approx(found["achieved_gops"] / (56.96 - 14.03))
    assert found["performance_ratio"] == pytest.approx(found["achieved_gops"] / 1331.2)
    assert farm.run("calc", "--time-ms", "-1").returncode == 2


@pytest.mark.slow
def test_demo(farm: Hostctl) -> None:
    begin_s = time.monotonic()
    done = farm.spawn("demo", timeout_s=115)
    assert time.monotonic() - begin_s < 100
    assert done.returncode == 0, done.stderr
    for word in (
        "mobilenetv3-small",
        "digits-dscnn",
        "onnxruntime",
        "openvino",
        "GOPS/W net",
        "ENERGY_ESTIMATED",
    ):
        assert word in done.stdout, word
    results = farm.stored()
    assert len(results) == 8
    assert {result["config"]["batch"] for result in results} == {1, 8}
    report = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("report"))
    assert Path(report).stat().st_size > 1000
