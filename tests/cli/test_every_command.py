"""An example of every `--help` runs, says JSON where asked, a next step, lines that fit."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.commands import commands
from makers.shared import Shared, linked

from uls_data import release_build, train, write_edit
from uls_data.cli import main
from uls_data.manifest.parquet import iterate_rows
from uls_data.recipe import recipe_template
from uls_data.triage.verdicts import Subject, Verdicts

ROOT = Path(__file__).parents[2]
VOI = "kidney21_case_00000_lesion_01_sample_0"
# What takes long on real data says where to look next.
LONG = {
    *("build", "index", "evaluate", "evaluate-2d", "calibrate", "contact-sheet", "filter", "audit"),
    *("report", "errata check", "errata apply", "errata edit", "errata take", "errata merge"),
    *("release build", "release verify", "lndb-prep"),
    *("export nnunet", "export monai", "export grand-challenge", "predict", "train", "mine"),
}
# A loop trains for minutes, triage serves until it is ended, a certificate needs dozens of
# patients, downloads need a store, and SEG needs DICOM series: see their own tests.
ELSEWHERE = {"selftrain", "triage", "certify", "fetch", "export dicom-seg"}
# Shorter, or beside what is there already.
MORE = {
    "recipe new": "--force",
    "build": "--out fresh --workers 1",
    "calibrate": "--workers 1",
    "lndb-prep": "--workers 1",
    "export nnunet": "--folds 2",
    "export monai": "--folds 2",
    "export webdataset": "--folds 2",
    "export croissant": "--folds 2",
    "train": "--out fresh --steps 1",
    "errata edit": "--to fresh",
    "release build": "--to fresh",
}
FAULTY = {"build"}  # the archive holds a broken case on purpose
SILENT = {"audit", "release verify", "release diff"}  # no line where nothing is found


NAMES = [name for name, _ in commands() if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, shared: Shared) -> Path:
    """A folder with everything that the examples name."""
    world = tmp_path_factory.mktemp("world")
    for source in ("kits21", "radboudumc_pancreas", "deeplesion", "lndb"):
        linked(shared.raw(source), world / "data" / source)
    linked(shared.raw("radboudumc_pancreas"), world / "data" / "mine")
    shared.vois(world / "vois", "kits21", "radboudumc_pancreas")
    shared.vois(world / "out", "deeplesion")
    labels = world / "vois" / "kits21" / "labels" / "annotated"
    for copy in ("predictions", "labels/annotated", "annotations/ULS23/kits21"):
        shutil.copytree(labels, world / copy)
    for version in ("1", "2"):
        to = world / f"release-2026.{version}"
        release_build(world / "vois", to, f"2026.{version}", sources=["kits21"])
    shutil.copytree(world / "release-2026.1", world / "release")
    (world / "my_source.yaml").write_text(recipe_template("my_source", None), encoding="utf-8")
    (world / "reports").mkdir()
    (world / "reports" / "one.txt").write_text("Nodule of 12 x 8 mm in the lingula (3:45).\n")
    (world / "manifests").symlink_to(ROOT / "manifests")
    verdicts = Verdicts(world / "fixes.yaml", "a-reader")
    for row in iterate_rows(world / "vois" / "manifest" / "kits21.parquet"):
        if row["voi_id"] == VOI:
            subject = Subject("kits21", VOI, row["layer"], row["label_voxels_sha256"])
            verdicts.give(subject, "rejected", "leaks")
    for name in ("ann", "ben"):
        shutil.copy(world / "fixes.yaml", world / f"{name}.yaml")
        text = (world / f"{name}.yaml").read_text().replace("name: fixes", f"name: {name}")
        (world / f"{name}.yaml").write_text(text)
    mask = write_edit(VOI, world / "vois", world / "edits").mask
    image = nibabel.load(mask)
    voxels = np.asarray(image.dataobj)
    grown = np.maximum(voxels, np.roll(voxels, 1, axis=0))
    nibabel.save(nibabel.Nifti1Image(grown, image.affine), mask)
    train(world / "vois", world / "model", plan="small", device="cpu", steps=1)
    return world


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; nothing writes into a file that is there."""
    shutil.copytree(world, tmp_path / "here", copy_function=os.link, symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def example(name: str) -> list[str]:
    """Words of the first example of a command that is not a dry run."""
    text = (dict(commands())[name].epilog or "").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if f"uls-data {name}" in line]
    line = next(line for line in lines if "--dry-run" not in line)
    line = line.partition("uls-data ")[2].replace("/data/LNDb", "data/lndb")
    return shlex.split(f"{line.replace('/data/', 'data/')} {MORE.get(name, '')}")


def test_every_command_has_json() -> None:
    for name, command in commands():
        assert any("--json" in parameter.opts for parameter in command.params), name


@pytest.mark.parametrize("name", NAMES)
def test_first_example(uls: Any, here: Path, name: str) -> None:
    found = uls(*example(name))
    assert found.code == (name in FAULTY), found.err
    assert found.out and "\x1b" not in found.out + found.err
    if name in LONG:
        assert found.out.rstrip("\n").split("\n")[-1].startswith("Next: ")


@pytest.mark.parametrize("name", NAMES)
def test_first_example_as_json(uls: Any, here: Path, name: str) -> None:
    found = uls(*example(name), "--json")
    assert found.code == (name in FAULTY), found.err
    assert found.json() or name in SILENT
    assert all(isinstance(line, dict) for line in found.json())


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", ["recipe list", "query", "doctor", "errata check"])
def test_lines_fit_a_terminal(
    world: Path, name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pty.openpty()
    said = b""

    def read() -> None:  # meanwhile, as a terminal holds only so much
        nonlocal said
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 1 << 16):
                said += piece

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.chdir(world)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        with pytest.raises(SystemExit) as end:
            main(example(name))
    reader.join()
    os.close(ours)
    assert end.value.code in (0, 1)
    lines = said.decode().replace("\r\n", "\n").split("\n")
    assert b"\x1b" not in said and len(lines) > 2
    wide = [line for line in lines if len(line) > columns]
    # A command to copy is never broken.
    assert [line for line in wide if not line.startswith("Next: ")] == []
