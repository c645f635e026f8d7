"""Nothing vanishes: seeded damages over a whole archive of DICOM objects.

The environment variable ULS_DATA_INVENTORY says how many (200).
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pydicom
import pytest
from makers.inventory import PATIENTS, damage, write_archive

from uls_data.dicom.elements import Tag
from uls_data.dicom.header import read_header
from uls_data.errors import CaseError, SourceError
from uls_data.factory import build
from uls_data.factory.build_report import BuildReport
from uls_data.ids import readable
from uls_data.recipe import load_recipe
from uls_data.sources.find import find_cases

DAMAGES = int(os.environ.get("ULS_DATA_INVENTORY", "200"))
PER_BATCH = 50


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An undamaged archive, its recipe, and what was built of it."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "raw").mkdir()
    recipe = write_archive(folder / "raw")
    report = build(recipe, folder / "raw", folder / "out", labels_only=True)
    assert (report.ok, report.failed, report.skipped) == (PATIENTS, 0, PATIENTS)
    return folder / "raw", recipe, folder / "out"


def unaccounted(raw: Path, recipe: Path, report: BuildReport) -> list[str]:
    """Objects, series and structures that no row is about or names."""
    rows = report.rows
    cases = find_cases(load_recipe(str(recipe)).recipe, raw, need_images=False)
    by_file = {path: case.case_id for case in cases for path in (*case.files(), *case.beside)}
    with_rows = {row["case_id"] for row in rows}
    lost = [row["case_id"] for row in rows if row["reason"] in ("unaccounted", "internal_error")]
    said = " ".join(f"{row['label_source']} {row['detail']}" for row in rows)
    for path in sorted(raw.rglob("*.dcm")):
        name = readable(path.relative_to(raw).as_posix())
        held = by_file.get(path.relative_to(raw))
        if held is not None and held in with_rows:
            continue
        if name in said or _is_copy(path, raw, by_file):
            continue
        lost.append(name)
    for case in cases:
        told = [row for row in rows if row["case_id"] == case.case_id]
        if any(row["status"] == "ok" for row in told):
            # Both structures whose names fit, of every object that was read.
            objects = [path for path in case.annotations if _is_whole(raw / path)]
            if len([row for row in told if row["source_lesion_id"]]) < 2 * len(objects):
                lost.append(f"structures of {case.case_id}")
    return lost


def _is_copy(path: Path, raw: Path, held: dict[Path, str]) -> bool:
    """Whether a file that is held shows the same slice, or is the same to the byte."""
    data = path.read_bytes()
    if any((raw / other).read_bytes() == data for other in held if (raw / other).is_file()):
        return True
    try:
        own = _slice(path)
        return any(_slice(raw / other) == own for other in held)
    except (CaseError, OSError):
        return False


def _slice(path: Path) -> tuple[str, str]:
    tags = Tag.SOP_INSTANCE_UID, Tag.IMAGE_POSITION_PATIENT
    try:
        header, _ = read_header(path, path.name, frozenset(tags))
    except CaseError:
        return path.name, ""
    return header.text(tags[0]), header.text(tags[1])


def _is_whole(path: Path) -> bool:
    try:
        return len(pydicom.dcmread(path).StructureSetROISequence) == 3
    except Exception:
        return False


@pytest.mark.parametrize("batch", range(-(-DAMAGES // PER_BATCH)))
def test_damaged_archives(archive: tuple[Path, Path, Path], tmp_path: Path, batch: int) -> None:
    good, recipe, built = archive
    problems = []
    for number in range(PER_BATCH):
        rng = random.Random(f"inventory {batch} {number}")
        raw, out = tmp_path / f"raw{number}", tmp_path / f"out{number}"
        shutil.copytree(good, raw)
        shutil.copytree(built, out)
        # Copies keep size and time: an undamaged case is finished already.
        before = {path.name for path in (out / "mine/labels/annotated").iterdir()}
        touched = damage(raw, rng)
        try:
            report = build(recipe, raw, out, labels_only=True)
            lost = unaccounted(raw, recipe, report)
        except SourceError as error:
            lost = [str(error)] if touched != {f"patient_{n + 1}" for n in range(PATIENTS)} else []
            report = None
        after = {path.name for path in (out / "mine/labels/annotated").iterdir()}
        lost += [
            f"removed {name}"
            for name in sorted(before - after)
            if not any(name.startswith(patient) for patient in touched)
        ]
        if lost:
            problems.append(f"{batch} {number} {sorted(touched)}: {lost[:3]}")
        shutil.rmtree(raw)
        shutil.rmtree(out)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:15])
