"""A manifest of a few labels, and overlays about them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from uls_data.io import sha256_bytes, sha256_voxels
from uls_data.manifest import write_manifest
from uls_data.measure.label import describe_label
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

AFFINE = np.array([[0.75, 0, 0, -31.5], [0, 0.75, 0, 12.25], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
SPACING = (0.75, 0.75, 2.5)
Mask = NDArray[np.uint8]
_ENCODED: dict[bytes, bytes] = {}


def cube(size: int = 8, at: tuple[int, int, int] = (126, 126, 62), slices: int = 0) -> Mask:
    mask = np.zeros(VOI_SHAPE, np.uint8, order="F")
    x, y, z = at
    mask[x : x + size, y : y + size, z : z + (slices or size)] = 1
    return mask


def encoded(mask: Mask) -> bytes:
    """Label file of a mask."""
    key = mask.tobytes()
    if key not in _ENCODED:
        _ENCODED[key] = nifti_gz(mask, AFFINE)
    return _ENCODED[key]


def voi_id(number: int) -> str:
    return f"own_{number}_lesion_01_sample_0"


def write_out(out: Path, masks: dict[tuple[int, str], Mask]) -> list[dict[str, Any]]:
    """OUT folder with a label for each (case, layer); images are named but not there."""
    rows = []
    for (number, layer), mask in masks.items():
        weak = layer == "jury"
        path = f"own/labels/{layer}/{voi_id(number)}.nii.gz"
        data = encoded(mask)
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
        columns, flags = describe_label(mask, SPACING)
        rows.append(
            {
                "source": "own",
                "case_id": str(number),
                "patient_id": str(number),
                "lesion_index": 1,
                "sample_index": 0,
                "voi_id": voi_id(number),
                "layer": layer,
                "status": "ok",
                "image_path": f"own/images/{voi_id(number)}.nii.gz",
                "label_path": path,
                "label_sha256": sha256_bytes(data),
                "label_voxels_sha256": sha256_voxels(mask),
                "image_voxels_sha256": "ab" * 32,
                "affine": AFFINE.ravel().tolist(),
                "lesion_type": "liver",
                "annotator": "reader",
                "supervision": "weak_2d" if weak else "full",
                "predicted_dice": 0.9,
                **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", SPACING, strict=True)},
                **columns,
                "qc_flags": sorted(flags | {"hu_rounded"}),
            }
        )
    write_manifest(rows, out / "manifest" / "own.parquet")
    return rows


def correction(kind: str, number: int, mask: Mask, **more: Any) -> dict[str, Any]:
    """A correction of a mask, as YAML has it."""
    before = sha256_voxels(mask)
    found: dict[str, Any] = {
        "kind": kind,
        "source": "own",
        "voi_id": voi_id(number),
        "layer": "annotated",
        "reason": "two lesions in one",
        "evidence": "seen on slice 64",
        "author": "reader 7",
        "date": "2026-03-01",
        "before": before,
    }
    if kind in ("relabel", "note"):
        found["after"] = before
    return found | more


def replacement(number: int, mask: Mask, new: Mask, overlays: Path, **more: Any) -> dict[str, Any]:
    """A correction that replaces a mask; its patch is written."""
    sha256 = put_patch(overlays, encoded(new))
    after = sha256_voxels(new)
    return correction("replace", number, mask, after=after, patch=sha256) | more


def put_patch(overlays: Path, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    path = overlays / "patches" / f"{sha256}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256


def write_overlay(path: Path, *corrections: dict[str, Any], **more: Any) -> Path:
    content = {"overlay_version": 1, "name": path.stem, "title": "Test"} | more
    path.write_text(yaml.safe_dump({**content, "corrections": list(corrections)}, sort_keys=False))
    return path


def files(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
