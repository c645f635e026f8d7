"""Majority vote of several annotators: as arrays, and as a layer of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.canonical import nifti_gz
from uls_data.errors import CaseError, ManifestError
from uls_data.io import sha256_file
from uls_data.manifest import load_manifest, write_manifest
from uls_data.manifest.vote import vote_layer
from uls_data.masks.vote import majority
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE


@given(st.integers(1, 7), st.integers(0, 1 << 30))
def test_more_than_half_voxel_by_voxel(voters: int, seed: int) -> None:
    masks = np.random.default_rng(seed).random((voters, 3, 4, 2)) < 0.5
    vote = majority(list(masks))
    for at in np.ndindex(3, 4, 2):
        ayes = sum(bool(mask[at]) for mask in masks)
        assert vote.mask[at] == (ayes > voters - ayes)
        assert vote.votes[at] == ayes
    assert vote.tied == sum(2 * int(v) == voters for v in vote.votes.ravel())
    assert vote.unanimous == int(masks.all(axis=0).sum())


def test_bounds_of_a_vote() -> None:
    one, other = np.eye(4)[:, :, None], np.ones((4, 4, 1))
    assert majority([one]).mask.sum() == 4
    vote = majority([one, other])  # two who differ: only what both hold
    assert (vote.mask.sum(), vote.tied) == (4, 12)
    assert majority([other] * 255).votes.max() == 255
    for masks, reason in (
        ([], Reason.MASK_MISSING),
        ([one, one[:3]], Reason.GRID_MISMATCH),
        ([one] * 256, Reason.TOO_MANY_INSTANCES),
    ):
        with pytest.raises(CaseError) as caught:
            majority(masks)
        assert caught.value.reason is reason


@pytest.mark.real
def test_kits_annotators_give_kits_own_mask(real_data: Path) -> None:
    """The source made its mask by 2 of 3 votes, tumour by tumour."""
    case = real_data / "kits23" / "dataset" / "case_00041"
    whole = np.asarray(nibabel.load(case / "segmentation.nii.gz").dataobj) == 2
    tumours: dict[str, list[Any]] = {}
    for path in sorted((case / "instances").glob("tumor*annotation*.nii.gz")):
        instance = path.name.split("_annotation")[0]
        tumours.setdefault(instance, []).append(np.asarray(nibabel.load(path).dataobj))
    assert [len(masks) for masks in tumours.values()] == [3, 3]
    votes = [majority(masks).mask for masks in tumours.values()]
    assert np.array_equal(np.logical_or.reduce(votes), whole)
    assert whole.sum() == 26_101


def build(folder: Path, readers: dict[str, list[tuple[int, int]]]) -> Path:
    """VOIs by name; of each reader the extent along x that he marked (none: an unreadable file)."""
    rows: list[dict[str, Any]] = []
    affine = np.diag([0.7, 0.7, 2.0, 1.0])
    for number, (voi, spans) in enumerate(readers.items(), 1):
        for reader, (start, stop) in enumerate(spans, 1):
            mask = np.zeros(VOI_SHAPE, np.uint8, order="F")
            mask[start:stop, 120:136, 60:68] = 1
            path = f"s/labels/reader-{reader}/{voi}.nii.gz"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            data = nifti_gz(mask, affine) if stop >= start else b"damaged"
            (folder / path).write_bytes(data)
            row: dict[str, Any] = {"source": "s", "case_id": "c", "lesion_index": number}
            row |= {"sample_index": 0, "layer": f"reader-{reader}", "status": "ok", "voi_id": voi}
            row |= {"label_path": path, "affine": affine.ravel().tolist(), "supervision": "full"}
            row |= {"image_path": f"s/images/{voi}.nii.gz", "annotator": f"reader-{reader}"}
            row |= {f"spacing_{a}_mm": s for a, s in zip("xyz", (0.7, 0.7, 2.0), strict=True)}
            row |= {"qc_flags": ["cut_by_voi", "oblique"], "patient_id": "p", "mask_voxels": 1}
            rows.append(row)
    write_manifest(rows, folder / "manifest" / "s.parquet")
    return folder


def test_a_layer_of_votes(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "three": [(120, 136), (124, 140), (126, 130)],
            "two": [(120, 130), (126, 136)],
            "apart": [(120, 125), (130, 135)],
            "damaged": [(120, 136), (1, 0)],
            "alone": [(120, 136)],
        },
    )
    rows = {row["voi_id"]: row for row in vote_layer(tmp_path, tmp_path)}
    assert rows.keys() == {"three", "two", "apart", "damaged"}
    assert (rows["apart"]["status"], rows["apart"]["reason"]) == ("skipped", "no_lesion")
    assert (rows["damaged"]["status"], rows["damaged"]["reason"]) == ("failed", "unreadable")
    three = rows["three"]
    assert (three["layer"], three["agreement_level"]) == ("majority", 3)
    mask = np.asarray(nibabel.load(tmp_path / three["label_path"]).dataobj)
    expected = np.zeros(VOI_SHAPE, np.uint8)
    expected[124:136, 120:136, 60:68] = 1
    assert np.array_equal(mask, expected)
    assert three["label_sha256"] == sha256_file(tmp_path / three["label_path"])
    assert three["mask_voxels"] == expected.sum()
    assert three.get("annotator") is None and three["image_path"] == "s/images/three.nii.gz"
    assert "oblique" in three["qc_flags"] and "cut_by_voi" not in three["qc_flags"]
    scores = {(s["candidate"], s["measure"]): s["value"] for s in rows["two"]["candidate_scores"]}
    assert scores["majority", "tied_voxels"] == 12 * 16 * 8
    assert scores["majority", "unanimous_voxels"] == 4 * 16 * 8
    assert scores["reader-1", "dice_with_majority"] == pytest.approx(2 * 4 / 14)
    both = load_manifest(tmp_path)
    assert set(both[both["voi_id"] == "three"]["layer"]) == {
        *("majority", "reader-1", "reader-2", "reader-3")
    }
    readers = tmp_path / "manifest" / "s.parquet"
    (elsewhere,) = vote_layer(readers, tmp_path / "votes", minimum=3)
    assert (elsewhere["voi_id"], elsewhere["image_path"]) == ("three", None)
    with pytest.raises(ManifestError, match="nothing to vote on"):
        vote_layer(readers, tmp_path / "no", minimum=4)
