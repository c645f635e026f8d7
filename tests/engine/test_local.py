"""Worker processes: all results, deaths by name, memory that is really bounded."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from uls_data.engine import Pool, run_tasks
from uls_data.engine.patience import Patience, Watch
from uls_data.engine.queue import ALLOWED_DEATHS
from uls_data.errors import SourceError

TWO = Pool(2)


def workers_now() -> list[psutil.Process]:
    return [
        c for c in psutil.Process().children() if "uls_data.engine.process" in " ".join(c.cmdline())
    ]


def square(number: int) -> int:
    return number * number


def collect(function: Callable[[Any], Any], tasks: list[Any], pool: Pool, **options: Any) -> Any:
    def lost(task: Any, detail: str) -> str:
        return f"lost {task}: {detail}"

    return dict(run_tasks(function, tasks, pool, lost=lost, **options))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_result_whoever_works(workers: int) -> None:
    expected = {number: number * number for number in range(40)}
    assert collect(square, list(range(40)), Pool(workers)) == expected
    assert collect(square, [], Pool(workers)) == {}


def dies_over(victim: int, folder: Path, number: int) -> int:
    if number == victim:
        with (folder / "attempts").open("ab") as file:
            file.write(b"x")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_task_that_always_kills_its_worker_is_given_up_by_name(tmp_path: Path) -> None:
    found = collect(partial(dies_over, 7, tmp_path), list(range(12)), TWO)
    detail = found.pop(7)
    assert detail.startswith("lost 7: its worker died 3 times")
    assert found == {number: number for number in range(12) if number != 7}
    assert (tmp_path / "attempts").read_bytes() == b"x" * (ALLOWED_DEATHS + 1)


def dies_once(folder: Path, number: int) -> int:
    mark = folder / str(number)
    if not mark.exists():
        mark.touch()
        os._exit(3)
    return number


def test_a_worker_that_dies_once_costs_time_only(tmp_path: Path) -> None:
    assert collect(partial(dies_once, tmp_path), [1, 2, 3], TWO) == {1: 1, 2: 2, 3: 3}


class UnsendableError(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def fails(number: int) -> int:
    raise SourceError("the disk is full") if number else UnsendableError("secret")


@pytest.mark.parametrize(
    ("task", "text"), [(1, "the disk is full"), (0, "UnsendableError: secret")]
)
def test_an_error_of_the_function_ends_the_run(task: int, text: str) -> None:
    with pytest.raises(SourceError, match=text):
        collect(fails, [task], Pool(1))
    assert not workers_now()


def allocate(size: int) -> str:
    try:
        array = np.ones(size, np.uint8)
    except MemoryError:
        return "refused"
    return f"{array.nbytes}"


def test_a_worker_cannot_take_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uls_data.engine.local.free_memory", lambda: 1 << 30)
    found = collect(allocate, [1 << 20, 3 << 30], Pool(1))
    assert found == {1 << 20: f"{1 << 20}", 3 << 30: "refused"}


def sleeps(folder: Path, number: int) -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(0.05)
    return began, time.monotonic()


def test_what_does_not_fit_beside_another_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uls_data.engine.local.free_memory", lambda: 1 << 30)
    large = {3, 4, 9}
    found = collect(
        partial(sleeps, tmp_path),
        list(range(12)),
        TWO,
        need_bytes=lambda number: 2 << 30 if number in large else 0,
    )
    assert len(found) == 12
    for number in large:
        began, ended = found[number]
        others = [times for other, times in found.items() if other != number]
        assert all(end <= began or begin >= ended for begin, end in others)


def test_closing_early_ends_the_workers(tmp_path: Path) -> None:
    results = run_tasks(
        partial(sleeps, tmp_path), list(range(50)), TWO, lost=lambda task, _: (0.0, 0.0)
    )
    next(results)
    assert len(workers_now()) == 2
    results.close()
    assert not workers_now()


def run_script(tmp_path: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
    )


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Workers never run the script that started them."""
    script = """
from uls_data.engine import Pool, run_tasks
print("begins")
print(sorted(run_tasks(abs, [-1, 2, -3], Pool(2), lost=print)))
"""
    result = run_script(tmp_path, script)
    assert result.stdout == "begins\n[(-3, 3), (-1, 1), (2, 2)]\n" and not result.stderr


def test_work_of_the_script_itself_is_refused_in_words(tmp_path: Path) -> None:
    script = """
from uls_data.engine import Pool, run_tasks
from uls_data.errors import SourceError
def mine(number):
    return number
try:
    list(run_tasks(mine, [1, 2, 3], Pool(2), lost=print))
except SourceError as error:
    print(error)
"""
    result = run_script(tmp_path, script)
    assert "a worker process cannot load its work" in result.stdout and "mine" in result.stdout
    assert not result.stderr and len(result.stdout.splitlines()) == 1


def test_work_that_cannot_be_sent_starts_no_process() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        collect(lambda number: number, [1, 2], TWO)
    assert not workers_now()


def test_a_machine_that_starts_no_process_is_told_in_words(tmp_path: Path) -> None:
    """Too many open files stands for too little memory: both refuse the process."""
    script = """
import resource
from uls_data.engine import Pool, run_tasks
from uls_data.errors import SourceError
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 4096))
try:
    list(run_tasks(abs, [1, 2, 3], Pool(2), lost=print))
except SourceError as error:
    print(error)
"""
    result = run_script(tmp_path, script)
    assert "no worker process can be started (Too many open files)" in result.stdout
    assert "ask for fewer workers, or for none (0)" in result.stdout and not result.stderr


def test_fewer_workers_than_asked_for_do_all_the_work(tmp_path: Path) -> None:
    script = """
import os, resource
from uls_data.engine import Pool, run_tasks
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16, 4096))
print(sorted(run_tasks(abs, range(20), Pool(8), lost=print)) == [(n, n) for n in range(20)])
"""
    result = run_script(tmp_path, script)
    assert result.stdout == "True\n", result.stderr
    assert "worker processes can be started (Too many open files)" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_workers_that_cannot_begin_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/absent")  # an interpreter that finds no library
    with pytest.raises(SourceError) as caught:
        collect(square, [1, 2, 3], TWO)
    said, advice = str(caught.value).splitlines()
    assert said.startswith("worker processes end before they begin; the last one said: ")
    assert "rror" in said and "fewer workers" in advice
    assert not workers_now()


def test_nobody_complains_where_the_run_dies_while_workers_start(tmp_path: Path) -> None:
    script = """
import os
from uls_data.engine.process import Worker
workers = [Worker(abs, 1 << 30) for _ in range(2)]
os.kill(os.getpid(), 9)
"""
    result = run_script(tmp_path, script)
    assert result.returncode == -signal.SIGKILL and not result.stderr


def hangs_over(victim: int, number: int) -> int:
    if number == victim:
        os.kill(os.getpid(), signal.SIGSTOP)
    return number


def test_a_task_that_hangs_is_named_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience[int, str](
        seconds=lambda number: 4.0 if number == 3 else 600.0,
        name=lambda number: f"task {number}",
        overdue=lambda number, detail: f"late {number}: {detail}",
    )
    with caplog.at_level("WARNING", "uls_data"):
        found = collect(partial(hangs_over, 3), list(range(8)), TWO, patience=patience)
    detail = found.pop(3)
    assert detail.startswith("late 3: took more than 4 s") and "--case-timeout" in detail
    assert found == {number: number for number in range(8) if number != 3}
    assert "task 3: at work for" in caplog.text
    assert not workers_now()


def test_a_pause_of_this_process_is_no_task_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("uls_data.engine.patience.time.monotonic", lambda: clock[0])
    patience = Patience[int, str](lambda _: 60.0, str, lambda number, _: f"late {number}")
    watch = Watch(patience)
    watch.begin("a", 1)
    clock[0] = 3600.0
    assert watch.overdue() == []
    found = []
    while not found and clock[0] < 3700:
        clock[0] += 2
        found = watch.overdue()
    assert clock[0] > 3660
    assert found == [("a", "late 1")]
    watch.end("a")
    assert watch.overdue() == []
