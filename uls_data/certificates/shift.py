"""Do new lesions look like those of a calibration? If not, its promise is not about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from uls_data.certificates.judged import CONTEXT, WORSE, Judged, one_a_patient

# Both are asked of a difference: that chance alone hardly makes it, and that it is not small.
LEVEL = 0.01
SMALLEST = 0.15
# Values that a certificate keeps of each measure.
_KEPT = 1000
_FEWEST = 5
Reference = dict[str, list[float]]


@dataclass(frozen=True)
class Difference:
    """How far new lesions differ from the calibration in one measure.

    Attributes
    ----------
    measure : str
        One of the score, of the image, or `lesion_type`.
    distance : float
        0 to 1: largest difference of the two cumulative distributions (Kolmogorov-Smirnov); of
        types, the share of lesions that would have to be of another type.
    p_value : float
        Corrected for the number of measures (Holm).
    here, calibration : float or None
        Medians; None for types.
    """

    measure: str
    distance: float
    p_value: float
    here: float | None
    calibration: float | None

    @property
    def matters(self) -> bool:
        """Whether a user is warned."""
        return self.p_value < LEVEL and self.distance >= SMALLEST

    def __str__(self) -> str:
        if self.here is None:
            return f"{self.measure}: another mix, by {self.distance:.0%} (p = {self.p_value:.2g})"
        return (
            f"{self.measure}: median {self.here:.4g}, in the calibration {self.calibration:.4g} "
            f"(distance {self.distance:.2f}, p = {self.p_value:.2g})"
        )


def reference(masks: Sequence[Judged], seed: int) -> tuple[Reference, dict[str, int]]:
    """Return what a certificate keeps to compare new lesions with: values, and counts of types.

    One mask of each patient; at most 1,000 values of a measure, evenly among the sorted ones.
    """
    drawn = one_a_patient(masks, seed)
    values: Reference = {}
    for name in (*WORSE, *CONTEXT):
        known = np.sort([v for mask in drawn for v in mask.values([name]) if np.isfinite(v)])
        if len(known) >= _FEWEST:
            at = np.linspace(0, len(known) - 1, min(_KEPT, len(known))).round().astype(int)
            values[name] = [float(f"{value:.6g}") for value in known[at]]
    return values, dict(sorted(Counter(mask.lesion_type for mask in drawn).items()))


def differences(
    values: Mapping[str, Sequence[float]],
    types: Mapping[str, int],
    masks: Sequence[Judged],
    seed: int,
) -> list[Difference]:
    """Compare new lesions with a calibration, one mask of each patient.

    Returns
    -------
    list of Difference
        Of each measure that both know of 5 patients or more, the clearest first.
    """
    drawn = one_a_patient(masks, seed)
    found: list[Difference] = []
    for name, then in values.items():
        now = [v for mask in drawn for v in mask.values([name]) if np.isfinite(v)]
        if len(now) < _FEWEST:
            continue
        result = stats.ks_2samp(now, then)
        medians = float(np.median(now)), float(np.median(then))
        found.append(Difference(name, float(result.statistic), float(result.pvalue), *medians))
    here = Counter(mask.lesion_type for mask in drawn)
    names = sorted({*here, *types})
    if len(drawn) >= _FEWEST and len(names) > 1:
        table = np.array([[here[n] for n in names], [types.get(n, 0) for n in names]])
        shares = table / table.sum(axis=1, keepdims=True)
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
        p = float(stats.chi2_contingency(table).pvalue)
        found.append(Difference("lesion_type", distance, p, None, None))
    found.sort(key=lambda one: (one.p_value, -one.distance, one.measure))
    corrected, worst = [], 0.0
    for at, one in enumerate(found):
        worst = min(1.0, max(worst, one.p_value * (len(found) - at)))
        corrected.append(Difference(one.measure, one.distance, worst, one.here, one.calibration))
    return corrected
