"""Killed at any instant, the same command ends with the tree of an undisturbed run."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from makers.faults import (
    KILLS,
    Archive,
    Run,
    Start,
    assert_same,
    build_command,
    here,
    make_raw,
    stop_while_writing,
    temporaries,
    tree,
    until,
    vois,
)

from uls_data.engine.queue import ALLOWED_DEATHS

IN_A_ROW = 3
# Between two deaths of workers so many files must appear, so that no case is always the victim.
FILES_BETWEEN = 12
# Signal; to the whole process group, as Ctrl-C in a terminal, or to the run alone; workers.
STOPS = [
    (signal.SIGINT, True, 1),
    (signal.SIGINT, True, 2),
    (signal.SIGINT, False, 2),
    (signal.SIGTERM, True, 2),
    (signal.SIGTERM, False, 1),
    (signal.SIGTERM, False, 2),
]


def reached(out: Path, wanted: int) -> bool:
    return vois(out) >= wanted


def kill_somewhere(run: Run, archive: Archive, out: Path, rng: random.Random) -> bool:
    """Kill the run at an instant of its start, its work or its end; whether it was still going."""
    have = vois(out)
    match rng.choices(["start", "work", "end"], [1, 6, 1])[0]:
        case "start":
            time.sleep(rng.uniform(0, archive.start_s))
        case "work":
            wanted = min(have + rng.randint(0, archive.vois // 4), archive.vois)
            until(lambda: vois(out) >= wanted, run)
            time.sleep(rng.uniform(0, 0.15))
        case _:
            until(lambda: vois(out) >= archive.vois, run)
            time.sleep(rng.uniform(0, 0.1))
    return run.kill()


@pytest.mark.slow
@pytest.mark.parametrize("folder", range(-(-KILLS // IN_A_ROW)))
def test_killed_again_and_again(
    big: Archive, small: Archive, start: Start, tmp_path: Path, folder: int
) -> None:
    """Folders in turn: 1 and 2 workers; a sound archive, one with a damaged case."""
    archive, workers = (big, big, small, small)[folder % 4], 1 + folder % 2
    rng = random.Random(f"kill {folder}")
    out = tmp_path / "out"
    command = archive.command(out, "--workers", workers)
    killed = sum(kill_somewhere(start(command), archive, out, rng) for _ in range(IN_A_ROW))
    assert killed >= 2, "the runs were over before they could be killed"
    start(command).finishes(archive.code)
    assert_same(out, archive.tree)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_while_it_writes(small: Archive, start: Start, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    command = small.command(out, "--workers", workers)
    run = start(command)
    stop_while_writing(run, out)
    run.kill()
    assert temporaries(out)
    start(command).finishes(small.code)
    assert_same(out, small.tree)


def test_killed_alone_with_its_workers_left_behind(
    small: Archive, start: Start, tmp_path: Path
) -> None:
    """Workers that outlive the run (here: stopped) do not block or spoil the next one."""
    out = tmp_path / "out"
    command = small.command(out, "--workers", 2)
    run = start(command)
    stop_while_writing(run, out)
    assert run.children()
    run.send(signal.SIGKILL, group=False)
    run.process.wait(10)
    here(command).finishes(small.code)
    for orphan in run.processes():
        orphan.send_signal(signal.SIGCONT)
    run.leaves_no_process(within_s=20)
    assert_same(out, small.tree)


def test_killed_alone_leaves_no_process(small: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = start(small.command(out, "--workers", 2))
    assert until(lambda: vois(out) >= 2, run)
    assert run.children()
    run.send(signal.SIGKILL, group=False)
    run.process.wait(10)
    run.leaves_no_process(within_s=20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(max(1, KILLS // 20)))
def test_killed_workers(big: Archive, start: Start, tmp_path: Path, seed: int) -> None:
    """The run continues: whichever workers die, at whatever instant."""
    rng = random.Random(f"worker {seed}")
    out = tmp_path / "out"
    run = start(big.command(out, "--workers", 2))
    deaths = 0
    for wanted in range(1, big.vois - FILES_BETWEEN // 2, FILES_BETWEEN):
        # One more could be the third death of one case, which then fails.
        if deaths == ALLOWED_DEATHS or not until(partial(reached, out, wanted), run):
            break
        time.sleep(rng.uniform(0, 0.2))
        if workers := run.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(workers).kill()
                deaths += 1
    assert deaths >= 2
    run.finishes(0)
    assert_same(out, big.tree)
    run.leaves_no_process()


def test_workers_killed_while_they_write(small: Archive, start: Start, tmp_path: Path) -> None:
    """Both at once; what they left half-written is gone when the run ends."""
    out = tmp_path / "out"
    run = start(small.command(out, "--workers", 2))
    left = stop_while_writing(run, out)
    for worker in run.children():
        worker.kill()
    run.send(signal.SIGCONT)
    run.finishes(small.code)
    assert not [path for path in left if path.exists()]
    assert_same(out, small.tree)


def stops_politely(run: Run, code: int) -> None:
    began = time.monotonic()
    found = run.wait(limit_s=10)
    assert found == code, f"exit code {found} after {time.monotonic() - began:.1f} s\n{run.stderr}"
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and "same command" in lines[0].lower(), run.stderr
    run.leaves_no_process()


@pytest.mark.parametrize(
    ("number", "group", "workers"),
    STOPS,
    ids=lambda value: (
        {True: "group", False: "alone"}.get(value)
        if isinstance(value, bool)
        else getattr(value, "name", str(value))
    ),
)
def test_asked_to_stop(
    small: Archive,
    start: Start,
    tmp_path: Path,
    number: signal.Signals,
    group: bool,
    workers: int,
) -> None:
    rng = random.Random(f"stop {number} {group} {workers}")
    out = tmp_path / "out"
    command = small.command(out, "--workers", workers)
    run = start(command)
    wanted = rng.randint(1, small.vois // 2)
    assert until(lambda: vois(out) >= wanted, run)
    time.sleep(rng.uniform(0, 0.1))
    run.send(number, group=group)
    stops_politely(run, 128 + number)
    assert not (out / "manifest/mine.parquet").exists()
    here(command).finishes(small.code)
    assert_same(out, small.tree)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_asked_to_stop_while_workers_start(
    small: Archive, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    run = start(small.command(tmp_path / "out", "--workers", 2))
    assert until(run.children, run)
    run.send(number)
    stops_politely(run, 128 + number)


@pytest.mark.parametrize("workers", [1, 2])
def test_asked_to_stop_twice(small: Archive, start: Start, tmp_path: Path, workers: int) -> None:
    """A second Ctrl-C, from a user who does not wait."""
    out = tmp_path / "out"
    command = small.command(out, "--workers", workers)
    run = start(command)
    assert until(lambda: vois(out) >= 2, run)
    run.send(signal.SIGINT)
    time.sleep(0.05)
    run.send(signal.SIGINT)
    stops_politely(run, 130)
    here(command).finishes(small.code)
    assert_same(out, small.tree)


def test_a_case_that_always_kills_its_worker_is_a_row(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    command = build_command(make_raw(raw, 1), raw, out, "--workers", 1)
    run = start(command)
    while until(run.children, run):
        for worker in run.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    run.finishes(1)
    assert "case_00: worker_lost" in run.stderr
    assert not vois(out)
    here(command).finishes(0)  # it is tried again
    here(build_command(raw / "mine.yaml", raw, tmp_path / "fresh")).finishes(0)
    assert_same(out, tree(tmp_path / "fresh"))
