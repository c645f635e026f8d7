"""The Dice to expect of a row's mask: one number, to weigh rows by their risk."""

from __future__ import annotations

from uls_data.manifest.row import Row
from uls_data.outcome import Supervision

# Where a certificate leaves the Dice that it expects, among a row's `candidate_scores`.
EXPECTED, FROM_CERTIFICATE = "certificate", "expected_dice"


def expected_dice(row: Row) -> float | None:
    """Dice that a mask is expected to have with what a reader would draw; None: nobody knows.

    A full mask is the truth. Of a pseudo-mask it is what a certificate expects, which is fitted
    to lesions whose truth is known; else what made the mask says (`predicted_dice`).

    Parameters
    ----------
    row : dict
        With `supervision`, `predicted_dice` and, where they were asked for, `candidate_scores`.
    """
    if row["supervision"] == Supervision.FULL:
        return 1.0
    for score in row.get("candidate_scores") or ():
        if (score["candidate"], score["measure"]) == (EXPECTED, FROM_CERTIFICATE):
            return score["value"]
    return row["predicted_dice"]
