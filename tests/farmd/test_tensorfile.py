"""The mapped file: where it lies, when its name goes, and what happens without room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from farmd import errors, tensorfile
from farmd.tensorfile import TensorFile


def test_it_lies_in_the_first_directory_with_room(tmp_path: Path) -> None:
    file = TensorFile([tmp_path / "missing", tmp_path], 4096)
    assert file.path.parent == tmp_path
    assert file.path.stat().st_size == 4096
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.close()


def test_the_name_goes_and_the_bytes_stay(tmp_path: Path) -> None:
    file = TensorFile([tmp_path], 4096)
    file.map[0:3] = b"abc"
    assert file.path.read_bytes()[:3] == b"abc"
    file.unlink()
    file.unlink()
    assert list(tmp_path.iterdir()) == []
    assert file.map[0:3] == b"abc"
    file.close()
    file.close()


def test_every_page_is_there_before_anybody_writes(tmp_path: Path) -> None:
    file = TensorFile([tmp_path], 1 << 20)
    assert file.path.stat().st_blocks * 512 >= 1 << 20
    file.close()


def test_without_room_the_next_directory_is_taken_and_at_last_the_error_names_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    allocate, calls = os.posix_fallocate, []

    def scarce(descriptor: int, offset: int, length: int) -> None:
        calls.append(length)
        if len(calls) in (1, 3, 4):
            raise OSError(errno.ENOSPC, "full")
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", scarce)
    file = TensorFile([first, second], 4096)
    assert file.path.parent == second
    file.close()
    with pytest.raises(errors.DiskFull, match="4096 bytes of tensors") as caught:
        TensorFile([first, second], 4096)
    assert caught.value.metadata == {"needed_bytes": "4096"}
    assert list(first.iterdir()) == list(second.iterdir()) == []


def test_files_of_daemons_that_are_gone_are_removed_and_no_others(tmp_path: Path) -> None:
    dead = tmp_path / f"{tensorfile.PREFIX}{2**22 + 7}-ab"
    mine = tmp_path / f"{tensorfile.PREFIX}{os.getpid()}-ab"
    other = tmp_path / f"{tensorfile.PREFIX}notes-ab"
    for path in (dead, mine, other):
        path.touch()
    tensorfile.remove_leftovers([tmp_path])
    assert set(tmp_path.iterdir()) == {mine, other}
