"""What a training is told of a VOI, in every export that lists or holds samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from uls_data.export.dataset import Dataset
from uls_data.geometry import Affine, orientation_to_ras
from uls_data.io import sha256_file
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.example import Example
from uls_data.manifest.patients import patient_key
from uls_data.manifest.row import Column
from uls_data.volumes import read_volume

_TOLD: tuple[Column, ...] = (
    *("voi_id", "source", "case_id", "lesion_index", "sample_index", "layer", "lesion_type"),
    *("supervision", "key_slice_voi", "pad_value_hu", "long_axis_mm"),
)


def described(dataset: Dataset, example: Example) -> dict[str, Any]:
    """Name, kind, patient, spacing and, of one to train on, fold of a VOI."""
    row = example.row
    fold = {"fold": dataset.fold(example)} if patient_key(row) in dataset.fold_of else {}
    return {
        **{name: row[name] for name in _TOLD},
        "patient": patient_key(row),
        "spacing_mm": list(spacing_of(row)),
        **fold,
    }


def inputs_of(example: Example) -> list[str]:
    """Hashes of the voxels of image and label; of their files where the row has none."""
    row = example.row
    return [
        row["image_voxels_sha256"] or _hash(example.image),
        row["label_voxels_sha256"] or _hash(example.label),
    ]


def image_file_of(example: Example) -> str:
    """Hash of the file of the image, which holds the affine too."""
    return example.row["image_sha256"] or _hash(example.image)


def _hash(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""


def affine_of(example: Example) -> Affine:
    """Affine of an image that was read before: from voxel indices (RAS) to mm."""
    if not example.image.name.endswith(".nii.gz"):
        return read_volume(example.image, example.image.parent).affine
    header = nibabel.load(example.image)
    affine = np.asarray(header.affine, np.float64)
    orientation = orientation_to_ras(affine)
    # Of RAS, to the last bit.
    return affine if orientation.is_ras else orientation.apply_affine(affine, header.shape)
