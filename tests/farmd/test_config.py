"""farmd.toml: what it may say, and the one sentence for everything else."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
from pathlib import Path

import pytest

from farmd import config
from farmd.config import Address, Config, TlsConfig
from farmd.errors import ConfigInvalid


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "farmd.toml"
    path.write_text(text)
    return config.read(path)


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        f"""
        device = "orin-1"
        board = "jetson-agx-orin"
        listen = "[::1]:0"
        state_dir = "state"
        cache_bytes = 2_000_000
        max_model_bytes = 1_000_000
        max_message_bytes = 8_000_000
        max_loaded_models = 3
        default_interpreter = "{sys.executable}"
        extra_worker_paths = ["/opt/vendor", "relative"]
        load_timeout_s = 12
        infer_timeout_s = 0.5
        benchmark_max_s = 60.5
        drain_s = 0
        system_root = "/"
        [tls]
        cert = "board.crt"
        key = "/keys/board.key"
        client_ca = "clients.crt"
        [lease]
        required = true
        [interpreters]
        openvino = "{sys.executable}"
        [external]
        npu = ["{sys.executable}", "--device", "0"]
        [worker_env]
        _OMP = "4"
        [sensors]
        hailort = "power"
        """,
    )
    assert settings.device == "orin-1"
    assert settings.board == "jetson-agx-orin"
    assert settings.listen == Address("::1", 0)
    assert str(settings.listen) == "[::1]:0"
    assert settings.state_dir == tmp_path / "state"
    assert (settings.cache_bytes, settings.max_model_bytes) == (2_000_000, 1_000_000)
    assert (settings.max_message_bytes, settings.max_loaded_models) == (8_000_000, 3)
    assert settings.extra_worker_paths == (Path("/opt/vendor"), tmp_path / "relative")
    assert (settings.load_timeout_s, settings.infer_timeout_s) == (12.0, 0.5)
    assert (settings.benchmark_max_s, settings.drain_s) == (60.5, 0.0)
    assert settings.tls is not None
    assert settings.tls.cert == tmp_path / "board.crt"
    assert settings.tls.key == Path("/keys/board.key")
    assert settings.lease.required
    assert settings.interpreter_of("openvino") == Path(sys.executable)
    assert settings.interpreter_of("litert") == settings.default_interpreter
    assert settings.external["npu"] == (sys.executable, "--device", "0")
    assert settings.program_of("npu") == Path(sys.executable)
    assert f"external = npu={sys.executable} --device 0" in config.summary(settings)
    assert dict(settings.worker_env) == {"_OMP": "4"}
    assert dict(settings.sensors) == {"hailort": "power"}


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path, "")
    assert settings.listen == Address("127.0.0.1", 50051)
    assert settings.tls is None
    assert not settings.lease.required
    assert settings.interpreter_of("anything") == Path(sys.executable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drian_s = 1", "unknown key 'drian_s'; did you mean 'drain_s'?"),
        ("zebra = 1", "unknown key 'zebra'; known are "),
        ("[tls]\ncert = 'a'\nkee = 'b'", "unknown key 'tls.kee'; did you mean 'key'?"),
        ("[tls]\ncert = 'a'", "[tls] lacks 'key'"),
        ("[sensors]\nhailor = 'power'", "unknown key 'sensors.hailor'; did you mean 'hailort'?"),
        ("[sensors]\nhailort = true", '\'sensors.hailort\' must be "temperature" or "power", but is True;'),
        ("tls = true", "'tls' must be a table; begin it with a line [tls]."),
        ("lease = {required = 1}", "'lease.required' must be true or false, but is 1;"),
        ("listen = ':50051'", "'listen' must be"),
        ("listen = '127.0.0.1:70000'", "'listen' must be"),
        ("listen = '[::z]:1'", "'listen' must be"),
        ("listen = 50051", "'listen' must be"),
        ("device = 'a b'", "'device' must be a name"),
        ("device = ''", "'device' must be a name"),
        ("max_loaded_models = 0", "'max_loaded_models' must be a whole number from 1 to 1000, but is 0;"),
        ("max_loaded_models = true", "'max_loaded_models' must be"),
        ("max_loaded_models = 2.0", "'max_loaded_models' must be"),
        ("drain_s = -1", "'drain_s' must be a number of seconds from 0 to 3600, but is -1;"),
        ("drain_s = nan", "'drain_s' must be"),
        ("drain_s = '10'", "write for example drain_s = 10."),
        ("max_message_bytes = 2147483648", "'max_message_bytes' must be"),
        ("cache_bytes = 2_000_000\nmax_model_bytes = 3_000_000", "larger than 'cache_bytes'"),
        ("extra_worker_paths = '/opt'", "'extra_worker_paths' must be a list of paths"),
        ("extra_worker_paths = [1]", "'extra_worker_paths' must be a list of paths"),
        ("state_dir = ''", "'state_dir' must be a path"),
        ("[external]\nnpu = '/bin/sh'", "'external.npu' must be a list of an executable and its arguments"),
        ("[external]\nnpu = []", "'external.npu' must be a list of an executable"),
        ("[external]\nnpu = ['/does/not/exist']", "'external.npu' must be a list of an executable"),
        ("[external]\nnpu = ['/bin/sh', 1]", "'external.npu' must be a list of an executable"),
        (
            "[external]\nn = ['/bin/sh']\n[interpreters]\nn = '/bin/sh'",
            "both in [interpreters] and in [external]",
        ),
        (
            "[interpreters]\nopenvino = '/does/not/exist'",
            "'interpreters.openvino' must be an executable Python",
        ),
        ("[interpreters]\n'a b' = '/bin/sh'", "'interpreters.a b' is not allowed as a key"),
        ("[worker_env]\n1X = 'a'", "'worker_env.1X' is not allowed as a key"),
        ("[worker_env]\nX = 1", "'worker_env.X' must be a text"),
        ("drain_s = ", "is not valid TOML"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, text)
    message = caught.value.message
    assert expected in message
    assert message.startswith(str(tmp_path / "farmd.toml"))
    assert "\n" not in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="does not exist"):
        config.read(tmp_path / "absent.toml")
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        config.read(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'device = "\xe9"')
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        config.read(tmp_path / "latin.toml")


def test_a_smaller_cache_lowers_the_largest_model(tmp_path: Path) -> None:
    settings = read(tmp_path, "cache_bytes = 2_000_000")
    assert settings.max_model_bytes == 2_000_000


def test_the_local_file_comes_before_the_system_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "SYSTEM_CONFIG", tmp_path / "system.toml")
    assert config.find().source is None
    (tmp_path / "system.toml").write_text('device = "system"')
    assert config.find().device == "system"
    (tmp_path / "farmd.toml").write_text('device = "local"')
    assert config.find().device == "local"
    assert config.find(tmp_path / "system.toml").device == "system"


def test_the_command_line_comes_first(tmp_path: Path) -> None:
    settings = config.override(
        read(tmp_path, 'device = "a"\nboard = "b"'), {"device": "c", "board": None, "listen": "localhost:0"}
    )
    assert (settings.device, settings.board, settings.listen) == ("c", "b", Address("localhost", 0))
    with pytest.raises(ConfigInvalid, match=r"command line: '--listen' .* --listen 127.0.0.1:50051\."):
        config.override(settings, {"listen": "nowhere"})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("board.example", False),
    ],
)
def test_only_loopback_is_loopback(host: str, is_loopback: bool) -> None:
    assert Address(host, 1).is_loopback == is_loopback


def test_a_summary_names_the_file_and_every_value(tmp_path: Path) -> None:
    text = config.summary(read(tmp_path, 'device = "orin-1"\n[worker_env]\nA = "1"'))
    assert str(tmp_path / "farmd.toml") in text.splitlines()[0]
    assert "  device = orin-1" in text
    assert "  worker_env = A=1" in text
    assert "  tls = -" in text


def test_the_documented_settings_are_the_defaults() -> None:
    document = (Path(__file__).parents[2] / "docs/farmd.md").read_text()
    block = document.split("```toml\n")[1].split("```")[0]
    live = config.from_document(tomllib.loads(block), "docs/farmd.md", Path("/"))
    assert dataclasses.replace(live, device="", board="", state_dir=Path()) == dataclasses.replace(
        Config(), device="", board="", state_dir=Path()
    )
    uncommented = tomllib.loads(re.sub(r"^# (?=\[|\w+ = )", "", block, flags=re.MULTILINE))
    keys = {field.name for field in dataclasses.fields(Config)} - {"source"}
    assert set(uncommented) == keys
    assert set(uncommented["tls"]) == {field.name for field in dataclasses.fields(TlsConfig)}
