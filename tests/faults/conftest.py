"""Archives that the fault tests build, and runs that never outlive their test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from makers.faults import Archive, Run, Start, make_raw, tree, until, vois


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


def _archive(folder: Path, cases: int, broken: bool) -> Archive:
    raw, out = folder / "raw", folder / "out"
    recipe = make_raw(raw, cases, broken=broken)
    archive = Archive(raw, recipe, int(broken), {}, 0.0)
    began = time.monotonic()
    run = Run(archive.command(out), folder)
    try:
        until(lambda: vois(out), run)
        seconds = time.monotonic() - began
        run.finishes(archive.code)
    finally:
        run.end()
    return Archive(raw, recipe, archive.code, tree(out), seconds)


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """12 cases, 30 lesions, all sound: some three seconds of work."""
    return _archive(tmp_path_factory.mktemp("big"), 12, broken=False)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """4 cases, and one with a damaged file: exit code 1."""
    return _archive(tmp_path_factory.mktemp("small"), 4, broken=True)
