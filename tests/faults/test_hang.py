"""A worker that hangs (stopped, or stuck in a read) costs its case, not the build."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import psutil
import pytest
from faults.test_cluster import reached, start_cluster
from makers.faults import Archive, Run, Start, assert_same, here, until

from uls_data import load_manifest

pytestmark = pytest.mark.slow
# A busy machine takes seconds over a case of these.
GIVEN_UP_S = 20


def one_timed_out(out: Path) -> bool:
    rows = load_manifest(out, ["case_id", "status", "reason", "detail"])
    late = rows[rows["reason"] == "timed_out"]
    return (
        len(late) == 1
        and f"took more than {GIVEN_UP_S} s" in late["detail"].iloc[0]
        and (rows["status"] == "failed").sum() == 1
    )


def stop_a_worker(processes: list[psutil.Process], known_by: str) -> psutil.Process:
    worker = next(p for p in processes if known_by in " ".join(p.cmdline()))
    worker.send_signal(signal.SIGSTOP)
    return worker


def test_a_stopped_worker(big: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = start(big.command(out, "--workers", "2", "--case-timeout", str(GIVEN_UP_S)))
    assert until(partial(reached, out, 2), run)
    stop_a_worker(run.children(), "uls_data.engine.process")
    run.finishes(1)
    assert one_timed_out(out) and f"stopped after {GIVEN_UP_S} s" in run.stderr
    here(big.command(out)).finishes(0)
    assert_same(out, big.tree)


def test_a_stopped_worker_of_a_cluster(big: Archive, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cluster = start_cluster(start, tmp_path)
    run: Run = start(
        big.command(out, "--scheduler", cluster.address, "--case-timeout", str(GIVEN_UP_S))
    )
    assert until(partial(reached, out, 2), run)
    worker = stop_a_worker(cluster.nannies[0].children(), "spawn_main")
    run.finishes(1)
    assert one_timed_out(out)
    worker.kill()
    here(big.command(out)).finishes(0)
    assert_same(out, big.tree)
