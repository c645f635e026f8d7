"""Masks that cover a part of their scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers.small_build import AFFINE, SHAPE, hu_of, mask_of, run
from makers.small_build import ONE as BLOCKS

from demo.files import write_nifti
from demo.phantom import store
from uls_data import geometry

LOW, HIGH = (5, 7, 4), (20, 20, 16)


def cropped(raw: Path, codes: str, low: tuple[int, ...] = LOW, shift: float = 0.0) -> None:
    mask = mask_of(SHAPE, BLOCKS)[tuple(slice(a, b) for a, b in zip(LOW, HIGH, strict=True))]
    affine = AFFINE.copy()
    affine[:3, 3] = geometry.to_mm(AFFINE, np.array([low], dtype=float) + shift)[0]
    write_nifti(raw / "masks/a.nii", *store(mask, affine, codes))
    write_nifti(raw / "images/a.nii", *store(hu_of(SHAPE), AFFINE, "LPS"))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "IPR"])
def test_a_cropped_mask_is_put_in_its_place(tmp_path: Path, codes: str) -> None:
    cropped(tmp_path / "raw", codes)
    (row,) = run(tmp_path / "raw", tmp_path / "out").rows
    assert (row["status"], row["mask_voxels"]) == ("ok", 216)
    assert "mask_on_subgrid" in row["qc_flags"]
    write_nifti(tmp_path / "whole/masks/a.nii", *store(mask_of(SHAPE, BLOCKS), AFFINE, codes))
    write_nifti(tmp_path / "whole/images/a.nii", *store(hu_of(SHAPE), AFFINE, "LPS"))
    (whole,) = run(tmp_path / "whole", tmp_path / "other").rows
    for column in ("label_voxels_sha256", "image_voxels_sha256", "click_x_vox", "affine"):
        assert row[column] == whole[column]


def test_what_lies_between_the_voxels_or_beyond_the_scan_is_refused(tmp_path: Path) -> None:
    cropped(tmp_path / "between", "LPS", shift=0.4)
    (row,) = run(tmp_path / "between", tmp_path / "out").rows
    assert row["reason"] == "grid_mismatch"
    cropped(tmp_path / "beyond", "LPS", low=(28, 7, 4))
    (row,) = run(tmp_path / "beyond", tmp_path / "out2").rows
    assert row["reason"] == "grid_mismatch"
