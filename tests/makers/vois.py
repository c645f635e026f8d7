"""VOIs of made-up lesions with a manifest, and plans that train in a blink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from uls_data.io import sha256_voxels
from uls_data.manifest import write_manifest
from uls_data.network.plan import Plan, parse_plan


def ball(radius: float, click: tuple[int, int, int] = (128, 128, 64)) -> np.ndarray[Any, Any]:
    x, y, z = np.ogrid[:256, :256, :128]
    distance = (x - click[0]) ** 2 + (y - click[1]) ** 2 + (2 * (z - click[2])) ** 2
    return np.asarray(distance <= radius**2, np.uint8)


def write_voi(
    out: Path, case: str, radius: float = 10.0, pad_z: int = 0, hu: int = 60, **row: Any
) -> dict[str, Any]:
    """One bright ball in noise, padded at the top, and its row."""
    random = np.random.default_rng(sum(case.encode()))
    label = ball(radius)
    image = np.tile(random.normal(-50, 20, (32, 32, 128)), (8, 8, 1)).astype(np.int16)
    image[label == 1] += np.int16(hu + 50)
    pad = int(image.min()) - 1
    image[:, :, 128 - pad_z :] = pad
    if row.get("supervision") == "weak_2d":
        label[:, :, :64] = 0
        label[:, :, 65:] = 0
    name = f"{case}_lesion_01_sample_0"
    for folder, voxels in (("images", image), ("labels", label)):
        path = out / "s" / folder / f"{name}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return {
        "source": "s",
        "case_id": case,
        "patient_id": case,
        "lesion_index": 1,
        "sample_index": 0,
        "voi_id": name,
        "layer": "annotated",
        "status": "ok",
        "image_path": f"s/images/{name}.nii",
        "label_path": f"s/labels/{name}.nii",
        "pad_value_hu": pad,
        "lesion_type": "lung",
        "supervision": "full",
        "split": "train",
        **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
        "pad_after_z_vox": pad_z,
        **{f"spacing_{axis}_mm": 1.0 for axis in "xyz"},
        "affine": np.eye(4).ravel().tolist(),
        "image_voxels_sha256": sha256_voxels(image),
        "long_axis_vox": 2 * radius,
        "long_axis_mm": 2 * radius,
        **row,
    }


def write_vois(out: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = out / "manifest" / "s.parquet"
    write_manifest(rows, path)
    return path


def tiny_plan(**training: Any) -> Plan:
    return parse_plan(
        {
            "plan_version": 1,
            "name": "tiny",
            "architecture": {
                "features": [4, 8],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "kernels": [[3, 3, 3], [3, 3, 3]],
                "blocks": [1, 1],
                "decoder_convs": [1],
            },
            "crop": [16, 32, 32],
            "pool": [1, 2, 2],
            "intensities": {
                "mean": 60,
                "std": 20,
                "median": 60,
                "min": -40,
                "max": 160,
                "percentile_00_5": -40,
                "percentile_99_5": 160,
            },
            "training": {
                "batch_size": 2,
                "epochs": 3,
                "fine_tune_epochs": 1,
                "steps_per_epoch": 3,
                "momentum": 0.9,
                "reclick": 0.5,
                **training,
            },
        },
        "tiny",
    )
