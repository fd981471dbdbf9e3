"""Child processes: their output, their end, and what is left of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from farmd import child as child_module
from farmd.child import TAIL_LINES, Child
from tests.farmd.modelfarm import until


def run(code: str, tmp_path: Path, *, wait: bool = True) -> Child:
    child = Child([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONUNBUFFERED": "1"}, pass_fds=[])
    if wait:
        assert child.exited.wait(20)
    return child


def test_the_last_lines_of_both_streams_are_kept(tmp_path: Path) -> None:
    child = run(
        "import os\nfor n in range(100): os.write(1 + n % 2, b'line %d\\n' % n)\nos.write(2, b'no newline')",
        tmp_path,
    )
    assert child.tail() == [f"line {n}" for n in range(100 - TAIL_LINES + 1, 100)] + ["no newline"]
    assert child.line_count == 101
    assert child.lines_after(99) == (["line 99", "no newline"], 101)
    assert child.returncode == 0


def test_any_bytes_may_be_printed(tmp_path: Path) -> None:
    child = run(
        "import os\nos.write(1, bytes(range(128, 256)) + b'\\n\\n' + b'10%\\r20%\\r' + b'x' * 3000000)",
        tmp_path,
    )
    assert child.all_lines()[1:3] == ["10%", "20%"]
    assert all(len(line) <= child_module.MAX_LINE_BYTES for line in child.all_lines())


@pytest.mark.parametrize(
    ("code", "said", "facts"),
    [
        ("import sys; sys.exit(3)", "ended with exit code 3", {"exit_code": "3"}),
        ("import os; os.abort()", "was killed by SIGABRT", {"signal": "SIGABRT"}),
        ("import os; os.kill(os.getpid(), 35)", "was killed by signal 35", {"signal": "signal 35"}),
    ],
)
def test_how_it_ended_is_named(tmp_path: Path, code: str, said: str, facts: dict[str, str]) -> None:
    child = run(code, tmp_path)
    assert child.how_it_ended() == (said, facts)


def test_the_words_before_a_dump_of_stacks_are_the_last_words(tmp_path: Path) -> None:
    code = "import faulthandler, os; faulthandler.enable(); os.write(2, b'device is gone\\n'); os.abort()"
    child = run(code, tmp_path)
    assert child.tail() == ["device is gone"]
    assert any(line.startswith("Fatal Python error") for line in child.all_lines())


def test_a_dump_alone_gives_its_first_line(tmp_path: Path) -> None:
    assert run("import faulthandler, os; faulthandler.enable(); os.abort()", tmp_path).tail() == [
        "Fatal Python error: Aborted"
    ]


def test_it_leads_its_own_session_and_has_no_input(tmp_path: Path) -> None:
    child = run("import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))", tmp_path)
    assert child.tail() == ["True ''"]


def test_its_descendants_die_with_it(tmp_path: Path) -> None:
    child = run("import subprocess\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid)", tmp_path)
    grandchild = int(child.tail()[0])
    assert until(lambda: not Path(f"/proc/{grandchild}").exists() or "Z" in state_of(grandchild))


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.slow
def test_a_descendant_that_fled_cannot_hold_up_the_end(tmp_path: Path) -> None:
    child = run(
        "import subprocess\np = subprocess.Popen(['sleep', '60'], start_new_session=True)\nprint(p.pid, flush=True)",
        tmp_path,
    )
    assert child.returncode == 0
    os.kill(int(child.tail()[0]), signal.SIGKILL)


def test_a_kill_takes_the_group_and_is_harmless_afterwards(tmp_path: Path) -> None:
    child = run("import time; print('up'); time.sleep(60)", tmp_path, wait=False)
    assert until(lambda: child.line_count == 1)
    child.kill()
    assert child.exited.wait(10)
    child.kill()
    assert child.how_it_ended() == ("was killed by SIGKILL", {"signal": "SIGKILL"})
    assert not Path(f"/proc/{child.pid}").exists()


def test_watchers_are_told_in_order_before_and_after_the_end_is_announced(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    child = run("import time; time.sleep(0.2)", tmp_path, wait=False)
    done = threading.Event()

    def after() -> None:
        told.append(("after", child.exited.is_set()))
        done.set()

    child.watch(lambda: told.append(("at", child.exited.is_set())), after)
    assert done.wait(10)
    assert told == [("at", False), ("after", True)]
    child.watch(lambda: told.append(("late at", True)), lambda: told.append(("late after", True)))
    assert [name for name, _ in told] == ["at", "after", "late at", "late after"]


def test_no_core_is_dumped_and_the_kernel_prefers_it_when_memory_ends(tmp_path: Path) -> None:
    child = run(
        "import resource, time; time.sleep(0.2)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read())",
        tmp_path,
    )
    assert child.tail() == ["(0, 0) 500"]


def test_a_program_that_does_not_exist_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Child(["/no/such/program"], cwd=tmp_path, env={}, pass_fds=[])
