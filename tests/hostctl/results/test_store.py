"""Results on real disks: kept whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hostctl.errors import StoreError, UsageError
from hostctl.results import store as store_module
from hostctl.results.store import Raw, ResultStore
from power.trace import Trace
from tests.hostctl.results.results_data import a_result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    made = ResultStore(tmp_path / "data")
    yield made
    made.close()


def raw() -> Raw:
    trace = Trace(np.array([0.0, 1.0, 2.0]), np.array([4.0, 10.0, 4.0]), interval_s=1.0)
    return Raw(np.array([1, 5], np.int64), np.array([4, 9], np.int64), trace, {"run": (0.5, 1.5)})


def leftovers(store: ResultStore) -> list[str]:
    return sorted(path.name for path in (store.directory / "runs").glob("*"))


def test_what_is_kept_comes_back_the_same(store: ResultStore) -> None:
    result = a_result()
    folder = store.save(result, raw())
    assert store.get(result["id"]) == result
    assert json.loads((folder / "result.json").read_text()) == result


def test_raw_samples_keep_their_values_and_their_windows(store: ResultStore) -> None:
    result = a_result()
    store.save(result, raw())
    files = store.raw(result["id"])
    assert pq.read_table(files["requests"]).to_pydict() == {"start_ns": [1, 5], "end_ns": [4, 9]}
    power = pq.read_table(files["power"])
    assert power["power_w"].to_pylist() == [4.0, 10.0, 4.0]
    assert json.loads(power.schema.metadata[b"windows"]) == {"run": [0.5, 1.5]}
    assert json.loads(power.schema.metadata[b"trace"])["reading"] == "instantaneous"


def test_a_broken_run_is_kept_with_what_it_has(store: ResultStore) -> None:
    result = a_result(valid=False, flags=[{"code": "FAILED", "message": "The worker died."}], inferences=None)
    store.save(result)
    assert store.raw(result["id"]) == {}
    assert store.list(valid=False) == [result]
    assert store.list(valid=True) == []


def test_listing_is_newest_first_and_filters(store: ResultStore) -> None:
    old = a_result(created="2026-01-01T00:00:00.000+00:00", device="pi")
    new = a_result(created="2026-02-01T00:00:00.000+00:00")
    for result in (new, old):
        store.save(result)
    assert [result["id"] for result in store.list()] == [new["id"], old["id"]]
    assert store.list(device="pi") == [old]
    assert store.list(model="digits", limit=1) == [new]
    assert store.list(model="another") == []


def test_a_beginning_of_an_id_is_enough_if_it_is_the_only_one(store: ResultStore) -> None:
    store.save(a_result(id="aaaa1111"))
    store.save(a_result(id="aaaa2222"))
    assert store.get("aaaa1")["id"] == "aaaa1111"
    with pytest.raises(UsageError, match="Several results"):
        store.get("aaaa")
    with pytest.raises(UsageError, match="no result 'bbbb'"):
        store.get("bbbb")
    for nonsense in ("", "aa", "%%%%", "../.."):
        with pytest.raises(UsageError):
            store.get(nonsense)


def test_not_a_number_is_refused_and_leaves_nothing(store: ResultStore) -> None:
    with pytest.raises(StoreError, match="not finite"):
        store.save(a_result(throughput_ips=math.nan))
    assert store.list() == []


def test_arrays_that_do_not_fit_leave_nothing(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="length"):
        store.save(a_result(), Raw(np.array([1, 2], np.int64), np.array([3], np.int64)))
    assert leftovers(store) == []


def test_what_a_killed_process_left_is_swept_once_it_is_old(store: ResultStore) -> None:
    runs = store.directory / "runs"
    for name, age_s in (("old", 2 * store_module.ABANDONED_S), ("young", 0.0)):
        (runs / f".partial-{name}").mkdir(parents=True)
        os.utime(runs / f".partial-{name}", (time.time() - age_s,) * 2)
    ResultStore(store.directory).close()
    assert leftovers(store) == [".partial-young"]


@pytest.mark.parametrize("step", ["_write", "_write_table", "_sync"])
def test_a_full_disk_leaves_nothing_behind(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    kept = a_result()
    store.save(kept)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, step, full)
    with pytest.raises(StoreError, match="is full, so the result was not kept"):
        store.save(a_result(), raw())
    assert store.list() == [kept]
    assert leftovers(store) == [kept["id"]]


def test_a_row_that_cannot_be_written_takes_its_files_along(store: ResultStore) -> None:
    result = a_result()
    store.save(result)
    with pytest.raises(StoreError):
        store.save(result)
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="is full"):
        store.save(a_result(environment={"x": "y" * 1_000_000}), raw())
    assert [found["id"] for found in store.list()] == [result["id"]]
    assert leftovers(store) == [result["id"]]
    assert store.get(result["id"]) == result


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="is damaged"):
        ResultStore(tmp_path)


SAVE = """
import sys
from pathlib import Path
from hostctl.results.store import ResultStore
from tests.hostctl.results.results_data import a_result
store = ResultStore(Path(sys.argv[1]))
for index in range(10):
    store.save(a_result(id=f"{sys.argv[2]}{index:04d}"))
"""


@pytest.mark.slow
def test_processes_that_save_at_once(store: ResultStore) -> None:
    command = [sys.executable, "-c", SAVE, str(store.directory)]
    processes = [subprocess.Popen([*command, name]) for name in ("aaaa", "bbbb", "cccc")]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(store.list(limit=100)) == 30
