"""Nothing vanishes: seeded damages over whole archives of every kind.

The environment variable ULS_DATA_INVENTORY says how many (200).
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from makers.archives import KINDS, PATIENTS, Kind
from makers.damages import Damage, damage
from makers.inventory import Told, unaccounted
from makers.rights import hidden, without_root
from makers.shared import Shared, linked

from uls_data.errors import SourceError
from uls_data.factory import build
from uls_data.factory.build_report import BuildReport

DAMAGES = int(os.environ.get("ULS_DATA_INVENTORY", "200"))
# A batch is a test of its own, of one kind.
PER_BATCH = 25
_REPAIRED = 5


def undamaged(shared: Shared, name: str) -> Path:
    """Folder of an undamaged `archive` of a kind, and of what was built of it, in `out`."""

    def make(folder: Path) -> None:
        recipe = KINDS[name].make(folder / "archive")
        raw = recipe.parent / "raw"
        report = build(recipe, raw, folder / "out", **KINDS[name].options)
        assert report.failed == 0
        assert unaccounted(name, raw, Told(report.rows), {}) == []
        ok = {row["case_id"] for row in report.rows if row["status"] == "ok"}
        assert len(ok) == len(PATIENTS)

    return shared.once(f"inventory-{name}", make)


def run(recipe: Path, raw: Path, out: Path, done: Damage, **options: Any) -> BuildReport:
    """Build a damaged archive without the right to read what is hidden."""
    with ExitStack() as stack:
        # What is inside of a folder first: that can be found no more once it is hidden.
        for path in sorted(done.modes, reverse=True):
            stack.enter_context(hidden(path, done.modes[path]))
        stack.enter_context(without_root())
        return build(recipe, raw, out, **options)


def vois(out: Path) -> dict[str, bytes]:
    """Images and labels by name."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.nii.gz")}


def missing(
    before: dict[str, bytes], after: dict[str, bytes], kind: Kind, done: Damage
) -> list[str]:
    """VOIs of undamaged cases that are gone or changed."""
    spared = tuple(kind.case(number) for number in set(PATIENTS) - done.patients)
    return [
        f"removed {name}"
        for name, data in before.items()
        if name.rpartition("/")[2].startswith(spared) and after.get(name) != data
    ]


def trial(name: str, folder: Path, archive: Path, built: Path, number: int) -> list[str]:
    """Damage one archive; returns what is lost, with what was done."""
    kind, rng = KINDS[name], random.Random(f"inventory {name} {number}")
    shutil.copytree(archive, folder / "archive")
    raw, out = folder / "archive" / "raw", folder / "out"
    recipe = raw.parent / "recipe.yaml"
    again = number % 2 == 1
    if again:
        # Copies keep size and time: an undamaged case is finished already.
        linked(built, out)
    before = vois(out)
    done = damage(raw, kind, rng)
    try:
        report = run(recipe, raw, out, done, **kind.options)
        # Kept rows of an earlier run say what was, not what is.
        lost = [] if again else unaccounted(name, raw, Told(report.rows), done.modes)
    except SourceError as error:
        lost = [] if done.patients == set(PATIENTS) else [str(error)]
    if again:
        lost += missing(before, vois(out), kind, done)
    if again and number // 2 % _REPAIRED == 0:
        shutil.rmtree(raw)
        shutil.copytree(archive / "raw", raw)
        build(recipe, raw, out, prune=True, **kind.options)
        lost += [] if vois(out) == before else ["another end after a repair"]
    return [f"{name} {number} {done.done} {sorted(done.modes.values())}: {lost[:4]}"] * bool(lost)


BATCHES = max(-(-DAMAGES // PER_BATCH), 1)


# A UID that was cut, written again by pydicom.
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_archives(shared: Shared, tmp_path: Path, batch: int) -> None:
    name = list(KINDS)[batch % len(KINDS)]
    good = undamaged(shared, name)
    problems = []
    for number in range(batch // len(KINDS) * PER_BATCH, (batch // len(KINDS) + 1) * PER_BATCH):
        folder = tmp_path / str(number)
        problems += trial(name, folder, good / "archive", good / "out", number)
        shutil.rmtree(folder)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:15])
