"""Validation and test, drawn by patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from uls_data.errors import ManifestError
from uls_data.export.two_parts import draw_parts


def lesion(patient: int | None, number: int, **more: Any) -> dict[str, Any]:
    return {
        "source": "a" if (patient or 0) % 2 else "b",
        "case_id": f"{patient}-{number}",
        "patient_id": None if patient is None else str(patient),
        "lesion_type": ("liver", "lung", "bone")[(patient or 0) % 3],
        "long_axis_mm": 5.0 + (7 * (patient or 0) + 3 * number) % 40,
        "image_source_sha256": f"{patient}-{number}",
        "image_voxels_sha256": None,
        **more,
    }


# 60 patients with one to five lesions.
LESIONS: list[Any] = [lesion(p, n) for p in range(60) for n in range(1 + p % 5)]


def drawn(rows: list[Any], size: int = 40, seed: int = 0) -> dict[str, str]:
    parts = draw_parts(rows, size, seed)
    return {
        row["case_id"]: "validation" if inside else "test"
        for row, inside in zip(rows, parts.validation, strict=True)
    }


def test_nobody_is_in_both_parts_and_the_size_is_met() -> None:
    found = drawn(LESIONS)
    by_patient: dict[str, set[str]] = {}
    for case, part in found.items():
        by_patient.setdefault(case.split("-")[0], set()).add(part)
    assert all(len(parts) == 1 for parts in by_patient.values())
    assert list(found.values()).count("validation") == 40


def test_the_same_lesions_in_any_order_give_the_same_parts() -> None:
    shuffled = [LESIONS[at] for at in np.random.default_rng(1).permutation(len(LESIONS))]
    first = drawn(LESIONS)
    assert drawn(shuffled) == first
    assert drawn(LESIONS, seed=1) != first


def test_parts_are_balanced_and_stated() -> None:
    """The stated difference is that of the stated counts, and a share is within 5 %."""
    parts = draw_parts(LESIONS, 40)
    stated = parts.stated["parts"]
    assert stated["validation"]["lesions"] + stated["test"]["lesions"] == len(LESIONS)
    differences = []
    for name in ("source", "lesion_type", "size"):
        for kind in {kind for said in stated.values() for kind in said[name]}:
            inside, outside = (stated[part][name].get(kind, 0) for part in stated)
            differences.append(abs(inside / 40 - (inside + outside) / len(LESIONS)))
    assert parts.stated["largest_difference"] == pytest.approx(max(differences), abs=1e-4)
    assert max(differences) < 0.05
    assert sum(parts.validation) == stated["validation"]["lesions"] == 40


def test_patients_who_share_a_scan_stay_together() -> None:
    rows: list[Any] = [lesion(p, 0, image_source_sha256=f"scan {p // 2}") for p in range(12)]
    found = drawn(rows, 4)
    assert [found[f"{p}-0"] for p in range(0, 12, 2)] == [found[f"{p}-0"] for p in range(1, 12, 2)]


def test_lesions_of_unknown_size_and_patient() -> None:
    rows: list[Any] = [lesion(None, n, long_axis_mm=None, lesion_type=None) for n in range(6)]
    parts = draw_parts(rows, 2)
    assert parts.stated["parts"]["validation"]["size"] == {"unknown": 2}


@pytest.mark.parametrize("size", [0, len(LESIONS)])
def test_a_part_without_a_patient_is_refused(size: int) -> None:
    with pytest.raises(ManifestError, match="both parts need a patient"):
        draw_parts(LESIONS, size)
    with pytest.raises(ManifestError, match="both parts need a patient"):
        draw_parts([lesion(1, n) for n in range(4)], 2)  # type: ignore[misc]
