"""Scans of DeepLesion rewritten from windowed slices, and true masks on their VOIs."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from tools.elsewhere import make_deeplesion
from uls_data.manifest.example import read_examples
from uls_data.measure.overlap import dice
from uls_data.network.voxels import read_image, read_mask

LOW, HIGH = -160.0, 240.0
LONG, SHORT = 24.0, 12.0


def write_set(root: Path) -> NDArray[np.bool_]:
    """One lesion, nowhere near the middle and no mirror image of itself; shape (z, x, y)."""
    z, x, y = np.ogrid[:9, :96, :96]
    mask = ((x - 70) / (LONG / 2)) ** 2 + ((y - 30) / (SHORT / 2)) ** 2 + ((z - 5) / 3.0) ** 2 <= 1
    hu = np.random.default_rng(0).normal(0, 5, mask.shape) + np.where(mask, 60, -60)
    grey = np.rint((hu - LOW) / (HIGH - LOW) * 255).astype(np.uint8)
    folder = root / "medsam2-deeplesion"
    folder.mkdir(parents=True)
    name = "CT_Lesion_000001_02_01_008-016.npz"
    np.savez_compressed(folder / name, imgs=grey, gts=mask.astype(np.uint8))
    # The table counts from the outer edge of the first pixel.
    ends = [70.5 - 12, 30.5, 70.5 + 12, 30.5, 70.5, 30.5 - 6, 70.5, 30.5 + 6]
    row = {
        "File_name": "000001_02_01_013.png",
        "Patient_index": "1",
        "Study_index": "2",
        "Series_ID": "1",
        "Key_slice_index": "13",
        "Measurement_coordinates": ", ".join(map(str, ends)),
        "Bounding_boxes": "53.5, 19.5, 87.5, 41.5",
        "Lesion_diameters_Pixel_": f"{LONG}, {SHORT}",
        "Normalized_lesion_location": "0.5, 0.5, 0.5",
        "Coarse_lesion_type": "2",
        "Possibly_noisy": "0",
        "Slice_range": "8, 16",
        "Spacing_mm_px_": "0.9, 0.9, 5",
        "Image_size": "96, 96",
        "DICOM_windows": f"{LOW:.0f}, {HIGH:.0f}",
        "Patient_gender": "F",
        "Patient_age": "60",
        "Train_Val_Test": "1",
    }
    table = root / "deeplesion" / "Kaggle_DL_info.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        # Another lesion of the scan, on a slice where the masked one is smaller.
        writer.writerows([row, row | {"File_name": "000001_02_01_011.png"}])
    return mask


def test_true_masks_lie_where_readers_drew(tmp_path: Path) -> None:
    mask = write_set(tmp_path / "data")
    out = tmp_path / "out"
    make_deeplesion(tmp_path / "data", out)
    (example,) = [e for e in read_examples(out / "vois") if e.row["layer"] == "jury"]
    row = example.row
    (path,) = (out / "truth").iterdir()
    assert path.name == f"{row['voi_id']}.nii.gz"
    truth = np.asarray(nibabel.load(path).dataobj).T > 0
    assert truth.sum() == mask.sum()
    at = row["key_slice_voi"]
    assert at == int(truth.sum(axis=(1, 2)).argmax())
    assert dice(truth[at], read_mask(example)[at]) > 0.85
    # HU come back from the window.
    hu = read_image(example).hu[truth]
    assert abs(float(np.median(hu)) - 60) < 2
