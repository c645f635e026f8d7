"""The promise holds as often as it says, whatever the scores; and naive tests would break it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uls_data.certificates.bound import (
    last_in_sequence,
    needed_patients,
    p_value,
    try_thresholds,
    upper_bound,
)


@pytest.mark.parametrize(
    ("risk", "confidence", "patients"), [(0.1, 0.95, 29), (0.05, 0.95, 59), (0.1, 0.99, 44)]
)
def test_patients_that_a_promise_needs(risk: float, confidence: float, patients: int) -> None:
    assert needed_patients(risk, confidence) == patients
    assert p_value(0, patients, risk) <= 1 - confidence < p_value(0, patients - 1, risk)


def test_bounds_by_hand() -> None:
    assert p_value(1, 3, 0.5) == pytest.approx(0.5)
    assert p_value(0, 0, 0.1) == 1
    assert upper_bound(0, 29, 0.95) == pytest.approx(1 - 0.05 ** (1 / 29))
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1


def test_a_patient_counts_once_by_the_first_kept_mask() -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.7, 0.2])
    failed = np.array([False, True, False, True, True])
    who = np.array(["a", "a", "b", "b", "c"])
    strict, loose = try_thresholds(scores, failed, who, [0.5, 0.0], 0.1)
    assert (strict.patients, strict.failures) == (2, 1)
    assert (loose.patients, loose.failures) == (3, 1)


def test_the_sequence_ends_at_the_first_that_does_not_pass() -> None:
    scores = np.arange(200.0)
    failed = np.zeros(200, bool)
    failed[100:130] = True
    tested = try_thresholds(scores, failed, np.arange(200), [150, 130, 100, 0], 0.25)
    assert [one.p_value < 0.05 for one in tested] == [True, True, False, True]
    passed = last_in_sequence(tested, 0.95)
    assert passed is not None and passed.threshold == 130
    assert last_in_sequence(tested[2:], 0.95) is None


def simulated(random: np.random.Generator, patients: int, clustered: bool) -> float:
    """Threshold that passes; infinite where none does.

    Every mask fails with a probability that falls with its score; where patients are clusters,
    one in seven has ten masks, nearly all of which fail or none.
    """
    many = random.random(patients) < (0.15 if clustered else 0)
    count = np.where(many, 10, 1)
    who = np.repeat(np.arange(patients), count)
    scores = random.random(len(who))
    if clustered:
        fate = random.random(patients) < 0.5
        chance = np.where(many[who], np.where(fate[who], 0.95, 0.0), risk_at(scores))
    else:
        chance = risk_at(scores)
    failed = random.random(len(who)) < chance
    order = random.permutation(len(who))
    order = order[np.argsort(who[order], kind="stable")]
    thresholds = np.linspace(0.7, 0, 15).tolist()
    tested = try_thresholds(scores[order], failed[order], who[order], thresholds, 0.1)
    passed = last_in_sequence(tested, 0.95)
    return np.inf if passed is None else passed.threshold


def risk_at(score: np.ndarray) -> np.ndarray:
    return 0.4 * (1 - score) ** 2


def test_the_promise_is_broken_no_more_often_than_it_says() -> None:
    """Known risk: the mean of 0.4 (1 - s)^2 over s >= t is 0.4 (1 - t)^2 / 3."""
    random = np.random.default_rng(0)
    runs = 3000
    found = np.array([simulated(random, 300, clustered=False) for _ in range(runs)])
    broken = int((0.4 * (1 - found[np.isfinite(found)]) ** 2 / 3 > 0.1).sum())
    # 5 % is promised; so many by chance once in a thousand if it were exactly that.
    assert broken <= stats.binom.ppf(0.999, runs, 0.05)
    assert broken > 0, "so cautious a test wastes masks"
    assert np.isfinite(found).mean() > 0.95


def risk_of_a_patient(threshold: float, grid: int = 200) -> float:
    """Risk of a kept mask drawn from a random patient with one, in the clustered simulation."""
    keep = 1 - threshold
    one = 0.85 * keep  # patients with one mask who have a kept one
    ten = 0.15 * (1 - threshold**10)
    return (one * 0.4 * keep**2 / 3 + ten * 0.475) / (one + ten)


def test_the_promise_holds_where_patients_have_several_lesions() -> None:
    random = np.random.default_rng(1)
    runs = 2000
    found = [simulated(random, 400, clustered=True) for _ in range(runs)]
    broken = sum(t != np.inf and risk_of_a_patient(t) > 0.1 for t in found)
    assert broken <= stats.binom.ppf(0.999, runs, 0.05)


def test_a_test_over_lesions_would_break_it() -> None:
    """Why patients are the unit: lesions of one patient fail together."""
    random = np.random.default_rng(2)
    runs, patients, each, risk = 2000, 40, 10, 0.1
    fails = random.random((runs, patients)) < risk  # exactly at the bound: 5 % may pass
    over_lesions = stats.binom.cdf(each * fails.sum(axis=1), each * patients, risk) <= 0.05
    over_patients = stats.binom.cdf(fails.sum(axis=1), patients, risk) <= 0.05
    assert over_patients.mean() <= 0.05 + 0.015
    assert over_lesions.mean() > 0.2
