"""VOIs of a few patients as a build leaves them: files, and a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uls_data.manifest import write_manifest
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

AFFINE = np.array([[0.7, 0, 0, -31.5], [0, 0.7, 0, 12.25], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
PATIENTS = ("p1", "p1", "p2", "p3", "p4", "p5", "held", "weak")


def name_of(number: int) -> str:
    return f"own_{PATIENTS[number]}_{number}_lesion_01_sample_0"


def write_dataset(out: Path) -> list[dict[str, Any]]:
    """One VOI a number; that of `held` is held out, that of `weak` has a mask of one slice."""
    rng = np.random.default_rng(0)
    rows = []
    for number, patient in enumerate(PATIENTS):
        image = np.full(VOI_SHAPE, -1001, np.int16, order="F")
        image[100:150, 100:150, 50:80] = rng.integers(-1000, 3000, (50, 50, 30))
        label = np.zeros(VOI_SHAPE, np.uint8, order="F")
        label[124:133, 122 - number : 131, 64 if patient == "weak" else 60 : 65] = 1
        row = {"source": "own", "case_id": f"{patient}_{number}", "patient_id": patient}
        row |= {"lesion_index": 1, "sample_index": 0, "voi_id": name_of(number), "qc_flags": []}
        row |= {"layer": "jury" if patient == "weak" else "annotated", "status": "ok"}
        row |= {"supervision": "weak_2d" if patient == "weak" else "full", "lesion_type": "lung"}
        row |= {"split": "heldout" if patient == "held" else "train", "key_slice_voi": None}
        row |= {f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", (0.7, 0.7, 2.5), strict=True)}
        row |= {"affine": AFFINE.ravel().tolist(), "pad_value_hu": -1001}
        for kind, voxels in (("image", image), ("label", label)):
            row[f"{kind}_path"] = f"own/{kind}s/{name_of(number)}.nii.gz"
            path = out / row[f"{kind}_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nifti_gz(voxels, AFFINE))
        rows.append(row)
    write_manifest(rows, out / "manifest" / "own.parquet")
    return rows
