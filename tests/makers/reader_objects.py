"""Masks of several readers of one made-up series: volumes, DICOM SEG and structure sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from skimage.measure import find_contours

from demo.dicom import write_rtstruct, write_series
from makers.own_objects import write_segmentation

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ReadScan:
    """A CT, and what each reader marked on it.

    Attributes
    ----------
    ct_hu : ndarray of int16, shape (x, y, z), RAS
    affine : ndarray, shape (4, 4), RAS
    masks : sequence of ndarray of bool, of the same shape
        One a reader.
    """

    ct_hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    masks: Sequence[NDArray[np.bool_]]

    def write_volumes(self, root: Path, case: str) -> None:
        """Write `ct/CASE.nii.gz`, and `readers/CASE_N.nii.gz` of each reader."""
        for folder in ("ct", "readers"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        _save(self.ct_hu, self.affine, root / "ct" / f"{case}.nii.gz")
        for number, mask in enumerate(self.masks, 1):
            path = root / "readers" / f"{case}_{number}.nii.gz"
            _save(mask.astype(np.uint8), self.affine, path)

    def write_series(self, root: Path, case: str) -> list[str]:
        """Write the CT as `CASE/ct`; returns the UIDs of its slices from the feet."""
        return write_series(root / case / "ct", self.ct_hu, self.affine, f"readers {case}", case)

    def write_structure_sets(self, root: Path, case: str, uids: Sequence[str]) -> None:
        """Write `CASE/reader-N/rs.dcm`: closed contours halfway between voxels in and out."""
        lps = _LPS @ self.affine
        for number, mask in enumerate(self.masks, 1):
            contours = []
            for k in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
                # A border of its own, so that no contour runs out of the slice.
                for path in find_contours(np.pad(mask[:, :, k], 1).astype(float), 0.5):
                    xy = path[:-1] - 1
                    index = np.column_stack([xy, np.full(len(xy), k), np.ones(len(xy))])
                    contours.append((uids[k], (index @ lps.T)[:, :3]))
            to = root / case / f"reader-{number}" / "rs.dcm"
            write_rtstruct(to, contours, f"readers {case}", case, roi=f"GTV reader {number}")

    def write_segmentations(self, root: Path, case: str) -> None:
        """Write `CASE/reader-N/seg.dcm` by highdicom's classes."""
        slices = sorted(
            (pydicom.dcmread(path) for path in (root / case / "ct").iterdir()),
            key=lambda ds: float(ds.ImagePositionPatient[2]),
        )
        for number, mask in enumerate(self.masks, 1):
            # Slices run feet to head; in LPS, x and y run against RAS; a frame is row by column.
            frames = mask[::-1, ::-1].transpose(2, 1, 0).astype(np.uint8)
            write_segmentation(
                root / case / f"reader-{number}" / "seg.dcm",
                slices,
                frames,
                f"GTV reader {number}",
                content_creator_name="Private^Name",
            )


def _save(data: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
