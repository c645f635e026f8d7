"""What holds for every command: JSON where it is asked for, a next step, lines that fit."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from uls_data import build
from uls_data.cli import cli
from uls_data.demo.sources import make_archives
from uls_data.manifest.table import iterate_rows
from uls_data.triage.verdicts import Subject, Verdicts

SOURCES = ("kits21", "lndb", "radboudumc_pancreas")
VOI = "kidney21_case_00000_lesion_01_sample_0"
# `{out}` is a build, `{raw}` its raw data, `{to}` a fresh folder. Prediction and training need a
# model, triage serves until it is ended: their tests lie beside those of network, loop and triage.
QUICK = {
    "recipe list": "",
    "recipe show": "lits",
    "recipe check": "lits",
    "recipe new": "mine",
    "query": "{out} status=='ok'",
    "stats": "{out}",
    "blame": f"{VOI} --manifest {{out}}",
    "explain": f"{VOI} --manifest {{out}}",
    "doctor": "",
    "release diff": "{out}/release {out}/release",
}
LONG = {
    "build": "kits21 --raw {raw}/kits21 --out {to}",
    "index": "{out}/kits21 --source kits21 --out {to}/m.parquet",
    "evaluate": "--pred {out}/manifest/kits21.parquet --truth {out}/manifest/kits21.parquet",
    "evaluate-2d": "{out}/manifest/kits21.parquet --method quadrilateral",
    "calibrate": "{out} --out {to}/quality.json",
    "contact-sheet": "{out} --to {to}/sheet.png",
    "filter": "--manifest {out}/manifest/kits21.parquet --out {to}/kept.parquet",
    "audit": "{out}",
    "report": "{out} --to {to}",
    "errata check": "{out}/overlay.yaml --manifest {out}",
    "errata apply": "{out}/overlay.yaml --manifest {out} --out {to}",
    "release build": "{out} --version 1 --to {to}/release --local-only",
    "release verify": "{out}/release",
    "export nnunet": "{out} --to {to} --folds 2",
    "export monai": "{out} --to {to} --folds 2",
    "export grand-challenge": "{out} --to {to}",
    "lndb-prep": "--raw {raw}/lndb --out {to}",
}
ELSEWHERE = {"train", "predict", "selftrain", "triage"}


def commands() -> Iterator[tuple[str, click.Command]]:
    def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield name.strip(), command
            return
        for each in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), each)
            assert child is not None
            yield from walk(child, f"{name} {each}")

    return walk(cli, "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("vois")
    for source, folder in make_archives(raw, only=SOURCES).items():
        build(source, folder, out)
    verdicts = Verdicts(out / "overlay.yaml", "a-reader")
    for row in iterate_rows(out / "manifest" / "kits21.parquet"):
        if row["voi_id"] == VOI:
            subject = Subject("kits21", VOI, row["layer"], row["label_voxels_sha256"])
            verdicts.give(subject, "rejected", "leaks")
    command = [sys.executable, "-m", "uls_data", "release", "build", str(out), "--version", "1"]
    subprocess.run([*command, "--to", out / "release", "--local-only"], check=True, text=True)
    return {"raw": raw, "out": out}


def arguments(name: str, made: dict[str, Path], to: Path) -> list[str]:
    words = {**QUICK, **LONG}[name].split(" ")
    return [*name.split(), *(word.format(**made, to=to) for word in words if word)]


def test_every_command_is_looked_at_and_has_json() -> None:
    found = dict(commands())
    assert found.keys() == QUICK.keys() | LONG.keys() | ELSEWHERE
    for name, command in found.items():
        assert any("--json" in parameter.opts for parameter in command.params), name


@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_words_and_json(
    uls: Any,
    made: dict[str, Path],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "json").mkdir()
    monkeypatch.chdir(tmp_path / "words")
    words = uls(*arguments(name, made, tmp_path / "words"))
    assert words.code in (0, 1), words.err
    assert words.out and "\x1b" not in words.out + words.err
    if name in LONG:
        assert words.out.rstrip("\n").split("\n")[-1].startswith("Next: ")
    monkeypatch.chdir(tmp_path / "json")
    machine = uls(*arguments(name, made, tmp_path / "json"), "--json")
    assert machine.code == words.code
    assert machine.json() or name in ("audit", "release verify", "release diff")
    assert all(isinstance(line, dict) for line in machine.json())


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", ["recipe list", "query", "doctor", "errata check"])
def test_lines_fit_a_terminal(
    made: dict[str, Path], name: str, columns: int, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    words = arguments(name, made, tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "uls_data", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait(60) in (0, 1)
    lines = said.decode().replace("\r\n", "\n").split("\n")
    assert b"\x1b" not in said and len(lines) > 3
    wide = [line for line in lines if len(line) > columns]
    # A command to copy is never broken.
    assert [line for line in wide if not line.startswith("Next: ")] == []
