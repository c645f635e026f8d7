"""What was built, against what the recipes expect, and what was not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import numpy as np

from uls_data.errors import RecipeError
from uls_data.manifest.held import HeldRows
from uls_data.manifest.row import Column, Row
from uls_data.manifest.schema import document
from uls_data.outcome import Status
from uls_data.recipe import load_recipe, recipe_names
from uls_data.reporting.figure import LESION, by, ok, values
from uls_data.tables import Record

_LISTED = 200
_SHOWN: tuple[Column, ...] = (*LESION, "layer", "detail")
_AXES: dict[str, Literal["long_axis_vox", "short_axis_vox"]] = {
    "long": "long_axis_vox",
    "short": "short_axis_vox",
}


def built(rows: HeldRows) -> list[Record]:
    """One row a source: what became of it, beside what its shipped recipe expects.

    Lesions count once, by their first row that is ok.

    Returns
    -------
    list of dict
        `source`, `vois`, `patients`, `series`, `series_expected`, `lesions`,
        `lesions_expected`, `long_axis` and `short_axis` (mean, pixels) and their `_expected`,
        `skipped`, `failed` (rows).
    """
    found = []
    for source, mine in by(rows, "source").items():
        masks = ok(mine)
        lesions = masks.one_each(*LESION)
        line: Record = {
            "source": source,
            "vois": len(masks.one_each("voi_id")),
            "patients": len({row["patient_id"] or row["case_id"] for row in masks}),
            "series": len(masks.one_each("case_id")),
            "series_expected": None,
            "lesions": len(lesions),
            "lesions_expected": None,
        }
        for axis, column in _AXES.items():
            lengths = values(lesions, column)[::-1]
            known = lengths[~np.isnan(lengths)]
            line[f"{axis}_axis"] = float(np.mean(known)) if len(known) else None
            line[f"{axis}_axis_expected"] = None
        line |= _expected(source)
        for status in (Status.SKIPPED, Status.FAILED):
            line[status.value] = sum(row["status"] == status for row in mine)
        found.append(line)
    return found


def _expected(source: str) -> Record:
    if source not in recipe_names():
        return {}
    try:
        expect = load_recipe(source).recipe.expect
    except RecipeError:
        return {}
    return {
        "series_expected": expect.series,
        "lesions_expected": expect.lesions,
        "long_axis_expected": expect.long_axis_vox[0] if expect.long_axis_vox else None,
        "short_axis_expected": expect.short_axis_vox[0] if expect.short_axis_vox else None,
    }


def flags(rows: Iterable[Row]) -> list[Record]:
    """Count the flags of rows, most frequent first.

    Returns
    -------
    list of dict
        `flag`, `rows` (how many have it), `meaning`.
    """
    counts = Counter(flag for row in rows for flag in row["qc_flags"] or ())
    meanings = document()["closed_lists"]["qc_flags"]
    return [
        {"flag": flag, "rows": count, "meaning": meanings.get(flag, "")}
        for flag, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def reasons(rows: Iterable[Row]) -> list[Record]:
    """Rows that are not ok, by status and reason; failures first, then by number.

    Returns
    -------
    list of dict
        `status`, `reason`, `count`; of the first 200 rows, `rows` (the columns that a page shows)
        and `at` (their numbers).
    """
    groups: dict[tuple[str, str], Record] = {}
    for at, row in enumerate(rows):
        if row["status"] == Status.OK:
            continue
        key = str(row["status"]), str(row["reason"])
        group = groups.setdefault(key, {"count": 0, "rows": [], "at": []})
        group["count"] += 1
        if group["count"] <= _LISTED:
            group["rows"].append({name: row[name] for name in _SHOWN})
            group["at"].append(at)
    return [
        {"status": status, "reason": reason, **group}
        for (status, reason), group in sorted(
            groups.items(),
            key=lambda item: (item[0][0] != Status.FAILED, -item[1]["count"], item[0]),
        )
    ]
