"""Two runs at once: one source of one output folder has one writer."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from makers.faults import (
    Archive,
    Run,
    Start,
    assert_same,
    build_command,
    here,
    make_raw,
    stop_while_writing,
    tree,
    until,
    vois,
)


def refused(command: Sequence[str], out: Path, holder: Run) -> None:
    """It ends at once, and says who holds which folder."""
    began = time.monotonic()
    run = here(command)
    run.finishes(2)
    assert time.monotonic() - began < 5
    assert str(out) in run.stderr
    assert re.search(rf"\b{holder.pid}\b", run.stderr), run.stderr
    assert len(run.stderr.strip().splitlines()) <= 3


def test_second_run_is_refused(small: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = small.command(out)
    first = start(command)
    left = stop_while_writing(first, out)
    before = tree(out)
    refused(command, out, first)
    # Other parameters and another name of the same folder make no difference.
    alias = tmp_path / "alias"
    alias.symlink_to(out, target_is_directory=True)
    refused(small.command(alias, "--seed", 7), alias, first)
    assert all(path.exists() for path in left)
    assert tree(out) == before
    first.send(signal.SIGCONT)
    first.finishes(small.code)
    assert_same(out, small.tree)


def test_dry_run_beside_a_run(small: Archive, start: Start, tmp_path: Path) -> None:
    """It touches nothing, so nothing needs to wait for it."""
    out = tmp_path / "out"
    first = start(small.command(out))
    stop_while_writing(first, out)
    before = tree(out)
    here(small.command(out, "--dry-run")).finishes(0)
    assert tree(out) == before
    first.send(signal.SIGCONT)
    first.finishes(small.code)
    assert_same(out, small.tree)


def test_four_at_once(small: Archive, start: Start, tmp_path: Path) -> None:
    """The first one builds; none does harm."""
    out = tmp_path / "out"
    runs = [start(small.command(out)) for _ in range(4)]
    codes = [run.wait() for run in runs]
    assert small.code in codes and set(codes) <= {2, small.code}, codes
    assert_same(out, small.tree)


def test_two_sources_in_one_folder(small: Archive, start: Start, tmp_path: Path) -> None:
    """Each has files of its own; above all, none removes what the other is writing."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    recipe = make_raw(raw, 2, source="other")
    here(build_command(recipe, raw, tmp_path / "alone")).finishes(0)
    first = start(small.command(out))
    left = stop_while_writing(first, out)
    here(build_command(recipe, raw, out)).finishes(0)
    assert all(path.exists() for path in left)
    first.send(signal.SIGCONT)
    first.finishes(small.code)
    assert_same(out, small.tree | tree(tmp_path / "alone"))


def test_two_sources_side_by_side(small: Archive, start: Start, tmp_path: Path) -> None:
    """Two workers each; neither tells its user about the other, nor of ports and clusters."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    recipe = make_raw(raw, 4, source="other")
    here(build_command(recipe, raw, tmp_path / "alone")).finishes(0)
    two = ("--workers", 2)
    runs = [start(small.command(out, *two)), start(build_command(recipe, raw, out, *two))]
    assert [run.wait() for run in runs] == [small.code, 0]
    assert not re.search("warn|port|cluster", "".join(run.stderr for run in runs), re.IGNORECASE)
    assert_same(out, small.tree | tree(tmp_path / "alone"))


def test_lock_of_a_killed_run_is_no_obstacle(small: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = small.command(out)
    first = start(command)
    assert until(lambda: vois(out) >= 2, first)
    assert first.kill()
    here(command).finishes(small.code)
    assert_same(out, small.tree)


def test_no_lock_file_is_left(small: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not [name for name in small.tree if "lock" in name.lower()]
    here(small.command(out, "--limit", 1)).finishes(0)
    here(small.command(out, "--only", "nobody")).finishes(2)  # wrong use
    here(small.command(out, "--limit", 1)).finishes(0)  # nothing to do
    # Refused by the look at what is there: a part of a build of other parameters.
    here(small.command(out, "--only", "case_02", "--seed", 5)).finishes(2)
    run = start(small.command(out))
    assert until(lambda: vois(out) > 5, run)
    run.send(signal.SIGINT)
    assert run.wait() == 130
    assert not [name for name in tree(out) if "lock" in name.lower()]
