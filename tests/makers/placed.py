"""VOIs cut from scans that are held in memory, with rows that say where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uls_data.factory.rows import position_columns
from uls_data.io import sha256_voxels
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import box_around, cut_image, cut_label
from uls_data.volumes import Volume

Triple = tuple[int, int, int]
AFFINE = np.diag([0.7, 0.7, 2.5, 1.0])


def scan_of(seed: int, shape: Triple = (300, 280, 90)) -> np.ndarray[Any, Any]:
    """CT-like noise in RAS, x fastest in memory."""
    random = np.random.default_rng(seed)
    return np.asfortranarray(random.normal(-50, 20, shape).astype(np.int16))


def placed_row(
    out: Path,
    scan: np.ndarray[Any, Any],
    case: str,
    click: Triple,
    *,
    lesion: int = 1,
    sample: int = 0,
    centre: Triple | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """Row of the VOI about a click, whose files are written; the lesion is a cube at `centre`."""
    box = box_around(click, scan.shape)
    image = cut_image(Volume(scan, AFFINE, 1.0, 0.0, "", ()), box)
    name = f"{case}_lesion_{lesion:02d}_sample_{sample}"
    layer = columns.get("layer", "annotated")
    grid = np.indices((9, 9, 5)).reshape(3, -1).T - (4, 4, 2)
    voxels = (grid + (centre or click)).astype(np.int32)
    voxels = voxels[((voxels >= 0) & (voxels < scan.shape)).all(axis=1)]
    label = cut_label(voxels, box)
    row: dict[str, Any] = {
        "source": "own",
        "case_id": case,
        "patient_id": case,
        "voi_id": name,
        "layer": layer,
        "lesion_index": lesion,
        "sample_index": sample,
        "status": "ok",
        "supervision": "full",
        "image_source": f"{case}.nii.gz",
        "lesion_type": "lung",
        "split": "train",
        "affine": AFFINE.ravel().tolist(),
        "qc_flags": [],
        "pad_value_hu": image.pad_value_hu,
        **{f"spacing_{a}_mm": mm for a, mm in zip("xyz", (0.7, 0.7, 2.5), strict=True)},
        **position_columns(box),
        "image_path": f"own/images/{name}.nii.gz",
        "label_path": f"own/labels/{layer}/{name}.nii.gz",
        "image_voxels_sha256": sha256_voxels(image.voxels),
        "label_voxels_sha256": sha256_voxels(label),
        "long_axis_vox": 9.0,
        "licence": "CC0-1.0",
        "redistributable": True,
    }
    for kind, array in (("image", image.voxels), ("label", label)):
        path = out / row[f"{kind}_path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nifti_gz(array, AFFINE))
    return {**row, **columns}
