"""Raw folders as other tools write them: nnU-Net, MONAI lists, pairs of volumes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from demo.files import write_nifti

AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])
SHAPE = (44, 40, 14)


def scan(seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(40, 20, SHAPE).astype(np.int16)


def organ_with(lesions: int) -> Any:
    """Value 1 is an organ, value 2 so many separate lesions in it."""
    found = np.zeros(SHAPE, np.uint8)
    found[4:40, 4:36, 2:12] = 1
    for at in range(lesions):
        found[6 + 9 * at : 12 + 9 * at, 10:17, 4:8] = 2
    return found


def write_nnunet_raw(folder: Path, cases: int = 3, **more: Any) -> Path:
    """Folder as nnU-Net v2 wants it: case N has N lesions."""
    for number in range(1, cases + 1):
        write_nifti(folder / f"imagesTr/mine_{number:03}_0000.nii.gz", scan(number), AFFINE)
        write_nifti(folder / f"labelsTr/mine_{number:03}.nii.gz", organ_with(number), AFFINE)
    write_nifti(folder / "imagesTs/mine_900_0000.nii.gz", scan(9), AFFINE)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        **more,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def write_list(folder: Path, items: Any, name: str = "list.json") -> Path:
    """Three cases `a`, `b/ct` and `c/ct`, and a list of items about them."""
    for at, case in enumerate(("a", "b/ct", "c/ct"), 1):
        write_nifti(folder / f"scans/{case}.nii.gz", scan(at), AFFINE)
        write_nifti(folder / f"truth/{case}_gt.nii.gz", organ_with(at), AFFINE)
    (folder / name).write_text(json.dumps(items))
    return folder / name


def state(folder: Path) -> str:
    """Hash of all that a folder holds: names, content, times."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.lstat().st_mtime_ns}\n".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()
