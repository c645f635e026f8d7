"""What scores say together: means by patient, intervals, calibration, risk and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from uls_data.scoring import summary


def row(patient: str, dice: float, **more: Any) -> dict[str, Any]:
    known = {
        "source": "s",
        "case_id": patient,
        "patient_id": patient,
        "lesion_index": 1,
        "slice_voi": 64,
        "draw": 0,
        "jitter": 0.0,
        "drawn_by": "annotated",
        "scored_on": "annotated",
        "measured_on": "voi",
        "fraction_outside_voi": 0.0,
        "long_axis_in_voi_vox": 20.0,
        "method": "jury",
        "dice": dice,
        "nsd_1mm": dice,
        "long_error_vox": 0.0,
        "short_error_vox": 0.0,
        "long_axis_vox": 20.0,
        "predicted_dice": None,
    }
    return {**known, **more}


def test_a_patient_of_many_slices_counts_once() -> None:
    rows = [row("a", 0.5, slice_voi=z) for z in range(9)] + [row("b", 1.0)]
    (found,) = summary.summarise(rows)
    assert found["dice"] == pytest.approx(0.75)
    assert (found["patients"], found["slices"]) == (2, 10)
    assert found["worst_dice"] == 0.5


def test_errors_do_not_cancel() -> None:
    rows = [row("a", 1.0, long_error_vox=3.0), row("a", 1.0, slice_voi=65, long_error_vox=-3.0)]
    (found,) = summary.summarise(rows)
    assert found["long_error_vox"] == pytest.approx(3.0)


def test_gain_is_paired() -> None:
    rows = []
    for patient, level in (("a", 0.2), ("b", 0.9)):
        rows += [row(patient, level + 0.01), row(patient, level, method="ellipse")]
    rows.append(row("c", 0.0))  # no partner: it says nothing
    found = summary.gain(rows, "jury", "ellipse", "clean")
    assert found is not None
    assert found["gain"] == pytest.approx(0.01)
    assert found["better"] == 1.0


def test_readers_lines_are_parted_by_whose_mask_scores() -> None:
    rows = []
    for drawn, scored, value in (("1", "1", 0.9), ("1", "2", 0.8), ("2", "1", 0.7)):
        of = {"drawn_by": f"reader-{drawn}", "scored_on": f"reader-{scored}"}
        rows += [row("a", value, **of), row("a", value - 0.1, method="ellipse", **of)]
    found = {(r["lines"], r["method"]): r["dice"] for r in summary.summarise(rows)}
    assert found["own", "jury"] == pytest.approx(0.9)
    assert found["other", "jury"] == pytest.approx(0.75)
    gain = summary.gain(rows, "jury", "ellipse", "other")
    assert gain is not None and gain["gain"] == pytest.approx(0.1)
    assert summary.gain(rows, "jury", "grabcut", "own") is None


def test_lesions_that_a_voi_cuts_are_told_with_their_longest_axis() -> None:
    cut = {"fraction_outside_voi": 0.25, "long_axis_in_voi_vox": 250.0}
    rows = [
        row("a", 0.9),
        *(
            row("b", 0.9, slice_voi=z, long_axis_vox=length, **cut)
            for z, length in ((1, 300), (2, 280))
        ),
        row("c", 0.9, fraction_outside_voi=0.5),
        row("d", 0.9, fraction_outside_voi=None),
    ]
    found = summary.cut_lesions(rows)
    assert [r["case_id"] for r in found] == ["c", "b"]
    assert (found[1]["long_axis_vox"], found[1]["long_axis_in_voi_vox"]) == (300, 250)


def test_interval_holds_the_mean_and_shrinks() -> None:
    random = np.random.default_rng(0)
    few, many = random.normal(0.8, 0.1, 10), random.normal(0.8, 0.1, 1000)
    low, high = summary.interval(few)
    assert low < few.mean() < high
    narrow = summary.interval(many)
    assert narrow[1] - narrow[0] < (high - low) / 5
    assert np.isnan(summary.interval(few[:1])).all()


def test_calibration_error() -> None:
    true = np.linspace(0.5, 1, 100)
    exact = [row("a", float(d), predicted_dice=float(d)) for d in true]
    assert summary.calibration(exact)[0] == pytest.approx(0)
    high = [row("a", float(d), predicted_dice=float(d) + 0.1) for d in true]
    assert summary.calibration(high)[0] == pytest.approx(0.1)


def test_risk_coverage_prefers_what_knows_more() -> None:
    random = np.random.default_rng(1)
    true = random.uniform(0.5, 1, 400)
    rows = [
        row("a", float(d), predicted_dice=float(d), long_error_vox=float(e))
        for d, e in zip(true, random.uniform(0, 9, 400), strict=True)
    ]
    curve = summary.risk_coverage(rows)
    assert curve[-1]["coverage"] == 1
    assert curve[-1]["dice_by_prediction"] == pytest.approx(curve[-1]["dice_by_axis_error"])
    assert all(r["dice_by_prediction"] > r["dice_by_axis_error"] for r in curve[:-1])


def test_size_groups_have_no_gap() -> None:
    names = {summary.size_group(length) for length in (0, 11.99, 12, 29.9, 30, 59.9, 60, 500)}
    assert names == {"0-12 px", "12-30 px", "30-60 px", "from 60 px"}


def test_lines_are_named_by_their_noise_in_order() -> None:
    rows = [row("a", 0.5, draw=at, jitter=share) for at, share in enumerate([0.15, 0.0, 0.05])]
    assert [found["lines"] for found in summary.summarise(rows)] == ["clean", "5 %", "15 %"]
