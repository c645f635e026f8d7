"""Builds of many small lesions: pseudo-masks, good and bad, and the truth of some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.certificates.certificate import Certificate, Evidence
from uls_data.certificates.score import Score, Term
from uls_data.io import sha256_voxels
from uls_data.manifest import write_manifest
from uls_data.measure.label import describe_label
from uls_data.measure.lines import Lines
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

SPACING = (1.0, 1.0, 2.0)
AFFINE = np.diag([*SPACING, 1.0])


def ball(radius: float, off: float = 0.0) -> NDArray[np.uint8]:
    """Ball about the click, its centre `off` voxels away along z."""
    mask = np.zeros(VOI_SHAPE, np.uint8, order="F")
    x, y, z = np.mgrid[-20:21, -20:21, -12:13]
    inside = x**2 + y**2 + (2 * (z - off)) ** 2 <= radius**2
    mask[108:149, 108:149, 52:77] = inside
    return mask


def write_pseudo(
    out: Path, patients: range, *, bad: float = 0.4, truth: bool = True, **changes: Any
) -> Path:
    """OUT folder: of each patient a ball of 3 to 9 mm, and a mask of it that is worse now and then.

    Returns the manifest; it holds the truth as layer `annotated`, if asked to.
    """
    rows = []
    for number in patients:
        random = np.random.default_rng(number)
        radius = float(random.uniform(6, 9))
        true = ball(radius)
        fails = random.random() < bad
        # A bad mask is too long along z, which lines on the key slice do not show.
        shift = random.uniform(3, 4) if fails else random.uniform(0, 0.5)
        found = ball(radius) | ball(radius, shift) | ball(radius, -shift)
        lines = Lines.from_mask(true[:, :, 64])
        assert lines is not None
        voi = f"own_{number:04d}_lesion_01_sample_0"
        about: dict[str, Any] = {
            "source": "own",
            "case_id": f"{number:04d}",
            "patient_id": f"p{number:04d}",
            "lesion_index": 1,
            "sample_index": 0,
            "voi_id": voi,
            "status": "ok",
            "lesion_type": "liver",
            "affine": AFFINE.ravel().tolist(),
            "image_voxels_sha256": f"{number:064x}",
            **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", SPACING, strict=True)},
            **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
            "recist_points_vox": lines.points.ravel().tolist(),
            "recist_long_vox": lines.long_vox,
            "recist_short_vox": lines.short_vox,
            "key_slice_voi": 64,
        }
        layers = [("pseudo3d-r1", "pseudo_3d", found)]
        if truth:
            layers.append(("annotated", "full", true))
        for layer, supervision, mask in layers:
            path = f"own/labels/{layer}/{voi}.nii.gz"
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(nifti_gz(mask, AFFINE))
            columns, flags = describe_label(mask, SPACING)
            rows.append(
                {
                    **about,
                    **columns,
                    "layer": layer,
                    "supervision": supervision,
                    "label_path": path,
                    "label_voxels_sha256": sha256_voxels(mask),
                    "qc_flags": sorted(flags),
                    "key_slice_long_error_vox": 0.0,
                    "key_slice_short_error_vox": 0.0,
                    **changes,
                }
            )
    manifest = out / "manifest" / "own.parquet"
    write_manifest(rows, manifest)
    return manifest


def write_certificate(path: Path, *, threshold: float = 0.75, lesion_type: str = "liver") -> Path:
    """Write a certificate that nothing was tested for: masks of about the ellipsoid's volume."""
    term = Term(measure="volume_ratio", low=0, middle=0.5, high=1, first=1.5, second=3)
    evidence = Evidence(
        layer="pseudo3d-r1",
        manifests=(),
        masks_sha256="0" * 64,
        truth_sha256="0" * 64,
        models=(),
        lines_jitter=None,
        left_out_seen=0,
        patients=50,
        masks=50,
        fitted_patients=20,
        tested_patients=30,
        kept_patients=30,
        failures=0,
        p_value=0.04,
        groups=(),
    )
    certificate = Certificate(
        sentence="Of the kept masks at most 0.1 have a Dice under 0.7.",
        risk=0.1,
        dice=0.7,
        confidence=0.95,
        members=(),
        score=Score(intercept=2.5, terms=(term,)),
        threshold=threshold,
        accepted={"lesion_type": {lesion_type: 50}, "size": {"10 to 20 mm": 50}},
        refused={"lesion_type": {}, "size": {}},
        evidence=evidence,
        values={"spacing_z_mm": (2.0,) * 50},
        types={lesion_type: 50},
        seed=0,
        software={},
    )
    path.write_bytes(certificate.to_bytes())
    return path
