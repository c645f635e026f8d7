"""Two models on the same lesions: what one gains on the other, lesion by lesion."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from uls_data.errors import ManifestError
from uls_data.scoring.aggregates import MEASURES, Bootstrap, limits, patient_of
from uls_data.tables import Record


def compare(
    rows: Sequence[Record],
    others: Sequence[Record],
    by: Callable[[Record], str] = lambda _row: "all",
) -> list[Record]:
    """Differences of one model's scores from another's, paired by VOI, by group.

    Parameters
    ----------
    rows, others : sequence of dict
        Of two evaluations against the same truth.

    Returns
    -------
    list of dict
        `group`, `lesions`, `patients`; `dice`: mean difference (this model minus the other), with
        `_low`, `_high` (95 %, patients drawn with replacement) and `_median`; `better`, `worse`,
        `equal`: numbers of lesions by Dice; `sign_change`: how many lesions of the sorted
        differences lie below 0, where Figure A.11 marks the change; and the same mean, low and
        high of long_sape, short_sape (below 0 is better) and consistency.

    Raises
    ------
    ManifestError
        No lesion in common.
    """
    groups: dict[str, list[tuple[Record, Record]]] = {}
    for pair in _pairs(rows, others):
        groups.setdefault(by(pair[0]), []).append(pair)
    return [_group(name, pairs) for name, pairs in sorted(groups.items())]


def differences(rows: Sequence[Record], others: Sequence[Record]) -> list[Record]:
    """Dice differences, sorted from the worst loss to the best gain, as Figure A.11 draws them.

    Returns
    -------
    list of dict
        `voi_id`, `lesion_type`, `dice`, `dice_other`, `difference`.
    """
    found = [
        {
            "voi_id": row["voi_id"],
            "lesion_type": row["lesion_type"],
            "dice": row["dice"],
            "dice_other": other["dice"],
            "difference": row["dice"] - other["dice"],
        }
        for row, other in _pairs(rows, others)
    ]
    return sorted(found, key=lambda row: (row["difference"], row["voi_id"]))


def _pairs(rows: Sequence[Record], others: Sequence[Record]) -> list[tuple[Record, Record]]:
    partner = {row["voi_id"]: row for row in others if row["counts"]}
    found = [
        (row, partner[row["voi_id"]]) for row in rows if row["counts"] and row["voi_id"] in partner
    ]
    if not found:
        raise ManifestError("the two models have no lesion in common: nothing to compare")
    return found


def _group(name: str, pairs: list[tuple[Record, Record]]) -> Record:
    resampled = Bootstrap([patient_of(row) for row, _ in pairs])
    found: Record = {
        "group": name,
        "lesions": len(pairs),
        "patients": len({patient_of(row) for row, _ in pairs}),
    }
    for measure in MEASURES:
        values = [
            None
            if row[measure] is None or other[measure] is None
            else row[measure] - other[measure]
            for row, other in pairs
        ]
        known = [value for value in values if value is not None]
        found[measure] = statistics.fmean(known) if known else None
        found[f"{measure}_low"], found[f"{measure}_high"] = limits(resampled.means(values))
        if measure == "dice":
            found |= {
                "dice_median": statistics.median(known),
                "better": sum(value > 0 for value in known),
                "worse": sum(value < 0 for value in known),
                "equal": sum(value == 0 for value in known),
                "sign_change": sum(value < 0 for value in known),
            }
    return found
