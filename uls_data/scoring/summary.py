"""What scores of many lesions say together: means, intervals by patient, risk and coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.manifest.choice import ANNOTATED
from uls_data.pseudomask.quality import calibration_bins, calibration_error
from uls_data.tables import Record

SIZES_VOX = ((0, 12), (12, 30), (30, 60), (60, float("inf")))
MEASURES = ("dice", "nsd_1mm", "long_error_vox", "short_error_vox")
_RESAMPLES = 2000


def size_group(long_axis_vox: float) -> str:
    """Name of the size group of a lesion, by its long axis in pixels."""
    for low, high in SIZES_VOX:
        if low <= long_axis_vox < high:
            return f"{low}-{high:g} px" if high < float("inf") else f"from {low} px"
    raise ValueError(f"{long_axis_vox} is not a length")


def patient_of(row: Record) -> tuple[str, str]:
    """Who a row belongs to: the patient, or, where unknown, the scan."""
    return row["source"], row["patient_id"] or row["case_id"]


def summarise(
    rows: Sequence[Record], by: Callable[[Record], Any] = lambda _row: "all"
) -> list[Record]:
    """Means of scores by group, kind of lines and method, over patients.

    Rows of one patient are averaged first, so that a lesion of many slices does not outvote
    the others. Intervals: 95 %, patients drawn with replacement, 2,000 times.

    Returns
    -------
    list of dict
        `group`, `lines` (see `lines_of`), `method`, `patients`, `slices`, the mean of each measure
        (errors as mean absolute ones), `dice_low`, `dice_high`, `worst_dice`.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for row in rows:
        groups.setdefault((by(row), row["jitter"], lines_of(row), row["method"]), []).append(row)
    found = []
    ordered = sorted(groups.items(), key=lambda item: (str(item[0][0]), *item[0][1:3]))
    for (group, _, lines, method), members in ordered:
        means = {m: _patient_means(members, m) for m in MEASURES}
        low, high = interval(means["dice"])
        found.append(
            {
                "group": group,
                "lines": lines,
                "method": method,
                "patients": len(means["dice"]),
                "slices": len({_slice_of(row) for row in members}),
                **{measure: float(values.mean()) for measure, values in means.items()},
                "dice_low": low,
                "dice_high": high,
                "worst_dice": float(means["dice"].min()),
            }
        )
    return found


def lines_of(row: Record) -> str:
    """Name of a row's lines.

    Across the annotated mask: `clean`, or their noise (`5 %`). Across a reader's: `own` where that
    mask scores, `other` where another reader's does.
    """
    if row["drawn_by"] != ANNOTATED:
        return "own" if row["drawn_by"] == row["scored_on"] else "other"
    return f"{100 * row['jitter']:.3g} %" if row["jitter"] else "clean"


def _slice_of(row: Record) -> tuple[Any, ...]:
    return row["source"], row["case_id"], row["lesion_index"], row["slice_voi"]


def _patient_means(rows: Iterable[Record], measure: str) -> NDArray[np.float64]:
    by_patient: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        value = row[measure]
        by_patient.setdefault(patient_of(row), []).append(
            abs(value) if measure.endswith("error_vox") else value
        )
    return np.array([np.mean(values) for _, values in sorted(by_patient.items())])


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean over patients, by bootstrap; NaN for a single patient."""
    if len(values) < 2:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(seed).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def gain(rows: Sequence[Record], method: str, baseline: str, lines: str) -> Record | None:
    """Dice of a method minus a baseline's on the same lines: paired by slice, over patients.

    None where they share no slice.
    """
    pairs: dict[tuple[Any, ...], dict[str, Record]] = {}
    for row in rows:
        if row["method"] in (method, baseline) and lines_of(row) == lines:
            key = (*_slice_of(row), row["draw"], row["drawn_by"], row["scored_on"])
            pairs.setdefault(key, {})[row["method"]] = row
    by_patient: dict[tuple[str, str], list[float]] = {}
    for pair in pairs.values():
        if len(pair) == 2:
            difference = pair[method]["dice"] - pair[baseline]["dice"]
            by_patient.setdefault(patient_of(pair[method]), []).append(difference)
    if not by_patient:
        return None
    values = np.array([np.mean(v) for _, v in sorted(by_patient.items())])
    low, high = interval(values)
    return {
        "method": method,
        "baseline": baseline,
        "lines": lines,
        "gain": float(values.mean()),
        "low": low,
        "high": high,
        "worst": float(values.min()),
        "better": float((values > 0).mean()),
    }


def cut_lesions(rows: Sequence[Record]) -> list[Record]:
    """Lesions that reach beyond their VOI, the most cut first.

    Returns
    -------
    list of dict
        `source`, `case_id`, `lesion_index`, `measured_on`, `fraction_outside_voi`,
        `long_axis_in_voi_vox`, `long_axis_vox` (of the longest slice that was scored).
    """
    found: dict[tuple[Any, ...], Record] = {}
    names = ("source", "case_id", "lesion_index", "measured_on", "fraction_outside_voi")
    for row in rows:
        if row["fraction_outside_voi"]:
            key = row["source"], row["case_id"], row["lesion_index"]
            before = found.setdefault(key, {"long_axis_vox": 0.0})
            found[key] = {
                **{name: row[name] for name in (*names, "long_axis_in_voi_vox")},
                "long_axis_vox": max(before["long_axis_vox"], row["long_axis_vox"]),
            }
    return sorted(found.values(), key=lambda row: -row["fraction_outside_voi"])


def risk_coverage(rows: Sequence[Record], steps: int = 20) -> list[Record]:
    """Mean true Dice of the best part of the masks, ranked in two ways.

    By predicted Dice; and by the paper's rule, taken as a ranking: the larger error of the two
    axes in pixels. `five_px` tells which coverage the rule itself (both errors at most 5) has.
    Ties are broken by the other ranking's order of rows, which is the same for both.

    Returns
    -------
    list of dict
        `coverage`, `dice_by_prediction`, `dice_by_axis_error`; empty without predictions.
    """
    rows = [row for row in rows if row["predicted_dice"] is not None]
    if not rows:
        return []
    true = np.array([row["dice"] for row in rows])
    error = axis_error(rows)
    by_prediction = np.argsort([-row["predicted_dice"] for row in rows], kind="stable")
    by_error = np.argsort(error, kind="stable")
    found = []
    for keep in dict.fromkeys(max(1, round(len(rows) * n / steps)) for n in range(1, steps + 1)):
        found.append(
            {
                "coverage": keep / len(rows),
                "dice_by_prediction": float(true[by_prediction[:keep]].mean()),
                "dice_by_axis_error": float(true[by_error[:keep]].mean()),
            }
        )
    return found


def axis_error(rows: Sequence[Record]) -> NDArray[np.float64]:
    """Larger absolute error of the two axes, in pixels."""
    return np.array([max(abs(row["long_error_vox"]), abs(row["short_error_vox"])) for row in rows])


def calibration(rows: Sequence[Record], bins: int = 10) -> tuple[float, list[Record]]:
    """Return the expected calibration error of the predicted Dice, and the table behind it.

    See `uls_data.pseudomask.quality.calibration_error`; a row of the table is one of its bins.
    """
    rows = [row for row in rows if row["predicted_dice"] is not None]
    if not rows:
        return float("nan"), []
    predicted = np.array([row["predicted_dice"] for row in rows])
    true = np.array([row["dice"] for row in rows])
    found = [
        {
            "predicted_dice": float(predicted[part].mean()),
            "dice": float(true[part].mean()),
            "masks": len(part),
        }
        for part in calibration_bins(predicted, bins)
    ]
    return calibration_error(predicted, true, bins), found
