"""A small archive of DICOM objects, and seeded damages over the whole of it."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pydicom
import yaml

from makers import rtstruct
from makers.dicom import FIRST_MM, SPACING_MM, STEP_MM, write_series
from uls_data.recipe import recipe_template

PATIENTS = 3
_COLUMNS, _ROWS, _SLICES = 12, 10, 4


def write_archive(raw: Path) -> Path:
    """Write patients with a tiny CT and a structure set of two lesions; returns the recipe."""
    affine = np.diag([-SPACING_MM[1], -SPACING_MM[0], STEP_MM, 1.0])
    affine[:3, 3] = -FIRST_MM[0], -FIRST_MM[1], FIRST_MM[2]
    for number in range(1, PATIENTS + 1):
        folder = raw / f"patient_{number}"
        uid = f"1.2.826.0.9.{number}"

        def own(k: int, ds: pydicom.Dataset, uid: str = uid) -> None:
            ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uid, f"{uid}.0"
            ds.SOPInstanceUID = f"{uid}.1.{k + 1}"

        volume = np.random.default_rng(number).integers(900, 1100, (_COLUMNS, _ROWS, _SLICES))
        write_series(folder / "ct", volume.astype(np.uint16), change=own)
        square = [(2, 2), (7, 2), (7, 7), (2, 7)]
        drawn = [
            rtstruct.contour(square, at, affine=affine, sop_uid=f"{uid}.1.{at + 1}")
            for at in (1, 2)
        ]
        ds = rtstruct.structure_set({1: ("GTV-1", drawn), 2: ("GTV-2", []), 3: ("Heart", drawn)})
        frame = ds.ReferencedFrameOfReferenceSequence[0]
        frame.FrameOfReferenceUID = f"{uid}.0"
        frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = uid
        ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{uid}.2.1", f"{uid}.2"
        ds.StudyInstanceUID, ds.Modality = "1.2.826.0.1.10", "RTSTRUCT"
        (folder / "rs").mkdir()
        (folder / "rs/rs.dcm").write_bytes(rtstruct.encoded(ds))
    content = yaml.safe_load(recipe_template("mine"))
    content["reader"] = {
        "name": "dicom_objects",
        "kind": "rtstruct",
        "case": r"patient_\d+",
        "structures": "GTV.*",
    }
    content |= {"instances": {"rule": "given"}, "minimum_size": None, "quirks": []}
    recipe = raw.parent / "mine.yaml"
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return recipe


def damage(raw: Path, rng: random.Random) -> set[str]:
    """Damage an archive in one to three ways; returns the patients that were touched."""
    touched: set[str] = set()
    for _ in range(rng.randint(1, 3)):
        files = sorted(path for path in raw.rglob("*") if path.is_file())
        path = rng.choice(files)
        if rng.random() < 0.4:
            path = rng.choice([one for one in files if one.parent.name == "rs"] or files)
        act = rng.choice(_ACTS)
        touched |= act(raw, path, rng) | {path.relative_to(raw).parts[0]}
    return touched


def _cut(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    os.truncate(path, rng.choice([0, 100, 140, rng.randrange(path.stat().st_size + 1)]))
    return set()


def _rename(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    suffix = rng.choice([".dcm", "", ".IMA", ".txt"])
    path.rename(path.with_name(f"x{rng.randrange(1000)}{suffix}"))
    return set()


def _copy(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    shutil.copy(path, path.with_name(f"copy{rng.randrange(1000)}.dcm"))
    return set()


def _swap(raw: Path, path: Path, rng: random.Random) -> set[str]:
    """Put a file into another patient's folder."""
    folder = rng.choice(sorted(one for one in raw.glob("*/*") if one.is_dir()))
    target = folder / f"moved{rng.randrange(1000)}.dcm"
    path.rename(target)
    return {folder.parent.name}


def _one_uid(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    """Give all slices of a folder one SOP instance UID."""
    for one in sorted(path.parent.iterdir()):
        try:
            ds = pydicom.dcmread(one)
            ds.SOPInstanceUID = "1.2.3"
            ds.save_as(one)
        except Exception:
            continue  # damaged already
    return set()


def _into_ct(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    """Let an object stand in the series of its CT, as some exports have it."""
    try:
        ds = pydicom.dcmread(path)
    except Exception:
        return set()
    if ds.get("Modality") == "RTSTRUCT":
        ds.SeriesInstanceUID = ds.SeriesInstanceUID.removesuffix(".2")
        ds.save_as(path)
    return set()


def _lose(_raw: Path, path: Path, rng: random.Random) -> set[str]:
    path.unlink()
    return set()


_ACTS = (_cut, _rename, _copy, _swap, _one_uid, _into_ct, _lose)
