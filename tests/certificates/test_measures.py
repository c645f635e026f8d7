"""What certificates measure on a mask: how much of it looks unlike the measured slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from makers.certified import ball

from uls_data.certificates.measures import judged
from uls_data.ensemble import Flat, Subject
from uls_data.measure.lines import Lines
from uls_data.voi import VOI_SHAPE

LINES = Lines((120, 128, 136, 128), (128, 120, 128, 136))
ROW: dict[str, Any] = {
    "source": "s",
    "case_id": "a",
    "patient_id": "a",
    "lesion_index": 1,
    "sample_index": 0,
    "voi_id": "a_1",
    "layer": "pseudo3d-r1",
    "lesion_type": "liver",
    "qc_flags": [],
    "predicted_dice": None,
    "uncertainty": None,
    "candidate_scores": None,
    **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", (1.0, 1.0, 2.0), strict=True)},
    **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
}


def test_what_a_mask_holds_beside_the_lesion_is_unlike() -> None:
    lesion = ball(8) != 0
    hu = np.where(lesion, 60, -100).astype(np.int16)
    subject = Subject(ROW, hu, lines=LINES, key_slice=64)
    leaky = lesion.copy()
    leaky[128:150, 124:132, 62:67] = True

    def unlike(mask: np.ndarray, its: Subject = subject) -> float | None:
        return judged(its, mask, [Flat("ellipse")]).measures.get("unlike")

    right, wrong = unlike(lesion), unlike(leaky)
    assert right is not None and wrong is not None
    extra = (leaky & ~lesion).sum() / leaky.sum()
    # Half a voxel at the lesion's edge is half something else.
    assert right < 0.25 and wrong == pytest.approx(right * (1 - extra) + extra, abs=0.12)
    # Nothing says what is like: no image, no 2D mask, no lines.
    assert unlike(lesion, Subject(ROW, lines=LINES, key_slice=64)) is None
    assert unlike(lesion, Subject(ROW, hu)) is None
    assert judged(subject, lesion, []).measures.get("unlike") is None
    nowhere = Subject(ROW, np.full(VOI_SHAPE, 40, np.int16), lines=LINES, key_slice=64)
    assert unlike(lesion, nowhere) is None


def test_what_is_around_begins_where_the_lesion_of_the_lines_ends() -> None:
    lesion = ball(8) != 0
    hu = np.where(lesion, 60, -100).astype(np.int16)
    inner = Lines((122, 128, 134, 128), (128, 122, 128, 134))
    drawn = {"recist_points_vox": inner.points.ravel().tolist(), "key_slice_voi": 64}
    lesions = (
        Subject({**ROW, **drawn, "recist_outward_vox": 2.0}, hu, lines=inner, key_slice=64),
        Subject(ROW, hu, lines=LINES, key_slice=64),
        Subject({**ROW, **drawn}, hu, lines=inner, key_slice=64),
    )
    by_row, by_lines, too_short = (
        judged(its, lesion, [Flat("ellipse")]).measures["unlike"] for its in lesions
    )
    assert by_row == by_lines != too_short
