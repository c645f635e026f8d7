"""A real dask scheduler with two worker processes gives the tree of a local build."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from makers.faults import Archive, Run, Start, assert_same, here, until, vois

from demo.sources import make_archives
from uls_data import build

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """A scheduler and its two workers, each below a nanny that restarts it."""

    address: str
    scheduler: Run
    nannies: list[Run]


def free_port() -> int:
    """A port on which nobody listens."""
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return int(listener.getsockname()[1])
    except OSError as error:
        pytest.skip(f"no sockets on this machine: {error}")


def start_cluster(start: Start, tmp_path: Path) -> Cluster:
    free_port()
    known = tmp_path / "scheduler.json"
    dask = (sys.executable, "-m")
    where = ("--scheduler-file", str(known))
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    scheduler = start([*dask, "distributed.cli.dask_scheduler", *options, *where])
    assert until(lambda: known.exists() and known.read_text().endswith("}"), scheduler)
    options = ("--nworkers", "1", "--nthreads", "1", "--no-dashboard")
    local = ("--local-directory", str(tmp_path / "scratch"))
    nannies = [
        start([*dask, "distributed.cli.dask_worker", *where, *options, *local]) for _ in range(2)
    ]
    for nanny in nannies:
        assert until(partial(works, nanny), nanny)
    return Cluster(json.loads(known.read_text())["address"], scheduler, nannies)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for tests that leave it whole: its workers may die, nannies replace them."""
    folder = tmp_path_factory.mktemp("cluster")
    runs: list[Run] = []

    def begin(command: Sequence[str]) -> Run:
        runs.append(Run(command, folder))
        return runs[-1]

    try:
        yield start_cluster(begin, folder)
    finally:
        for run in runs:
            run.end()


def works(nanny: Run) -> bool:
    """Whether its worker has registered with the scheduler."""
    return "Registered to" in nanny.stderr


def reached(out: Path, wanted: int) -> bool:
    return vois(out) >= wanted


def test_same_tree_as_a_local_build(
    big: Archive, cluster: Cluster, start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start(big.command(out, "--scheduler", cluster.address))
    assert until(lambda: vois(out) > 2, run)
    assert not run.children()  # the work is done over there
    run.finishes(0)
    assert_same(out, big.tree)
    again = start(big.command(out, "--scheduler", cluster.address))
    again.finishes(0)
    assert_same(out, big.tree)
    # Somebody else's cluster stays up.
    assert cluster.scheduler.poll() is None
    assert all(nanny.poll() is None and nanny.children() for nanny in cluster.nannies)


def test_killed_workers(big: Archive, cluster: Cluster, start: Start, tmp_path: Path) -> None:
    rng = random.Random("cluster")
    out = tmp_path / "out"
    run = start(big.command(out, "--scheduler", cluster.address))
    # A third death could be the third of one case, which then fails.
    for wanted in (rng.randint(1, 8), rng.randint(12, 30)):
        assert until(partial(reached, out, wanted), run)
        time.sleep(rng.uniform(0, 0.1))
        if workers := rng.choice(cluster.nannies).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(workers).kill()
    run.finishes(0)
    assert_same(out, big.tree)


def test_all_workers_killed_at_once(
    big: Archive, cluster: Cluster, start: Start, tmp_path: Path
) -> None:
    """The scheduler then has nobody to hand their tasks to, and may forget them."""
    out = tmp_path / "out"
    run = start(big.command(out, "--scheduler", cluster.address))
    assert until(partial(reached, out, 10), run)
    for nanny in cluster.nannies:
        for worker in nanny.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    run.finishes(0)
    assert_same(out, big.tree)


def test_killed_run(big: Archive, cluster: Cluster, start: Start, tmp_path: Path) -> None:
    """The workers outlive it, and may still be at a case when the same command begins."""
    out = tmp_path / "out"
    command = big.command(out, "--scheduler", cluster.address)
    for wanted in (2, 20):
        run = start(command)
        assert until(partial(reached, out, wanted), run)
        assert run.kill()
    start(command).finishes(0)
    assert_same(out, big.tree)


def test_killed_node_and_scheduler(big: Archive, start: Start, tmp_path: Path) -> None:
    """A lost node costs time only. A lost scheduler ends the run, in plain words."""
    out = tmp_path / "out"
    cluster = start_cluster(start, tmp_path)
    run = start(big.command(out, "--scheduler", cluster.address))
    assert until(partial(reached, out, 5), run)
    cluster.nannies[0].kill()
    assert until(partial(reached, out, 25), run)
    cluster.scheduler.kill()
    code = run.wait(limit_s=60)
    assert code == 2, f"exit code {code}\n{run.stderr}"
    assert f"--scheduler {cluster.address}" in run.stderr, run.stderr
    assert "cannot be written" not in run.stderr  # the disk is not to blame
    here(big.command(out)).finishes(0)
    assert_same(out, big.tree)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "nonsense://here"])
def test_wrong_address(small: Archive, start: Start, tmp_path: Path, address: str) -> None:
    address = address.format(port=free_port())
    out = tmp_path / "out"
    run = start(small.command(out, "--scheduler", address))
    code = run.wait(limit_s=35)
    assert code == 2, f"exit code {code}\n{run.stderr}"
    assert f"--scheduler {address}" in run.stderr
    assert not vois(out)


def test_pseudo_masks_are_those_of_a_build_in_this_process(
    cluster: Cluster, tmp_path: Path
) -> None:
    """OpenCV draws from a state of its process: neither order nor company may show in a mask."""
    raw = make_archives(tmp_path / "raw", only=["deeplesion"])["deeplesion"]
    masks = ["jury", "grabcut"]
    here = build("deeplesion", raw, tmp_path / "here", masks=masks)
    there = build("deeplesion", raw, tmp_path / "there", masks=masks, scheduler=cluster.address)
    made = [
        {(row["voi_id"], row["layer"]): row["label_sha256"] for row in report.rows}
        for report in (here, there)
    ]
    assert made[0] == made[1]
    assert sum(hash_ is not None for hash_ in made[0].values()) >= 16
