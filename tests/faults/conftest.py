"""Archives that the fault tests build, and runs that never outlive their test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from makers.faults import Archive, Run, Start, build_command, make_raw, tree, until, vois
from makers.shared import Shared


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command; its processes end with the test, whatever happens."""
    runs: list[Run] = []
    folder = tmp_path / "streams"
    folder.mkdir()

    def begin(command: Sequence[str]) -> Run:
        runs.append(Run(command, folder))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


def _archive(shared: Shared, name: str, cases: int, *, broken: bool) -> Archive:
    """Archive and its undisturbed build, by the command line; made once for all test workers."""

    def make(folder: Path) -> None:
        raw, out = folder / "raw", folder / "out"
        recipe = make_raw(raw, cases, broken=broken)
        began = time.monotonic()
        run = Run(build_command(recipe, raw, out), folder)
        try:
            until(lambda: vois(out), run)
            (folder / "start_s").write_text(str(time.monotonic() - began))
            run.finishes(int(broken))
        finally:
            run.end()

    folder = shared.once(name, make)
    seconds = float((folder / "start_s").read_text())
    raw = folder / "raw"
    return Archive(raw, raw / "mine.yaml", int(broken), tree(folder / "out"), seconds)


@pytest.fixture(scope="session")
def big(shared: Shared) -> Archive:
    """8 cases, 20 lesions, all sound: some two seconds of work."""
    return _archive(shared, "big", 8, broken=False)


@pytest.fixture(scope="session")
def small(shared: Shared) -> Archive:
    """4 cases, and one with a damaged file: exit code 1."""
    return _archive(shared, "small", 4, broken=True)
