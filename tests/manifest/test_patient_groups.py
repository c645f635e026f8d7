"""Patients who share a scan are one group, however long the chain between them."""

from __future__ import annotations

from typing import Any

import pytest

from uls_data.auditing.checks import SAME_SCAN, findings
from uls_data.errors import ManifestError
from uls_data.export.dataset import deal
from uls_data.manifest.patients import patient_groups


def row(patient: str, source_sha: str | None = None, voxels_sha: str | None = None) -> Any:
    return {
        "source": "own",
        "case_id": f"scan-{patient}",
        "patient_id": patient,
        "image_source_sha256": source_sha,
        "image_voxels_sha256": voxels_sha,
    }


def test_a_chain_of_shared_scans_is_one_group() -> None:
    rows = [row("d", "1"), row("c", "2", "x"), row("b", "1", "x"), row("a"), row("e", "3")]
    groups = patient_groups(rows)
    assert groups == {
        "own/a": "own/a",
        "own/b": "own/b",
        "own/c": "own/b",
        "own/d": "own/b",
        "own/e": "own/e",
    }
    assert patient_groups(reversed(rows)) == groups


def test_one_scan_under_two_names_is_in_one_fold() -> None:
    rows = [row(f"p{number}", str(number // 2)) for number in range(40)]
    folds = deal(rows, 5)
    assert set(folds.values()) == set(range(5))
    assert all(folds[f"own/p{n}"] == folds[f"own/p{n + 1}"] for n in range(0, 40, 2))


@pytest.mark.parametrize("cohort", range(20))
def test_small_cohorts_are_dealt_evenly(cohort: int) -> None:
    folds = deal([row(f"{cohort}-{number}") for number in range(5)], 5)
    assert sorted(folds.values()) == list(range(5))
    with pytest.raises(ManifestError, match="1 of 6 folds empty"):
        deal([row(f"{cohort}-{number}") for number in range(5)], 6)


def test_equal_files_on_both_sides_of_a_split_leak() -> None:
    full = {
        "status": "ok",
        "layer": "annotated",
        "lesion_index": 1,
        "sample_index": 0,
        "label_path": "l",
        "supervision": "full",
    }
    nothing = dict.fromkeys(
        [
            *(
                "source_split",
                "series_instance_uid",
                "label_voxels_sha256",
                "mask_voxels",
                "reason",
            ),
            *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "parent_layer", "pad_value_hu"),
        ]
    )
    rows = [
        {**nothing, **full, **row(name, "1"), "voi_id": name, "split": split, "qc_flags": []}
        for name, split in (("a", "train"), ("b", "heldout"), ("b", "heldout"))
    ][:2]
    (match,) = [it for it in findings(rows) if it.check == SAME_SCAN]
    assert match.leak and match.rows == (0, 1)


def test_patients_who_share_a_lesion_are_one_group() -> None:
    rows = [row("a") | {"lesion_track_id": "t"}, row("b"), row("c") | {"lesion_track_id": "t"}]
    assert patient_groups(rows) == {"own/a": "own/a", "own/b": "own/b", "own/c": "own/a"}
