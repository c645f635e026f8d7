"""What is learned of masks: a score that never prefers the worse, strata, a rule; and shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.judged import lesions

from uls_data.certificates.judged import WORSE, one_a_patient, size_band
from uls_data.certificates.learning import Learned, NotLearned, Promise, find_strata, learn
from uls_data.certificates.score import fit_score
from uls_data.certificates.shift import differences, reference

PROMISE = Promise(0.1, 0.7, 0.95)


def test_a_rule_keeps_its_promise_and_most_of_the_good() -> None:
    learned = learn(lesions(300), PROMISE)
    assert isinstance(learned, Learned)
    others = lesions(3000, seed=1)
    kept = learned.keeps(others)
    fails = np.array([mask.dice < 0.7 for mask in others])  # type: ignore[operator]
    assert fails.mean() > 0.2
    assert fails[kept].mean() <= 0.1
    assert kept.mean() > 0.6
    assert len({m.patient for m in learned.fit} & {m.patient for m in learned.test}) == 0


def test_several_lesions_of_a_patient_count_once() -> None:
    learned = learn(lesions(100, each=5), PROMISE)
    assert isinstance(learned, Learned)
    assert learned.tested.patients <= 60 < len(learned.test)
    few = learn(lesions(40, each=20), PROMISE)
    assert isinstance(few, NotLearned) and "40 patients" in few.why


def test_nothing_of_which_it_holds() -> None:
    found = learn(lesions(200, bad=0.9), PROMISE)
    assert isinstance(found, NotLearned) and "no rule keeps the promise" in found.why
    blind = [replace(mask, measures={"long_axis_mm": 15.0}) for mask in lesions(200)]
    found = learn(blind, PROMISE)
    assert isinstance(found, NotLearned) and "no measure" in found.why


def test_masks_without_a_measure_are_not_kept() -> None:
    learned = learn(lesions(200), PROMISE)
    assert isinstance(learned, Learned)
    mask = max(learned.test, key=lambda one: one.dice or 0)
    assert learned.keeps([mask])[0]
    assert not learned.keeps([replace(mask, measures={"long_axis_mm": 15.0})])[0]
    assert not learned.keeps([replace(mask, lesion_type="bone")])[0]
    assert not learned.keeps([replace(mask, measures={**mask.measures, "long_axis_mm": 90.0})])[0]


MEASURES = st.fixed_dictionaries(
    {name: st.floats(-1, 2, allow_nan=False) for name in ("disagreement", "predicted_dice")}
)
SCORE = fit_score(lesions(150, seed=3))


@given(MEASURES, MEASURES)
def test_what_is_worse_by_every_measure_scores_no_better(
    one: dict[str, float], other: dict[str, float]
) -> None:
    assert SCORE is not None
    better = {n: (min if WORSE[n] > 0 else max)(one[n], other[n]) for n in one}
    worse = {n: (max if WORSE[n] > 0 else min)(one[n], other[n]) for n in one}
    (base,) = lesions(1)
    high, low = SCORE.expected_dice([replace(base, measures=m) for m in (better, worse)])
    assert low <= high


def test_expected_dice_is_about_right() -> None:
    assert SCORE is not None
    masks = lesions(2000, seed=4)
    expected = SCORE.expected_dice(masks)
    dice = np.array([mask.dice for mask in masks])
    assert np.corrcoef(expected, dice)[0, 1] > 0.8
    assert abs(expected.mean() - dice.mean()) < 0.03
    top = expected > 0.8
    assert abs(expected[top].mean() - dice[top].mean()) < 0.05


def test_strata_with_too_few_patients_are_refused() -> None:
    masks = lesions(30)
    bone = [replace(m, lesion_type="bone", patient=f"b{m.patient}") for m in lesions(10, each=4)]
    large = [
        replace(m, patient=f"l{m.patient}", measures={**m.measures, "long_axis_mm": 50.0})
        for m in lesions(5)
    ]
    strata = find_strata([*masks, *bone, *large], 29)
    assert strata.accepted == {"lesion_type": {"liver": 35}, "size": {"10 to 20 mm": 30}}
    assert strata.refused == {"lesion_type": {"bone": 10}, "size": {"40 mm and more": 5}}
    assert not strata.covers(bone[0]) and not strata.covers(large[0]) and strata.covers(masks[0])


@pytest.mark.parametrize(
    ("mm", "band"),
    [(None, "unknown"), (3, "under 10 mm"), (10, "10 to 20 mm"), (40, "40 mm and more")],
)
def test_bands(mm: float | None, band: str) -> None:
    assert size_band(mm) == band


def test_one_mask_of_a_patient_whatever_their_order() -> None:
    masks = lesions(20, each=4)
    drawn = one_a_patient(masks, 0)
    assert len(drawn) == 20
    assert drawn == one_a_patient(masks[::-1], 0) != one_a_patient(masks, 1)
    assert len({mask.identity[2] for mask in drawn}) > 1


def test_shift_is_warned_of_and_likeness_is_not() -> None:
    values, types = reference(lesions(200), 0)
    for seed in range(20):
        same = differences(values, types, lesions(60, seed=seed + 10), 0)
        assert len(same) >= 4 and not any(one.matters for one in same)
    noisy = differences(values, types, lesions(60, seed=5, noise_hu=30.0), 0)
    assert [one.measure for one in noisy if one.matters] == ["noise_hu"]
    assert "noise_hu: median 30" in str(noisy[0])
    bone = [replace(mask, lesion_type="bone") for mask in lesions(60, seed=6)]
    other = differences(values, types, bone, 0)
    assert [one.measure for one in other if one.matters] == ["lesion_type"]
    assert differences(values, types, lesions(3), 0) == []


def test_many_lesions_of_few_patients_are_no_shift() -> None:
    """Clustered lesions would look like clear evidence if each counted."""
    values, types = reference(lesions(200), 0)
    few = lesions(6, seed=8, each=50, bad=0.5)
    assert not any(one.matters for one in differences(values, types, few, 0))
