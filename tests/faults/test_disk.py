"""Disks that are full, read-only or gone, and raw files that change under the reader."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from makers.faults import (
    KILLS,
    Archive,
    Here,
    Run,
    Start,
    assert_same,
    build_command,
    here,
    make_raw,
    put,
    tree,
    until,
    vois,
)

from uls_data.manifest import load_manifest

PAGE = 4096
FUTURE, PAST = 4_102_444_800, -500_000_000  # the years 2100 and 1954


class Disk:
    """A small disk of its own."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def mount(self, *options: str) -> Path:
        """Mount it, or change its options if it is mounted; returns the folder."""
        again = ("remount",) if self.where.is_mount() else ()
        self.where.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", ",".join((*again, *options)), "tmpfs"]
        try:
            done = subprocess.run([*words, str(self.where)], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip(f"no disk can be mounted here (not root?): {done.stderr.strip()}")
        return self.where


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    while disk.where.is_mount():
        subprocess.run(["umount", "-l", str(disk.where)], check=True)


def says(run: Run | Here, *words: str) -> None:
    """It ended with exit code 2 and a short message that holds these words."""
    run.finishes(2)
    assert all(word in run.stderr for word in words), run.stderr
    assert len(run.stderr.strip().splitlines()) <= 3, run.stderr


def needed(wanted: dict[str, bytes]) -> int:
    """Bytes of a tree on a disk of whole pages."""
    return sum(-(-len(data) // PAGE) * PAGE for data in wanted.values())


@pytest.mark.parametrize(("share", "workers"), [(0.02, 1), (0.3, 2), (1.0, 1)])
def test_full_disk(small: Archive, start: Start, disk: Disk, share: float, workers: int) -> None:
    """At 1.0 one page is wanting, so that the last file of all does not fit."""
    room = int(needed(small.tree) * share) // PAGE - 1
    out = disk.mount(f"size={max(room, 1) * PAGE}")
    command = small.command(out, "--workers", workers)
    says(start(command), "--out", str(out), "No space left")
    disk.mount("size=64m")
    here(command).finishes(small.code)
    assert_same(out, small.tree)


@pytest.mark.parametrize("short", [1, None])
def test_no_room_for_another_file(small: Archive, disk: Disk, short: int | None) -> None:
    """A disk without a free inode, at the last files (`short` of them wanting) or the first."""
    names = [Path(name) for name in small.tree]
    inodes = len({".", *names, *(parent for name in names for parent in name.parents)})
    out = disk.mount("size=64m", f"nr_inodes={inodes - short if short else 2}")
    says(here(small.command(out)), "--out", str(out), "No space left")
    disk.mount("size=64m", f"nr_inodes={inodes * 4}")
    here(small.command(out)).finishes(small.code)
    assert_same(out, small.tree)


@pytest.mark.parametrize("cases", [0, 2])
def test_read_only_disk(small: Archive, start: Start, disk: Disk, cases: int) -> None:
    out = disk.mount("size=64m")
    if cases:
        here(small.command(out, "--limit", cases)).finishes(0)
    disk.mount("ro")
    before = tree(out)
    says(start(small.command(out)), "--out", str(out), "Read-only")
    here(small.command(out, "--dry-run")).finishes(0)
    assert tree(out) == before
    disk.mount("rw")
    here(small.command(out)).finishes(small.code)
    assert_same(out, small.tree)


def test_read_only_raw_data(small: Archive, disk: Disk, tmp_path: Path) -> None:
    """Raw data is only ever read, so it may well lie on such a disk."""
    raw = disk.mount("size=64m") / "raw"
    shutil.copytree(small.raw, raw)
    disk.mount("ro")
    out = tmp_path / "out"
    here(build_command(raw / "mine.yaml", raw, out)).finishes(small.code)
    assert_same(out, small.tree)


@pytest.mark.parametrize("below", ["", "deeper/out"])
def test_output_is_a_file(small: Archive, tmp_path: Path, below: str) -> None:
    note = tmp_path / "note.txt"
    note.write_text("mine")
    out = note / below
    says(here(small.command(out)), "--out", str(out))
    assert note.read_text() == "mine"


def test_files_in_the_place_of_folders(small: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("mine", "mine/images", "manifest", ".uls-data"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("in the way")
        says(here(small.command(out)), "--out", str(out))
        assert (out / name).read_text() == "in the way"
        shutil.rmtree(out)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nobody.nii.gz"))


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def leading_out(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may hold 108 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


ODD: dict[str, Callable[[Path], None]] = {
    "dangling": dangling,
    "circle": circle,
    "out": leading_out,
    "fifo": os.mkfifo,
    "socket": unix_socket,
    "folder": Path.mkdir,
    "empty": Path.touch,
}


@pytest.mark.parametrize("workers", [1, 2])
def test_raw_files_that_are_none(start: Start, tmp_path: Path, workers: int) -> None:
    """Each is a failed row; none is waited for, and the other cases are as without them."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    recipe = make_raw(raw, 2)
    here(build_command(recipe, raw, tmp_path / "sound")).finishes(0)
    odd = {f"{name}_{kind}": (name, kind) for name in ODD for kind in ("images", "masks")}
    for case, (name, kind) in odd.items():
        put(raw, case, 50, lesions=1)
        path = raw / kind / f"{case}.nii.gz"
        path.unlink()
        ODD[name](path)
    run = start(build_command(recipe, raw, out, "--workers", workers))
    assert run.wait(limit_s=60) == 1
    rows = load_manifest(out)
    assert set(rows.loc[rows["status"] == "ok", "case_id"]) == {"case_00", "case_01"}
    failed = rows[rows["status"] == "failed"]
    assert sorted(failed["case_id"]) == sorted(odd)
    assert not set(failed["reason"]) & {"internal_error", "worker_lost"}
    sound = {name: data for name, data in tree(tmp_path / "sound").items() if "nii" in name}
    assert {name: data for name, data in tree(out).items() if "nii" in name} == sound
    if workers > 1:
        return
    for case, (_, kind) in odd.items():  # fixed, they are tried again
        path = raw / kind / f"{case}.nii.gz"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        put(raw, case, 50, lesions=1)
    here(build_command(recipe, raw, out)).finishes(0)
    assert len(load_manifest(out)) == 5 + len(odd)


class Meddler(threading.Thread):
    """Truncates, replaces, removes and restores raw files until it is told to end."""

    def __init__(self, raw: Path, rng: random.Random) -> None:
        super().__init__()
        self.rng, self.ended = rng, threading.Event()
        self.good = {path: path.read_bytes() for path in sorted(raw.glob("*/*.nii.gz"))}
        self.acts = 0

    def run(self) -> None:
        while not self.ended.wait(self.rng.uniform(0, 0.03)):
            path = self.rng.choice(list(self.good))
            act = self.rng.choice(["cut", "cut", "other", "gone", "good", "good", "good"])
            self.acts += 1
            if act == "cut" and path.exists():
                os.truncate(path, self.rng.randrange(len(self.good[path])))
            elif act == "gone":
                path.unlink(missing_ok=True)
            elif act in ("other", "good"):
                like = [p for p in self.good if p.parent == path.parent]
                fresh = path.with_name(".fresh")
                fresh.write_bytes(self.good[path if act == "good" else self.rng.choice(like)])
                fresh.replace(path)


@pytest.mark.parametrize("seed", range(max(2, KILLS // 10)))
def test_raw_files_change_during_the_run(start: Start, tmp_path: Path, seed: int) -> None:
    raw, out, fresh = (tmp_path / name for name in ("raw", "out", "fresh"))
    recipe = make_raw(raw, 6)
    command = build_command(recipe, raw, out, "--workers", 1 + seed % 2)
    meddler = Meddler(raw, random.Random(f"meddle {seed}"))
    run = start(command)
    meddler.start()
    try:
        assert run.wait() in (0, 1)
    finally:
        meddler.ended.set()
        meddler.join()
    assert meddler.acts > 10
    assert "internal_error" not in set(load_manifest(out)["reason"].dropna())
    code = here(command).code
    here(build_command(recipe, raw, fresh)).finishes(code)
    assert_same(out, tree(fresh))


def test_raw_disk_goes_away_for_a_while(small: Archive, start: Start, tmp_path: Path) -> None:
    """Cases that could not be read then are not written off: their files come back as they were."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(small.raw, raw)
    command = build_command(raw / "mine.yaml", raw, out)
    run = start(command)
    assert until(lambda: vois(out) >= 2, run)
    raw.rename(tmp_path / "unplugged")
    assert run.wait() in (1, 2)
    (tmp_path / "unplugged").rename(raw)
    here(command).finishes(small.code)
    assert_same(out, small.tree)


def test_file_swapped_for_a_moment(start: Start, tmp_path: Path) -> None:
    """Another file is there while the case is read, then the old one, time and all."""
    raw, out, fresh = (tmp_path / name for name in ("raw", "out", "fresh"))
    recipe = make_raw(raw, 4)
    late = raw / "images" / "case_03.nii.gz"
    run = start(build_command(recipe, raw, out))
    assert until(lambda: vois(out) >= 1, run)
    late.rename(raw / ".kept")
    shutil.copyfile(raw / "images" / "case_01.nii.gz", late)
    assert run.wait() in (0, 1)
    (raw / ".kept").replace(late)
    here(build_command(recipe, raw, out)).finishes(0)
    here(build_command(recipe, raw, fresh)).finishes(0)
    assert_same(out, tree(fresh))


def done_before(run: Here) -> tuple[int, int]:
    """Cases of a call, and how many it found finished."""
    run.finishes(0)
    counts = re.search(r"(\d+) cases in this call(?:, of which (\d+) were finished)?", run.stdout)
    assert counts, run.stdout
    return int(counts[1]), int(counts[2] or 0)


def test_clocks_that_jump(tmp_path: Path) -> None:
    """Times tell what changed, whichever way they jump; they never reach a VOI or a row."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    command = build_command(make_raw(raw, 4), raw, out)
    assert done_before(here(command)) == (4, 0)
    data = {name: bytes_ for name, bytes_ in tree(out).items() if not name.startswith(".")}
    assert len(data) == 31  # ten VOIs with image, label and thumbnail, and the manifest

    for changed, when in (("case_01", FUTURE), ("case_03", PAST)):
        made = {path: path.stat().st_ino for path in out.rglob("*.nii.gz")}
        os.utime(raw / "masks" / f"{changed}.nii.gz", (when, when))
        assert done_before(here(command)) == (4, 3)
        again = {path.name[:7] for path, inode in made.items() if path.stat().st_ino != inode}
        assert again <= {changed}
        now = {name: bytes_ for name, bytes_ in tree(out).items() if not name.startswith(".")}
        assert now == data

    for path in sorted(out.rglob("*"), reverse=True):  # the output's own times say nothing
        os.utime(path, (FUTURE, FUTURE))
    assert done_before(here(command)) == (4, 4)


def test_json_stays_json_on_a_full_disk(small: Archive, start: Start, disk: Disk) -> None:
    """What reads our output meets a message on the error stream, never half a record."""
    out = disk.mount(f"size={needed(small.tree) // 2}")
    run = start(small.command(out, "--json"))
    says(run, "No space left")
    for line in run.stdout.splitlines():
        json.loads(line)
