"""Which meter a run takes, and the energies of meters whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostctl.farm import QUICK, Hostctl, codes, lines_of, serve_board

RUN_W = 5.0


@pytest.fixture(scope="module")
def rails_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A board with one power sensor that always reads 5 W."""
    directory = tmp_path_factory.mktemp("rails")
    root = directory / "root"
    chip = root / "sys" / "class" / "hwmon" / "hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_text("ina226\n")
    (chip / "power1_input").write_text(f"{int(RUN_W * 1e6)}\n")
    (root / "proc").symlink_to("/proc")
    with serve_board(directory / "farmd", system_root=root) as (address, _):
        yield address


@pytest.mark.slow
def test_readable_rails_are_taken_before_an_estimate(hostctl: Hostctl, rails_board: str, model: Path) -> None:
    hostctl.add_device("bench", rails_board)
    (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), *QUICK)
    assert result["meter"]["driver"] == "board"
    assert result["meter"]["kind"] == "measured"
    assert result["meter"]["sample_rate_hz"] > 1
    assert result["power_w"]["value"] == pytest.approx(RUN_W)
    assert result["idle_power_w"]["value"] == pytest.approx(RUN_W)
    # Nobody states this sensor's accuracy, so no uncertainty is claimed; and it drew no more than idle.
    assert result["power_w"]["u"] is None
    assert {"ACCURACY_UNKNOWN", "NET_NOT_POSITIVE"} <= codes(result)
    assert "ENERGY_ESTIMATED" not in codes(result)
    assert result["gops_per_w"]["net"] is None
    assert result["gops_per_w"]["gross"]["value"] == result["achieved_gops"] / result["power_w"]["value"]


@pytest.mark.slow
def test_a_stated_accuracy_becomes_an_uncertainty(hostctl: Hostctl, rails_board: str, model: Path) -> None:
    hostctl.add_device("bench", rails_board, meter="ina")
    with hostctl.config.open("a") as file:
        file.write('[meters.ina]\ndriver = "board"\naccuracy = {gain = 0.01, offset_w = 0.0}\n')
    # The sensor is read ten times a second, and four readings are needed to tell the noise.
    enough = ("--duration", "800ms", "--idle", "600ms", "--warmup", "0s")
    (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), *enough)
    assert result["meter"]["name"] == "ina"
    # ±1 % of reading is a limit of error: u = 1 % / √3, and U = 2 u.
    assert result["power_w"]["u"] == pytest.approx(2 * 0.01 * RUN_W / 3**0.5, rel=0.05)


@pytest.mark.slow
def test_watts_given_for_an_estimate(hostctl: Hostctl, board: str, model: Path) -> None:
    hostctl.add_device("bench", board)
    with hostctl.config.open("a") as file:
        file.write('[meters.mine]\ndriver = "estimate"\nidle_w = 10\nmax_w = 30\n')
    (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), "--meter", "mine", *QUICK)
    # Processor time is counted in ticks of 10 ms, which is much of so short a window.
    assert 8 <= result["idle_power_w"]["value"] <= 34
    assert 9 < result["power_w"]["value"] <= 33
    assert "ENERGY_ESTIMATED" in codes(result)


@pytest.mark.parametrize(
    ("meter", "words"),
    [
        ('driver = "estimate"\nidle_w = 10', "idle_w and max_w together"),
        ('driver = "estimate"\nidle_w = "ten"\nmax_w = 30', "must be a number of watts"),
        ('driver = "estimate"\nidle_w = 40\nmax_w = 30', "idle_w = 40"),
        ('driver = "board"\nport = "/dev/ttyUSB0"', "unknown key 'port'"),
        ('driver = "board"\nrails = ["VDD"]', "has no power rails"),
    ],
)
@pytest.mark.slow
def test_a_meter_set_up_wrongly_is_told(
    hostctl: Hostctl, board: str, model: Path, meter: str, words: str
) -> None:
    hostctl.add_device("bench", board)
    with hostctl.config.open("a") as file:
        file.write(f"[meters.mine]\n{meter}\n")
    done = hostctl.run("run", "--device", "bench", "--model", str(model), "--meter", "mine", "--json", *QUICK)
    assert done.returncode in (1, 2)
    assert any(words in line for line in lines_of(done.stderr))
    assert hostctl.leases() == []


def test_two_boards_that_share_a_meter_take_turns(hostctl: Hostctl, board: str, rails_board: str) -> None:
    hostctl.add_device("one", board, meter="shared")
    hostctl.add_device("two", rails_board, meter="shared")
    with hostctl.config.open("a") as file:
        file.write('[meters.shared]\ndriver = "board"\n')
    assert hostctl.run("reserve", "one").returncode == 0
    refused = hostctl.run("reserve", "two", "--no-wait")
    assert refused.returncode == 3
    assert "holds one" in refused.stderr
