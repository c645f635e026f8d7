"""Learn which masks to keep so that a promise about them holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uls_data.certificates.bound import (
    Tested,
    last_in_sequence,
    needed_patients,
    p_value,
    try_thresholds,
)
from uls_data.certificates.judged import Judged, in_drawn_order
from uls_data.certificates.score import Score, fit_score
from uls_data.ids import draw

# Share of the patients on whom the score is fitted; the others test the thresholds.
FIT_SHARE = 0.4
# Shares of the masks that thresholds would keep.
_COVERAGES = np.arange(0.20, 1.0001, 0.02)


@dataclass(frozen=True)
class Promise:
    """Of the kept masks at most `risk` have a Dice under `dice`, with `confidence`."""

    risk: float
    dice: float
    confidence: float

    @property
    def patients(self) -> int:
        """Patients with a kept mask that it needs, if none of them fails."""
        return needed_patients(self.risk, self.confidence)


@dataclass(frozen=True)
class Strata:
    """Lesion types and sizes that a certificate speaks of, and those that it does not.

    Attributes
    ----------
    accepted : dict of str to (dict of str to int)
        `lesion_type` and `size`: calibration patients of each stratum.
    refused : dict
        Likewise: those with too few.
    """

    accepted: dict[str, dict[str, int]]
    refused: dict[str, dict[str, int]]

    def covers(self, mask: Judged) -> bool:
        """Whether a mask has an accepted type and size."""
        return all(STRATUM[by](mask) in self.accepted[by] for by in STRATUM)


STRATUM: dict[str, Callable[[Judged], str]] = {
    "lesion_type": lambda mask: mask.lesion_type,
    "size": lambda mask: mask.size,
}


@dataclass(frozen=True)
class Learned:
    """A rule that keeps a promise.

    Attributes
    ----------
    score : Score
    strata : Strata
    fit, test : list of Judged
        Masks of the strata: those that the score was fitted on, those that tested it.
    tested : Tested
        The threshold, on one mask of each patient.
    first, last : float
        Coverages in the fitted part at which the sequence began and ended.
    """

    score: Score
    strata: Strata
    fit: list[Judged]
    test: list[Judged]
    tested: Tested
    first: float
    last: float

    def keeps(self, masks: Sequence[Judged]) -> NDArray[np.bool_]:
        """Whether each mask is kept."""
        return keeps(self.score, self.strata, self.tested.threshold, masks)


@dataclass(frozen=True)
class NotLearned:
    """Why no rule keeps the promise."""

    why: str


def keeps(
    score: Score, strata: Strata, threshold: float, masks: Sequence[Judged]
) -> NDArray[np.bool_]:
    """Whether each mask is in an accepted stratum and scores the threshold or more."""
    covered = np.array([strata.covers(mask) for mask in masks], bool)
    kept: NDArray[np.bool_] = covered & (score.expected_dice(masks) >= threshold)
    return kept


def find_strata(masks: Sequence[Judged], least: int) -> Strata:
    """Types and sizes with at least so many patients; sizes are counted within those types."""
    accepted: dict[str, dict[str, int]] = {}
    refused: dict[str, dict[str, int]] = {}
    left = list(masks)
    for by, of in STRATUM.items():
        patients: dict[str, set[str]] = {}
        for mask in left:
            patients.setdefault(of(mask), set()).add(mask.patient)
        counts = {name: len(who) for name, who in sorted(patients.items())}
        accepted[by] = {name: count for name, count in counts.items() if count >= least}
        refused[by] = {name: count for name, count in counts.items() if count < least}
        left = [mask for mask in left if of(mask) in accepted[by]]
    return Strata(accepted, refused)


def learn(
    masks: Sequence[Judged], promise: Promise, *, seed: int = 0, least_patients: int | None = None
) -> Learned | NotLearned:
    """Learn a score on some patients, and test on the others where it may be cut.

    Parameters
    ----------
    masks : sequence of Judged
        Whose Dice is known.
    promise : Promise
    seed : int
        Deals patients into the two parts, and draws one mask of each.
    least_patients : int, optional
        Of a stratum; default: as many as the promise needs if none of them fails.
    """
    least = promise.patients if least_patients is None else least_patients
    strata = find_strata(masks, least)
    ordered = in_drawn_order([mask for mask in masks if strata.covers(mask)], seed)
    patients = sorted({mask.patient for mask in ordered})
    if len(patients) * (1 - FIT_SHARE) < promise.patients:
        needed = int(np.ceil(promise.patients / (1 - FIT_SHARE)))
        return NotLearned(
            f"{len(patients)} patients with a known mask, in types and sizes of {least} patients "
            f"or more; this promise needs at least {needed}"
        )
    dealt = sorted(patients, key=lambda who: draw(1 << 64, seed, "part", who))
    of_fit = set(dealt[: round(FIT_SHARE * len(dealt))])
    fit = [mask for mask in ordered if mask.patient in of_fit]
    others = [mask for mask in ordered if mask.patient not in of_fit]
    score = fit_score(fit)
    if score is None:
        return NotLearned("no measure of quality is known for at least 90 % of these masks")
    sequence = _sequence(score, fit, len(patients) / max(1, len(of_fit)) - 1, promise)
    tested = try_thresholds(
        _scores(score, others),
        _failed(others, promise),
        np.array([mask.patient for mask in others]),
        list(sequence),
        promise.risk,
    )
    passed = last_in_sequence(tested, promise.confidence)
    if passed is None:
        seen = tested[0]
        return NotLearned(
            f"at the strictest threshold tried {seen.failures} of {seen.patients} patients have a "
            f"Dice under {promise.dice:g} (p = {seen.p_value:.2g}): no rule keeps the promise with "
            "these masks; give more calibration patients, or ask for a higher risk or a lower Dice"
        )
    coverage = list(sequence.values())
    last = coverage[tested.index(passed)]
    return Learned(score, strata, fit, others, passed, coverage[0], last)


def _scores(score: Score, masks: Sequence[Judged]) -> NDArray[np.float64]:
    found = score.expected_dice(masks)
    return np.where(np.isnan(found), -np.inf, found)


def _failed(masks: Sequence[Judged], promise: Promise) -> NDArray[np.bool_]:
    return np.array([mask.dice is None or mask.dice < promise.dice for mask in masks], bool)


def _sequence(
    score: Score, fit: Sequence[Judged], growth: float, promise: Promise
) -> dict[float, float]:
    """Thresholds to test, in order, and the share of the fitted masks that each keeps.

    All of it is decided on the fitted part: it begins where the test is likeliest to pass, and
    continues to ever lower thresholds.
    """
    scores, failed = _scores(score, fit), _failed(fit, promise)
    patients = np.array([mask.patient for mask in fit])
    known = np.sort(scores[np.isfinite(scores)])[::-1]
    at = np.unique(np.clip(np.ceil(_COVERAGES * len(known)).astype(int), 1, len(known)))
    thresholds = {float(known[n - 1]): float(n / len(fit)) for n in at}
    expected = []
    for one in try_thresholds(scores, failed, patients, list(thresholds), promise.risk):
        count = round(one.patients * growth)
        rate = (one.failures + 0.5) / (one.patients + 1)
        expected.append(p_value(int(rate * count), count, promise.risk))
    return dict(list(thresholds.items())[int(np.argmin(expected)) :])
