"""Is the risk of a rule below a bound? Exact tests in which the patient is the unit.

Lesions of one patient resemble each other, so a binomial test over lesions is not valid. Patients
are exchangeable: of each patient one kept mask is drawn, and those draws are independent. The
risk tested is therefore that of a kept mask drawn from a random patient who has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True)
class Tested:
    """A threshold whose risk was tested.

    Attributes
    ----------
    threshold : float
        A mask is kept where its score is this or more.
    patients, failures : int
        Patients with a kept mask; of the masks drawn, one each, those that fail.
    p_value : float
        Probability of so few failures if the risk were above the bound.
    """

    threshold: float
    patients: int
    failures: int
    p_value: float


def p_value(failures: int, patients: int, risk: float) -> float:
    """Probability of at most so many failures where each of `patients` fails with `risk`."""
    return float(special.bdtr(failures, patients, risk)) if patients else 1.0


def needed_patients(risk: float, confidence: float) -> int:
    """Patients with a kept mask that a promise needs if none of them fails."""
    return ceil(log(1 - confidence) / log(1 - risk))


def upper_bound(failures: int, patients: int, confidence: float) -> float:
    """Clopper-Pearson's upper bound of a rate; 1 where nothing was seen."""
    if failures >= patients:
        return 1.0
    return float(special.betaincinv(failures + 1, patients - failures, confidence))


def try_thresholds(
    scores: NDArray[np.float64],
    failed: NDArray[np.bool_],
    patients: NDArray[Any],
    thresholds: Sequence[float],
    risk: float,
) -> list[Tested]:
    """Test each threshold on masks in the order in which a patient's masks are drawn.

    Parameters
    ----------
    scores : ndarray, shape (masks,)
    failed : ndarray of bool, shape (masks,)
    patients : ndarray, shape (masks,)
        Patient of each mask. Of several that are kept, a patient's first counts: the caller puts
        them in an order that was drawn without looking at `failed`.
    thresholds : sequence of float
        Chosen without looking at these masks.
    risk : float
        The bound.
    """
    found = []
    for threshold in thresholds:
        kept = np.flatnonzero(scores >= threshold)
        _, first = np.unique(patients[kept], return_index=True)
        failures = int(failed[kept[first]].sum())
        found.append(Tested(threshold, len(first), failures, p_value(failures, len(first), risk)))
    return found


def last_in_sequence(tested: Sequence[Tested], confidence: float) -> Tested | None:
    """Return the last threshold that passes before the first one that does not.

    Fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021): each threshold is tested
    at the full level, and the first that fails ends it. The probability that any threshold
    passed whose risk is above the bound is at most 1 - confidence.
    """
    passed = None
    for one in tested:
        if one.p_value > 1 - confidence:
            break
        passed = one
    return passed
