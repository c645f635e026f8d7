"""Every rule finds what it is for, among many that are well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from uls_data.manifest.row import Row
from uls_data.reporting.outliers import rankings
from uls_data.reporting.ranking import Ranking

GOOD = {
    "voxels": 500.0,
    "fill": 0.93,
    "lobe": 0.0,
    "slice_jump": 0.03,
    "flat_side": 0.05,
    "flat_end": 0.05,
    "border_face": 0.0,
    "apart": 0.0,
    "click_distance": 0.0,
    "click_offset": 0.6,
    "hu_inside": 60.0,
    "hu_around": -20.0,
    "contrast": 4.0,
    "edge_gain": 0.0,
    "edge_shift": 0.0,
}


def lesion(number: int, **columns: Any) -> Row:
    rng = np.random.default_rng(number)
    long = float(rng.normal(20, 3))
    return {
        "source": "s",
        "case_id": f"c{number}",
        "lesion_index": 1,
        "voi_id": f"v{number}",
        "lesion_type": "liver",
        "supervision": "full",
        "qc_flags": [],
        "long_axis_vox": long,
        "long_axis_mm": long,
        "short_axis_mm": long * 0.8,
        "volume_mm3": long**3 * 0.8**2 * np.pi / 6,
        "mask_voxels": 500,
        "label_voxels_sha256": f"h{number}",
        "fraction_outside_voi": 0.0,
        **columns,
    }


def ranked(name: str, row: Row | None = None, **numbers: float) -> Ranking:
    """A ranking of thirty good lesions and one that is not."""
    rows = [lesion(n) for n in range(30)] + [lesion(30, **(row or {}))]
    rng = np.random.default_rng(1)
    measured = [{**GOOD, "hu_inside": float(rng.normal(60, 8))} for _ in rows[:-1]]
    measured.append({**GOOD, **numbers})
    return next(one for one in rankings(rows, measured) if one.name == name)


@pytest.mark.parametrize(
    ("name", "row", "numbers", "words"),
    [
        ("leak", {}, {"lobe": 0.5}, "0.50 radii apart"),
        ("slice_jump", {}, {"slice_jump": 0.7}, "70%"),
        ("fill", {}, {"fill": 0.4}, "40%"),
        ("cut", {}, {"flat_side": 0.5}, "0.50"),
        ("cut_z", {}, {"flat_end": 0.5}, "0.50"),
        ("apart", {}, {"apart": 0.1}, "10.00%"),
        ("off_click", {}, {"click_distance": 1.2, "click_offset": 2.1}, "1.20 radii"),
        ("edges_elsewhere", {}, {"edge_gain": 1.0, "edge_shift": 4.0}, "4.0 pixels"),
        ("contrast", {}, {"contrast": 0.1}, "60 HU inside"),
        ("hu_of_type", {}, {"hu_inside": -700.0}, "-700 HU"),
        ("border", {"qc_flags": ["touches_x_low"]}, {"border_face": 0.4}, "touches_x_low"),
        ("thickness", {"volume_mm3": 90000.0}, {}, "mm along z"),
        ("wrong_label", {"lesion_type": "lung"}, {}, "lung is rare for s"),
        ("wrong_label", {"label_voxels_sha256": "h3"}, {}, "same mask as v3"),
        ("wrong_label", {"long_axis_vox": 300.0}, {}, "robust deviations"),
        ("predicted_dice", {"predicted_dice": 0.3}, {}, "0.30"),
        ("uncertainty", {"uncertainty": 0.9}, {}, "0.90"),
        (
            "axis_error",
            {
                "key_slice_long_error_vox": 9.0,
                "key_slice_short_error_vox": -1.0,
                "recist_long_vox": 18.0,
                "recist_short_vox": 10.0,
            },
            {},
            "long +9.0",
        ),
    ],
)
def test_a_rule_finds_its_fault(name: str, row: Row, numbers: dict[str, float], words: str) -> None:
    found = ranked(name, row, **numbers)
    first = [suspect.row for suspect in found.suspects][:2]
    assert 30 in first
    assert words in next(s.words for s in found.suspects if s.row == 30)
    if name not in ("wrong_label",):  # a copy has an original, which is named as well
        assert first == [30]


def test_good_lesions_are_not_named() -> None:
    rows = [lesion(n) for n in range(31)]
    measured = [{**GOOD, "hu_inside": 60.0 + n % 7} for n in range(31)]
    assert [ranking.name for ranking in rankings(rows, measured) if ranking.suspects] == []


def test_a_lesion_is_named_once_by_its_worst_click() -> None:
    rows = [lesion(1), lesion(1, voi_id="again"), lesion(2)]
    measured = [{**GOOD, "lobe": value} for value in (0.2, 0.4, 0.3)]
    (found,) = (one for one in rankings(rows, measured) if one.name == "leak")
    assert [(suspect.row, suspect.score) for suspect in found.suspects] == [(1, 0.4), (2, 0.3)]
    (found,) = (one for one in rankings(rows, measured, top=1) if one.name == "leak")
    assert len(found.suspects) == 1


def test_a_source_of_many_types_finds_none_of_them_rare() -> None:
    types = ["liver", "lung", "kidney", "bone"]
    rows = [lesion(n, lesion_type=types[n % 4]) for n in range(40)]
    (found,) = (r for r in rankings(rows, [GOOD] * 40) if r.name == "wrong_label")
    assert found.suspects == []


def test_rows_that_know_nothing_rank_nowhere() -> None:
    bare = dict.fromkeys(lesion(1))
    rows = [{**bare, "source": "s", "case_id": str(n), "lesion_index": None} for n in range(9)]
    assert not any(ranking.suspects for ranking in rankings(rows, [{}] * 9))
    assert all(not ranking.suspects for ranking in rankings([], []))
