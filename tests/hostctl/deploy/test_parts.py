"""The parts of a deployment that are plain data: facts, tags, plan, unit, wheels, sentences."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from hostctl.deploy.errors import BoardUnfit, WheelMissing
from hostctl.deploy.facts import Facts, choose_python, parse
from hostctl.deploy.install import read_answer, unit_settings
from hostctl.deploy.layout import layout_of
from hostctl.deploy.ownwheel import own_wheel, repack
from hostctl.deploy.plan import Plan, Request, check_board, make_plan
from hostctl.deploy.remote import connect
from hostctl.deploy.tags import Libc, architecture, platform_tags
from hostctl.deploy.unit import UnitSettings, unit_text
from hostctl.deploy.wheels import Bundle, Target, Wheel, collect, explain, target_of
from hostctl.errors import UsageError
from tests.hostctl.deploy.board import make_wheel, write_wheel

ORIN = """\
Welcome to Ubuntu 20.04.6 LTS
fact prefix /opt/wattfarm
fact root
fact system Linux
fact machine aarch64
fact host orin
fact user lab
fact libc glibc 2.31
fact privileges sudo
fact systemd yes
fact group root
fact group video
fact group i2c
fact free_kib 4000000
fact current 1.0-aaaaaaaaaaaa
fact release 1.0-aaaaaaaaaaaa
fact python /usr/bin/python3|/usr/bin/python3.8|3.8.10|cpython-38-aarch64-linux-gnu|64|yes|no
fact python /usr/bin/python3.8|/usr/bin/python3.8|3.8.10|cpython-38-aarch64-linux-gnu|64|yes|no
fact python /opt/py311/bin/python3|/opt/py311/bin/python3.11|3.11.9|cpython-311-aarch64-linux-gnu|64|yes|yes
fact end yes
"""


def facts(**changes: object) -> Facts:
    """Return the facts of a board, with changes."""
    return dataclasses.replace(parse(ORIN), **changes)  # type: ignore[arg-type]


def test_facts() -> None:
    found = parse(ORIN)
    assert (found.host, found.machine, found.prefix, found.root) == ("orin", "aarch64", "/opt/wattfarm", "")
    assert (found.libc, found.privileges, found.has_systemd) == (Libc("glibc", 2, 31), "sudo", True)
    assert found.free_bytes == 4_096_000_000
    assert (found.current, found.releases) == ("1.0-aaaaaaaaaaaa", frozenset({"1.0-aaaaaaaaaaaa"}))
    assert [str(python) for python in found.pythons] == [
        "/usr/bin/python3 (3.8.10)",
        "/opt/py311/bin/python3 (3.11.9)",
    ]
    assert found.tags(found.pythons[1])[0] == "manylinux_2_31_aarch64"


def test_facts_that_a_board_does_not_tell() -> None:
    silent = parse("fact prefix /opt/wattfarm\nfact free_kib \nfact machine\n")
    assert (silent.libc, silent.free_bytes, silent.has_systemd, silent.current) == (None, None, False, None)
    with pytest.raises(BoardUnfit, match="tells no C library"):
        silent.tags(parse(ORIN).pythons[0])


def test_the_python_for_farmd() -> None:
    found = parse(ORIN)
    assert choose_python(found, None).path == "/opt/py311/bin/python3"
    old, new = found.pythons
    newest = dataclasses.replace(new, path="/usr/bin/python3.14", version=(3, 14, 0))
    assert (
        choose_python(facts(pythons=(newest, new)), None) is new
    )  # the one that is tried before the one that is not
    assert choose_python(facts(pythons=(newest,)), None) is newest
    with pytest.raises(BoardUnfit) as caught:
        choose_python(facts(pythons=(old,)), None)
    assert (
        "has no CPython 3.11 or newer, which farmd needs (found: /usr/bin/python3 (3.8.10))"
        in caught.value.message
    )
    assert "unpack a standalone build to /opt/wattfarm/python, or give --python PATH." in caught.value.message
    with pytest.raises(BoardUnfit, match=r"lacks the module venv.*python3.11-venv"):
        choose_python(facts(pythons=(dataclasses.replace(new, has_venv=False),)), None)
    with pytest.raises(BoardUnfit, match="has no CPython"):  # PyPy has no wheels of grpcio
        choose_python(facts(pythons=(dataclasses.replace(new, abi=""),)), None)
    with pytest.raises(BoardUnfit, match="/usr/bin/sh on orin is no Python that runs"):
        choose_python(facts(pythons=()), "/usr/bin/sh")


def test_platform_tags() -> None:
    assert platform_tags("aarch64", Libc("glibc", 2, 19)) == (
        "manylinux_2_19_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64",
    )  # fmt: skip
    intel = platform_tags("x86_64", Libc("glibc", 2, 17))
    assert intel[:2] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
    assert intel[-4:] == ("manylinux_2_6_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64")
    assert "manylinux2010_x86_64" in intel
    assert platform_tags("aarch64", Libc("musl", 1, 2)) == (
        "musllinux_1_2_aarch64", "musllinux_1_1_aarch64", "musllinux_1_0_aarch64", "linux_aarch64",
    )  # fmt: skip
    assert platform_tags("armv7l", Libc("glibc", 2, 16)) == ("linux_armv7l",)


def test_a_32_bit_system_on_a_64_bit_kernel() -> None:
    assert architecture("aarch64", 32) == "armv7l"
    assert architecture("aarch64", 64) == "aarch64"
    assert architecture("armv7l", 32) == "armv7l"


def test_boards_that_cannot_be_installed_on() -> None:
    service, user = Request("orin-1"), Request("orin-1", service=False)
    check_board(service, facts())
    for changes, said in (
        ({"system": "FreeBSD"}, "runs FreeBSD; farmd needs Linux"),
        ({"lacks": ("flock", "tar")}, "lacks the command 'flock'"),
        ({"prefix": "/home/my user/wf"}, "has blanks or special characters"),
        ({"privileges": "none"}, "'lab' on orin is not root, and 'sudo -n' asks for a password"),
        ({"has_systemd": False}, "does not run systemd; install without a service: --no-service"),
    ):
        with pytest.raises(BoardUnfit) as caught:
            check_board(service, facts(**changes))
        assert said in caught.value.message
    check_board(user, facts(privileges="none", has_systemd=False))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle of one wheel that unpacks to 1 GB."""
    return Bundle("1.1", ("board",), (Wheel(make_wheel(tmp_path), "ab" * 32, 1_000_000_000),))


def plan_of(bundle: Bundle, found: Facts, **request: object) -> Plan:
    """Return the plan for a board."""
    return make_plan(Request("orin-1", **request), found, found.pythons[-1], bundle)  # type: ignore[arg-type]


def test_plan(bundle: Bundle) -> None:
    plan = plan_of(bundle, facts(), board="jetson-agx-orin")
    assert plan.release.startswith("1.1-")
    assert plan.sudo
    assert (
        "switch over from 1.0-aaaaaaaaaaaa, ask its health; what ran before comes back if it fails"
        in plan.lines()
    )
    assert plan.default_config().splitlines()[1:] == [
        'device = "orin-1"', 'board = "jetson-agx-orin"', 'listen = "127.0.0.1:50051"', 'state_dir = "/var/lib/wattfarm"',
    ]  # fmt: skip
    with pytest.raises(
        BoardUnfit, match=r"has 1000 MB free at /opt/wattfarm, but the release takes 10\d\d MB"
    ):
        plan_of(bundle, facts(free_bytes=1_000_000_000))
    there = plan_of(bundle, facts(free_bytes=0, releases=frozenset({plan.release})))
    assert "it is installed already: nothing is sent" in there.lines()


def test_a_release_is_called_after_what_is_in_it(bundle: Bundle) -> None:
    found = facts()
    (wheel,) = bundle.wheels
    other = dataclasses.replace(bundle, wheels=(dataclasses.replace(wheel, sha256="cd" * 32),))
    names = {
        plan_of(bundle, found).release,
        plan_of(other, found).release,
        plan_of(dataclasses.replace(bundle, extras=("board", "litert")), found).release,
        make_plan(Request("orin-1"), found, found.pythons[0], bundle).release,
    }
    assert len(names) == 4
    assert plan_of(bundle, facts(host="other", current=None)).release in names


def test_layout_in_another_root() -> None:
    layout = layout_of(facts(root="/mnt", prefix="/mnt/opt/wattfarm"), service=True)
    assert (layout.config, layout.unit) == (
        "/mnt/etc/wattfarm/farmd.toml",
        "/mnt/etc/systemd/system/farmd.service",
    )
    assert layout_of(facts(prefix="/home/lab/x"), service=False).config == "/home/lab/x/farmd.toml"


UNIT = UnitSettings(
    "wattfarm", "/opt/wattfarm/current/venv/bin/farmd --config x", "/var/lib/wattfarm", 10.0, ("video",)
)


def test_unit() -> None:
    lines = unit_text(UNIT).splitlines()
    for line in (
        "ExecStart=/opt/wattfarm/current/venv/bin/farmd --config x", "User=wattfarm", "SupplementaryGroups=video",
        "StateDirectory=wattfarm", "ProtectHome=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "Type=notify",
        "TimeoutStopSec=40", "KillMode=mixed", "OOMPolicy=continue",
    ):  # fmt: skip
        assert line in lines
    assert not [
        line for line in lines if line.startswith(("MemoryDenyWriteExecute", "PrivateDevices", "WatchdogSec"))
    ]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    for number, changes in enumerate(({}, {"state_dir": "/data/wattfarm", "groups": ()})):
        settings = dataclasses.replace(UNIT, user="root", command="/bin/true --config x", **changes)  # type: ignore[arg-type]
        file = tmp_path / f"farmd{number}.service"
        file.write_text(unit_text(settings))
        done = subprocess.run(
            [analyze, "verify", file], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_unit_sees_what_farmd_needs() -> None:
    changes = {"state_dir": "/data/wattfarm", "groups": (), "needed_paths": ("/home/lab/py/bin/python",)}
    elsewhere = unit_text(dataclasses.replace(UNIT, **changes))  # type: ignore[arg-type]
    assert "\nReadWritePaths=/data/wattfarm\n" in elsewhere
    assert "\nProtectHome=read-only\n" in elsewhere
    assert "SupplementaryGroups=" not in elsewhere


def test_unit_follows_the_settings_that_farmd_read(bundle: Bundle) -> None:
    read = {
        "state_dir": "/data/wattfarm", "drain_s": "25.0",
        "interpreters": "openvino=/home/lab/ov/bin/python3, litert=/usr/bin/python3",
        "extra_worker_paths": "-", "default_interpreter": "/opt/wattfarm/x",
    }  # fmt: skip
    settings = unit_settings(plan_of(bundle, facts()), read)
    assert (settings.state_dir, settings.drain_s, settings.groups) == (
        "/data/wattfarm",
        25.0,
        ("video", "i2c"),
    )
    assert "/home/lab/ov/bin/python3" in settings.needed_paths
    assert "-" not in settings.needed_paths


def test_answers_of_steps() -> None:
    said = read_answer(
        "motd\nnote Made it.\nmissing a.whl\nsetting listen = 127.0.0.1:1\nlog a  b\noutcome active\n"
    )
    assert (said.notes, said.missing, said.log) == (["Made it."], ["a.whl"], ["a  b"])
    assert (said.settings, said.outcome, said.error) == ({"listen": "127.0.0.1:1"}, "active", None)
    assert read_answer("error First.\nerror Second.\n").error == "First."


# Wheels.


def test_markers_are_those_of_the_board() -> None:
    target = target_of(facts(), parse(ORIN).pythons[1])
    assert target.title == "CPython 3.11 on aarch64 with glibc 2.31"
    markers = target.markers()
    assert (markers["platform_machine"], markers["python_full_version"]) == ("aarch64", "3.11.9")
    assert target.options()[:7] == [
        "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
    ]  # fmt: skip


TARGET = Target(
    "3.11", "3.11.9", "cp311", ("linux_aarch64",), "aarch64", "CPython 3.11 on aarch64 with glibc 2.31"
)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement openvino>=2024.6; extra == 'openvino'\n"
            "ERROR: No matching distribution found for openvino>=2024.6\n",
            "There is no wheel of 'openvino>=2024.6' for CPython 3.11 on aarch64 with glibc 2.31; leave out",
        ),
        ("WARNING: Retrying ... NewConnectionError(... Name or service not known)\n", "The package index cannot be reached"),
        ("/usr/bin/python3: No module named pip\n", "has no pip, which collects the wheels; run '"),
        ("ERROR: Cannot install a and b.\nERROR: ResolutionImpossible: see\n", "(ResolutionImpossible: see); mend that"),
        ("", "(pip said nothing)"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_a_sentence(errors: str, said: str) -> None:
    assert said in explain(errors, TARGET)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for the index."""
    folder = tmp_path / "index"
    for name, tag in (
        ("pip", "py3-none-any"),
        ("native", "cp311-cp311-manylinux_2_17_aarch64"),
        ("onlythere", "py3-none-any"),
    ):
        info = f"{name}-1.0.dist-info"
        write_wheel(
            folder / f"{name}-1.0-{tag}.whl",
            info,
            {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"},
        )
    for key, value in (
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(folder)),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(key, value)
    return folder


def own(folder: Path, *requirements: str) -> Path:
    """Write a wheel of a wattfarm with these requirements."""
    info = "wattfarm-1.0.dist-info"
    lines = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    text = f"Metadata-Version: 2.1\nName: wattfarm\nVersion: 1.0\nProvides-Extra: board\n{lines}"
    return write_wheel(folder / "wattfarm-1.0-py3-none-any.whl", info, {f"{info}/METADATA": text})


def test_wheels_for_another_machine_and_python(index: Path, tmp_path: Path) -> None:
    there = "onlythere; platform_machine == 'aarch64' and extra == 'board'"
    wheel = own(tmp_path, "native", there, "nowhere; platform_machine != 'aarch64'")
    target = target_of(facts(), parse(ORIN).pythons[1])
    bundle = collect(wheel, ("board",), target, tmp_path / "cache")
    assert sorted(found.name.partition("-")[0] for found in bundle.wheels) == [
        "native",
        "onlythere",
        "pip",
        "wattfarm",
    ]
    assert bundle.requirement == "wattfarm[board]==1.0"
    next(index.glob("native-*")).unlink()
    assert collect(wheel, ("board",), target, tmp_path / "cache") == bundle  # out of the cache
    with pytest.raises(WheelMissing, match="There is no wheel of 'native'"):
        collect(wheel, ("board",), target, tmp_path / "cache", refresh=True)


def test_a_damaged_cache_is_not_used(index: Path, tmp_path: Path) -> None:
    wheel = own(tmp_path, "native")
    target = target_of(facts(), parse(ORIN).pythons[1])
    bundle = collect(wheel, (), target, tmp_path / "cache")
    damaged = next(found.path for found in bundle.wheels if found.name.startswith("native"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-10])
    assert collect(wheel, (), target, tmp_path / "cache") == bundle
    assert damaged.read_bytes() == whole


def test_a_wheel_of_something_else_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(WheelMissing, match="is a wheel of native, not of wattfarm"):
        collect(next(index.glob("native-*")), (), TARGET, tmp_path / "cache")


def test_what_is_installed_becomes_a_wheel_again(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(make_wheel(tmp_path)) as archive:
        archive.extractall(site)
    info = site / "wattfarm-1.0.dist-info"
    (info / "INSTALLER").write_text("pip\n")
    with (info / "RECORD").open("a") as record:
        record.write("../../bin/farmd,,\nwattfarm-1.0.dist-info/INSTALLER,,\n")
    wheel = repack(PathDistribution(info), tmp_path / "out")
    first = wheel.read_bytes()
    assert repack(PathDistribution(info), tmp_path / "out").read_bytes() == first
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "farmd/main.py" in names
        assert not [name for name in names if "bin/" in name or name.endswith("INSTALLER")]
        record_lines = archive.read(f"{info.name}/RECORD").decode().splitlines()
    assert [line for line in record_lines if line.startswith("farmd/main.py,sha256=")]
    assert record_lines[-1] == f"{info.name}/RECORD,,"


def test_the_wheel_of_a_source_tree_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hostctl.deploy import ownwheel

    kept = tmp_path / "own" / "0123456789abcdef" / "wattfarm-9-py3-none-any.whl"
    kept.parent.mkdir(parents=True)
    kept.touch()
    monkeypatch.setattr(ownwheel, "_tree_hash", lambda _source: "0123456789abcdef")
    assert own_wheel(tmp_path) == kept


# ssh.


def test_one_connection_for_all_calls() -> None:
    with connect("lab@board", None, ["Port=2222"]) as remote:
        prefix = " ".join(remote._prefix)
        assert prefix.startswith("ssh -o Port=2222 -o ControlMaster=auto -o ControlPath=")
    with pytest.raises(UsageError, match="--ssh-command is empty"), connect("lab@board", " ", []):
        pass
