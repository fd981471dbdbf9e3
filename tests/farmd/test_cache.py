"""The model cache: what arrives, what stays, what goes, and what a failure leaves."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from farmd import errors
from farmd.cache import MARGIN_BYTES, CachedModel, ModelCache
from farmd.storage import FileSystem
from farmd.waiting import Cancel

KIB = 1024


def blob(seed: int, size: int = KIB) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cache_at(
    root: Path, *, limit: int = 1 << 20, largest: int = 1 << 20, system: FileSystem | None = None
) -> ModelCache:
    return ModelCache(root, limit_bytes=limit, max_model_bytes=largest, file_system=system)


def put(cache: ModelCache, data: bytes) -> CachedModel:
    with cache.upload(digest(data), len(data), Cancel()) as upload:
        upload.write(data[upload.offset_bytes :])
        return upload.finish()


def put_idle(cache: ModelCache, data: bytes) -> Path:
    model = put(cache, data)
    model.release()
    return model.path


class FullDisk(FileSystem):
    """Takes so many bytes, then says what a full disk says."""

    def __init__(self, room: int, number: int = errno.ENOSPC) -> None:
        self.room = room
        self.number = number

    def write(self, descriptor: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(self.number, os.strerror(self.number))
        written = os.write(descriptor, data[: self.room])
        self.room -= written
        return written

    def free_bytes(self, directory: Path) -> int:
        return 1 << 40


class SmallDisk(FileSystem):
    """Has so many bytes free when asked."""

    def __init__(self, free: int) -> None:
        self.free = free

    def free_bytes(self, directory: Path) -> int:
        return self.free


def test_a_complete_file_holds_the_bytes_and_is_read_only(tmp_path: Path) -> None:
    path = put_idle(cache_at(tmp_path), blob(1))
    assert path.read_bytes() == blob(1)
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_known_file_needs_no_byte(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    put_idle(cache, blob(1))
    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        assert upload.is_complete
        assert upload.finish().path.read_bytes() == blob(1)


def test_a_known_file_is_known_after_a_restart(tmp_path: Path) -> None:
    put_idle(cache_at(tmp_path), blob(1))
    with cache_at(tmp_path).upload(digest(blob(1)), KIB, Cancel()) as upload:
        assert upload.is_complete


def test_an_upload_resumes_in_the_middle_even_after_a_restart(tmp_path: Path) -> None:
    data = blob(1)
    with cache_at(tmp_path).upload(digest(data), KIB, Cancel()) as upload:
        upload.write(data[:300])
        with pytest.raises(errors.UploadIncomplete) as caught:
            upload.finish()
    assert caught.value.metadata == {"received_bytes": "300", "size_bytes": "1024"}
    again = cache_at(tmp_path)
    with again.upload(digest(data), KIB, Cancel()) as upload:
        assert upload.offset_bytes == 300
        upload.write(data[300:])
        assert upload.finish().path.read_bytes() == data


def test_a_file_that_arrived_whole_before_a_crash_only_needs_its_check(tmp_path: Path) -> None:
    data = blob(1)
    with cache_at(tmp_path).upload(digest(data), KIB, Cancel()) as upload:
        upload.write(data)
    with cache_at(tmp_path).upload(digest(data), KIB, Cancel()) as upload:
        assert upload.is_complete
        assert upload.finish().path.read_bytes() == data


def test_a_wrong_hash_is_refused_and_deleted(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        upload.write(blob(2))
        with pytest.raises(errors.HashMismatch) as caught:
            upload.finish()
    assert caught.value.metadata["found"] == digest(blob(2))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert put(cache, blob(1)).path.read_bytes() == blob(1)


def test_more_bytes_than_announced_are_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    with cache_at(tmp_path).upload(digest(blob(1)), KIB, Cancel()) as upload:
        upload.write(blob(1)[:1000])
        with pytest.raises(errors.RequestInvalid) as caught:
            upload.write(bytes(25))
        assert upload.offset_bytes == 1000
    assert caught.value.violations[0].field == "chunk"


@pytest.mark.parametrize(
    "sha256", ["", "abc", "A" * 64, "../" + "a" * 61, "a" * 63 + "/", "a" * 65, "a" * 64 + "\n"]
)
def test_only_a_hash_can_name_a_file(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(errors.RequestInvalid) as caught, cache_at(tmp_path).upload(sha256, 1, Cancel()):
        pass
    assert caught.value.violations[0].field == "header.sha256"


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_model_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(errors.ModelInvalid, match="not empty"):
        cache_at(tmp_path).check(digest(b""), size)


def test_a_model_that_is_too_large_is_refused_before_any_byte(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=10 * KIB, largest=KIB)
    with pytest.raises(errors.ModelTooLarge) as caught, cache.upload("a" * 64, 3 << 30, Cancel()):
        pass
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.metadata == {"size_bytes": str(3 << 30), "limit_bytes": "1024"}
    assert list((tmp_path / "partial").iterdir()) == []


def test_the_size_must_be_that_of_the_known_file(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    put_idle(cache, blob(1))
    with (
        pytest.raises(errors.RequestInvalid, match="1024"),
        cache.upload(digest(blob(1)), KIB + 1, Cancel()),
    ):
        pass


def test_a_partial_file_longer_than_announced_starts_anew(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    with cache.upload(digest(blob(1)), 4 * KIB, Cancel()) as upload:
        upload.write(bytes(2 * KIB))
    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        assert upload.offset_bytes == 0
        upload.write(blob(1))
        assert upload.finish().path.read_bytes() == blob(1)


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=3 * KIB)
    for seed in (1, 2, 3):
        put_idle(cache, blob(seed))
    put_idle(cache, blob(1))
    put_idle(cache, blob(4))
    assert {path.name for path in tmp_path.iterdir()} - {"partial"} == {
        digest(blob(seed)) for seed in (1, 3, 4)
    }
    assert cache.total_bytes() == 3 * KIB


def test_the_order_of_use_survives_a_restart(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=2 * KIB)
    for seed in (1, 2):
        put_idle(cache, blob(seed))
    os.utime(tmp_path / digest(blob(2)), ns=(5, 5))
    put_idle(cache_at(tmp_path, limit=2 * KIB), blob(3))
    assert (tmp_path / digest(blob(1))).exists()
    assert not (tmp_path / digest(blob(2))).exists()


def test_a_loaded_model_is_never_evicted(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=2 * KIB)
    held = [put(cache, blob(seed)) for seed in (1, 2)]
    with pytest.raises(errors.CacheFull) as caught:
        put(cache, blob(3))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert all(model.path.exists() for model in held)
    held[0].release()
    held[0].release()
    put(cache, blob(3))
    assert not held[0].path.exists()
    assert held[1].path.exists()


def test_an_abandoned_upload_counts_and_can_be_evicted(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=2 * KIB)
    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        upload.write(blob(1)[:1000])
    assert cache.total_bytes() == 1000
    put_idle(cache, blob(2, 2 * KIB))
    assert cache.total_bytes() == 2 * KIB


def test_what_another_upload_was_promised_is_taken(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, limit=2 * KIB)
    with cache.upload(digest(blob(1, 1500)), 1500, Cancel()), pytest.raises(errors.CacheFull):
        put(cache, blob(2))


def test_a_disk_without_room_refuses_before_any_byte_and_deletes_nothing(tmp_path: Path) -> None:
    system = SmallDisk(1 << 40)
    cache = cache_at(tmp_path, system=system)
    kept = put_idle(cache, blob(1))
    system.free = MARGIN_BYTES - 2 * KIB
    with pytest.raises(errors.DiskFull) as caught:
        put(cache, blob(2, KIB))
    assert caught.value.reason == "DISK_FULL"
    assert kept.exists()


def test_a_disk_without_room_makes_room_where_that_helps(tmp_path: Path) -> None:
    system = SmallDisk(1 << 40)
    cache = cache_at(tmp_path, system=system)
    old = put_idle(cache, blob(1))
    system.free = MARGIN_BYTES + 100
    put(cache, blob(2))
    assert not old.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path: Path, number: int) -> None:
    system = FullDisk(10 * KIB + 500, number)
    cache = cache_at(tmp_path, system=system)
    kept = put_idle(cache, blob(1, 10 * KIB))
    with pytest.raises(errors.DiskFull):
        put(cache, blob(2))
    assert kept.read_bytes() == blob(1, 10 * KIB)
    system.room = KIB
    with cache.upload(digest(blob(2)), KIB, Cancel()) as upload:
        assert upload.offset_bytes == 500
        upload.write(blob(2)[500:])
        assert upload.finish().path.read_bytes() == blob(2)
    assert cache.fault is None


def test_a_broken_disk_is_told_until_it_works_again(tmp_path: Path) -> None:
    system = FullDisk(0, errno.EIO)
    cache = cache_at(tmp_path, system=system)
    with pytest.raises(errors.FarmdError, match="Input/output error"):
        put(cache, blob(1))
    assert cache.fault is not None
    assert "Input/output error" in cache.fault
    system.room = KIB
    put(cache, blob(1))
    assert cache.fault is None


def test_a_file_damaged_while_the_daemon_was_away_is_noticed(tmp_path: Path) -> None:
    path = put_idle(cache_at(tmp_path), blob(1))
    path.chmod(0o600)
    path.write_bytes(blob(2))
    cache = cache_at(tmp_path)
    with (
        cache.upload(digest(blob(1)), KIB, Cancel()) as upload,
        pytest.raises(errors.UploadIncomplete, match="damaged"),
    ):
        upload.finish()
    assert put(cache, blob(1)).path.read_bytes() == blob(1)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 10)])
def test_a_file_removed_or_cut_behind_our_back_is_asked_for_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    cache = cache_at(tmp_path)
    harm(put_idle(cache, blob(1)))
    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        assert upload.offset_bytes == 0


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ("a" * 64)).symlink_to("/etc/passwd")
    cache = cache_at(tmp_path)
    assert cache.total_bytes() == 0
    assert (tmp_path / "notes.txt").exists()


def test_a_second_upload_of_a_hash_waits_and_then_finds_the_file(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    found: list[int] = []

    def second() -> None:
        with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
            found.append(upload.offset_bytes)

    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        thread = threading.Thread(target=second)
        thread.start()
        upload.write(blob(1)[:10])
        thread.join(0.1)
        assert thread.is_alive()
        upload.write(blob(1)[10:])
        upload.finish()
    thread.join(10)
    assert found == [KIB]


def test_a_second_upload_that_gives_up_leaves_the_first_alone(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    cancel = Cancel()
    caught: list[errors.FarmdError] = []

    def second() -> None:
        try:
            with cache.upload(digest(blob(1)), KIB, cancel):
                pass
        except errors.FarmdError as error:
            caught.append(error)

    with cache.upload(digest(blob(1)), KIB, Cancel()) as upload:
        thread = threading.Thread(target=second)
        thread.start()
        cancel.set()
        thread.join(10)
        assert [error.reason for error in caught] == ["CANCELLED"]
        upload.write(blob(1))
        assert upload.finish().path.exists()


def test_uploads_of_two_hashes_run_at_once(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    with (
        cache.upload(digest(blob(1)), KIB, Cancel()) as one,
        cache.upload(digest(blob(2)), KIB, Cancel()) as two,
    ):
        for upload, seed in ((one, 1), (two, 2)):
            upload.write(blob(seed))
        assert one.finish().path.read_bytes() == blob(1)
        assert two.finish().path.read_bytes() == blob(2)
