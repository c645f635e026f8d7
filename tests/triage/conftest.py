"""A build of a few made-up VOIs, and a server of it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from makers.asking import Client
from makers.browser import Page, opened
from makers.reported import build_reported, write_clinic
from makers.serving import running
from makers.vois import ball, write_voi, write_vois

from uls_data.io import sha256_voxels
from uls_data.triage import TriageServer, triage_server

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four VOIs; nobody writes below it."""
    out = tmp_path_factory.mktemp("vois")
    rows = []
    for case, radius, dice, more in (
        ("c1", 10.0, 0.9, {"pad_z": 40, "qc_flags": ["single_slice"]}),
        ("c2", 6.0, 0.5, {"lesion_type": "liver", "source_lesion_id": HOSTILE}),
        ("c3", 14.0, 0.7, {}),
        ("c4", 8.0, None, {"spacing_z_mm": 2.5}),
    ):
        sha256 = sha256_voxels(ball(radius))
        rows.append(
            write_voi(out, case, radius, predicted_dice=dice, label_voxels_sha256=sha256, **more)
        )
    write_vois(out, rows)
    return out


@pytest.fixture(scope="session")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two VOIs with several masks each; nobody writes below it."""
    out = tmp_path_factory.mktemp("layered")
    rows = []
    for case, layers in (
        ("c1", {"annotated": 12.0, "jury": 10.0, "ellipsoid": 14.0}),
        ("c2", {"annotated": 8.0, "jury": 9.0}),
    ):
        for layer, radius in layers.items():
            name = f"s/labels/{layer}/{case}_lesion_01_sample_0.nii"
            row = write_voi(
                *(out, case, radius),
                layer=layer,
                label_path=name,
                label_voxels_sha256=sha256_voxels(ball(radius)),
            )
            (out / name).parent.mkdir(exist_ok=True)
            (out / f"s/labels/{case}_lesion_01_sample_0.nii").rename(out / name)
            rows.append(row)
    write_vois(out, rows)
    return out


class Served:
    """`uls-data triage --json` in a process of its own."""

    def __init__(self, out: Path, *more: str) -> None:
        command = [sys.executable, "-m", "uls_data", "triage", str(out), "--json", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.address: str = self.said["address"]

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; returns the exit code and the rest of the output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest


@pytest.fixture
def start() -> Iterator[Callable[..., Served]]:
    """Return what starts `uls-data triage` of any folder in a process of its own."""
    started: list[Served] = []

    def begin(out: Path, *more: str) -> Served:
        started.append(Served(out, *more))
        return started[-1]

    yield begin
    for served in started:
        served.end(9)


@pytest.fixture
def serve(start: Callable[..., Served], out: Path) -> Callable[..., Served]:
    """Return what starts `uls-data triage` of `out`."""
    return lambda overlay, *more: start(out, "--overlay", str(overlay), *more)


@pytest.fixture
def servers(out: Path, tmp_path: Path) -> Iterator[list[TriageServer]]:
    """Two servers in threads of this process, with overlays of their own."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running(triage_server(out, overlay=tmp_path / f"{name}.yaml")))
            for name in ("one", "two")
        ]


@pytest.fixture
def server(servers: list[TriageServer]) -> TriageServer:
    return servers[0]


@pytest.fixture
def client(server: TriageServer) -> Client:
    return Client(server.address)


@pytest.fixture(scope="session")
def page() -> Iterator[Page]:
    """One browser for all tests of pages."""
    with opened() as page:
        yield page


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`raw` and `out` of a clinic whose reports name a lesion; nobody writes below it."""
    root = tmp_path_factory.mktemp("clinic")
    write_clinic(root)
    build_reported(root)
    return root


@pytest.fixture
def draw(start: Callable[..., Served]) -> Callable[..., Served]:
    """Return what starts `uls-data triage --draw` in a process of its own."""

    def begin(clinic: Path, lines: Path | None = None, author: str = "anna") -> Served:
        more = () if lines is None else ("--lines", str(lines))
        own = ("--draw", str(clinic / "raw"), "--author", author)
        return start(clinic / "out", *own, *more)

    return begin
