"""What scores of 3-D masks say together: means, spread, and intervals by patient."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.scoring.challenge import challenge_score
from uls_data.tables import Record

_RESAMPLES = 2000
# Each measure of a lesion, and what its corrected form is called.
MEASURES = ("dice", "long_sape", "short_sape", "consistency")
_SHARES = ("long_within_10", "short_within_10")
_CHALLENGE_NAMES = {
    "dice": "SegmentationDice",
    "long_sape": "LongAxisErrorPercentage",
    "short_sape": "ShortAxisErrorPercentage",
    "consistency": "ConsistencyDice",
}


def patient_of(row: Record) -> tuple[str, str]:
    """Who a row belongs to."""
    return row["source"], row["patient"]


def summarise(
    rows: Sequence[Record], by: Callable[[Record], str] = lambda _row: "all"
) -> list[Record]:
    """Means over lesions by group, as the challenge takes them, with intervals by patient.

    Parameters
    ----------
    rows : sequence of dict
        One a VOI, as `evaluate` makes them; those that do not count are left out.

    Returns
    -------
    list of dict
        `group`, `lesions`, `patients`, `missing`; of dice, long_sape, short_sape, consistency
        (null without a second click): mean under its name, `_std` (sample), `_low`, `_high` (95 %,
        patients drawn with replacement), `_corrected` (mean); `long_within_10`,
        `short_within_10`; `consistency_lesions`; `challenge_score`, `_low`, `_high`,
        `_corrected`: null without consistency.
    """
    groups: dict[str, list[Record]] = {}
    for row in rows:
        if row["counts"] or row["consistency"] is not None:
            groups.setdefault(by(row), []).append(row)
    return [_group(name, members) for name, members in sorted(groups.items())]


def _group(name: str, rows: list[Record]) -> Record:
    counted = [row for row in rows if row["counts"]]
    found: Record = {
        "group": name,
        "lesions": len(counted),
        "patients": len({patient_of(row) for row in rows}),
        "missing": sum(row["status"] != "ok" for row in counted),
        "consistency_lesions": sum(row["consistency"] is not None for row in rows),
    }
    resampled = Bootstrap([patient_of(row) for row in rows])
    means: dict[str, NDArray[np.float64]] = {}
    for measure in MEASURES:
        values, corrected = (
            [
                row[measure + form] if measure == "consistency" or row["counts"] else None
                for row in rows
            ]
            for form in ("", "_corrected")
        )
        means[measure] = resampled.means(values)
        known = [value for value in values if value is not None]
        found[measure] = statistics.fmean(known) if known else None
        found[f"{measure}_std"] = statistics.stdev(known) if len(known) > 1 else None
        found[f"{measure}_low"], found[f"{measure}_high"] = limits(means[measure])
        right = [value for value in corrected if value is not None]
        found[f"{measure}_corrected"] = statistics.fmean(right) if right else None
    for share in _SHARES:
        found[share] = statistics.fmean(float(row[share]) for row in counted) if counted else None
    scores: tuple[float | None, ...] = (None, None)
    if counted and found["consistency"] is not None:
        scores = tuple(
            challenge_score(*(found[measure + form] for measure in MEASURES))
            for form in ("", "_corrected")
        )
    found["challenge_score"], found["challenge_score_corrected"] = scores
    dice, long, short, same = (means[measure] for measure in MEASURES)
    spread = 0.8 * dice + 0.05 * (1 - long) + 0.05 * (1 - short) + 0.1 * same
    found["challenge_score_low"], found["challenge_score_high"] = limits(spread)
    return found


class Bootstrap:
    """Means over lesions whose patients are drawn with replacement, 2,000 times.

    Parameters
    ----------
    patients : sequence
        Whose each value is.
    """

    def __init__(self, patients: Sequence[Any], seed: int = 0) -> None:
        names = {name: at for at, name in enumerate(sorted(set(patients)))}
        self._patient = np.array([names[name] for name in patients], np.int64)
        count = len(names)
        self._times = np.random.default_rng(seed).multinomial(
            count, np.full(count, 1 / count), size=_RESAMPLES
        )

    def means(self, values: Sequence[float | None]) -> NDArray[np.float64]:
        """Mean of every resample, shape (2000,); NaN where it holds no value that is known."""
        known = np.array([value is not None for value in values])
        numbers = np.array([0.0 if value is None else value for value in values], np.float64)
        size = self._times.shape[1]
        sums = np.bincount(self._patient, numbers, size)
        counts = np.bincount(self._patient, known, size)
        total = self._times @ counts
        result: NDArray[np.float64] = np.full(_RESAMPLES, np.nan)
        if size > 1:  # one patient tells nothing of the spread between patients
            np.divide(self._times @ sums, total, out=result, where=total > 0)
        return result


def limits(means: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """95 % interval from resampled means; None where there are none."""
    known = means[np.isfinite(means)]
    if known.size == 0:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def metrics(rows: Sequence[Record]) -> Record:
    """Return the scores in the shape of the challenge's `metrics.json`, its measures alone.

    The challenge numbers lesions by their place; here they are named by their VOI. Quartiles
    need two lesions; below that they are the value itself.
    """
    counted = [row for row in rows if row["counts"]]
    case: Record = {
        _CHALLENGE_NAMES[measure]: {row["voi_id"]: row[measure] for row in counted}
        for measure in MEASURES[:3]
    }
    case["fn"] = {row["voi_id"]: row["voi_id"] for row in counted}
    same = {row["voi_id"]: row["consistency"] for row in rows if row["consistency"] is not None}
    (whole,) = summarise(rows)
    aggregates: Record = {"ChallengeScore": whole["challenge_score"]}
    for measure in MEASURES:
        about = rows if measure == "consistency" else counted
        values = [row[measure] for row in about if row[measure] is not None]
        aggregates[_CHALLENGE_NAMES[measure]] = _spread(values)
    return {"case": case, "consistency_check": {"ConsistencyDice": same}, "aggregates": aggregates}


def _spread(values: list[float]) -> Record:
    if not values:
        return {"count": 0}
    several = len(values) > 1
    quartiles = statistics.quantiles(values) if several else 3 * values
    return {
        "min": min(values),
        "max": max(values),
        **dict(zip(("25pc", "median", "75pc"), quartiles, strict=True)),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if several else None,
        "count": len(values),
    }
