"""What was built, against what the recipes expect, and what was not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from uls_data.errors import RecipeError
from uls_data.manifest.row import Row
from uls_data.manifest.schema import document
from uls_data.outcome import Status
from uls_data.recipe import load_recipe, recipe_names
from uls_data.tables import Record

_AXES: dict[str, Literal["long_axis_vox", "short_axis_vox"]] = {
    "long": "long_axis_vox",
    "short": "short_axis_vox",
}


def built(rows: Sequence[Row]) -> list[Record]:
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
    for source in sorted({str(row["source"]) for row in rows}):
        mine = [row for row in rows if row["source"] == source]
        ok = [row for row in mine if row["status"] == Status.OK]
        lesions = {(row["case_id"], row["lesion_index"]): row for row in reversed(ok)}
        line: Record = {
            "source": source,
            "vois": len({row["voi_id"] for row in ok}),
            "patients": len({row["patient_id"] or row["case_id"] for row in ok}),
            "series": len({row["case_id"] for row in ok}),
            "series_expected": None,
            "lesions": len(lesions),
            "lesions_expected": None,
        }
        for axis, column in _AXES.items():
            values = [row[column] for row in lesions.values()]
            known = [value for value in values if value is not None]
            line[f"{axis}_axis"] = float(np.mean(known)) if known else None
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
        `status`, `reason`, `rows` (the rows themselves).
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["status"] != Status.OK:
            groups.setdefault((str(row["status"]), str(row["reason"])), []).append(row)
    return [
        {"status": status, "reason": reason, "rows": members}
        for (status, reason), members in sorted(
            groups.items(), key=lambda item: (item[0][0] != Status.FAILED, -len(item[1]), item[0])
        )
    ]
