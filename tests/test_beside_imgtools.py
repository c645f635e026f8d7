"""What med-imagetools 2.16 reads of the same made-up collections, for docs/collections.md.

It is not a dependency: `ULS_DATA_IMGTOOLS` names its command `imgtools`, in its own environment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
from makers.collection_table import make
from test_recipes import GOLDEN

IMGTOOLS = os.environ.get("ULS_DATA_IMGTOOLS", "")
pytestmark = pytest.mark.skipif(
    not IMGTOOLS, reason="ULS_DATA_IMGTOOLS does not name med-imagetools' command"
)


def theirs(folder: Path, source: str, modality: str, names: str) -> dict[str, list[int]]:
    """Voxels of each mask that it writes, by what it calls the region."""
    make(source, folder / "raw")  # with the folders above it
    command = [IMGTOOLS, "autopipeline", str(folder / "raw"), str(folder / "out"), "-j", "1"]
    command += ["-m", f"CT,{modality}", "-rmap", f"lesion:{names}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    found: dict[str, list[int]] = {}
    for path in sorted((folder / "out").rglob("*.nii.gz")):
        match = re.search(r"\[(.*)\]", path.name)
        if match is not None:
            voxels = int(np.count_nonzero(np.asarray(nibabel.load(path).dataobj)))  # type: ignore[attr-defined]
            found.setdefault(match[1], []).append(voxels)
    return found


def ours(source: str) -> list[tuple[int | None, str | None]]:
    """Voxels and reason of each row."""
    lines = (GOLDEN / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["mask_voxels"], row["reason"]) for row in map(json.loads, lines)]


def test_segments_of_a_model_come_with_those_of_the_collection(tmp_path: Path) -> None:
    found = theirs(tmp_path, "colorectal_liver_metastases", "SEG", "tumor.*")
    # `Tumor` is the model's; the empty Tumor_3 leaves a line in the log.
    assert found == {"Tumor_1": [277], "tumor_2": [193], "Tumor": [277]}
    assert ours("colorectal_liver_metastases") == [(277, None), (193, None), (None, "no_lesion")]


def test_a_segmentation_that_leaves_the_ct_is_cut(tmp_path: Path) -> None:
    found = theirs(tmp_path, "lidc_idc", "SEG", ".*")
    # Nodule 3 lies above the CT, but for 29 of its voxels.
    assert found["Nodule_3"] == [29] and sorted(found) == [
        "Nodule",
        "Nodule_1",
        "Nodule_2",
        "Nodule_3",
    ]
    assert ours("lidc_idc")[-1] == (None, "grid_mismatch")


def test_structure_sets_and_segmentations_of_one_collection(tmp_path: Path) -> None:
    sets = theirs(tmp_path / "a", "eay131", "RTSTRUCT", "roi")
    segmentations = theirs(tmp_path / "b", "eay131", "SEG", ".*")
    # Its outlines are a pixel wider; of points nothing is written.
    assert sets == {"ROI": [293, 405, 405]} and segmentations == {"Lesion": [277]}
    found = ours("eay131")
    assert sorted(voxels or 0 for voxels, reason in found if not reason) == [238, 277, 336, 336]


def test_several_structure_sets_of_a_scan(tmp_path: Path) -> None:
    found = theirs(tmp_path, "cptac_ccrcc", "RTSTRUCT", "roi")
    assert found == {"ROI": [293, 405]}
    reasons = [reason for _, reason in ours("cptac_ccrcc")]
    assert reasons == [None, None, "point_mark", "not_annotated", "image_missing", "image_missing"]
