"""How lesions that are followed over time grow: from each study to the next."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc

from uls_data.manifest.choice import COLUMNS, best, counting
from uls_data.manifest.parquet import manifest_files, read_rows, read_table
from uls_data.manifest.patients import patient_space
from uls_data.manifest.row import Column, Row
from uls_data.outcome import Supervision

_READ: tuple[Column, ...] = (
    *(name for name in COLUMNS if name != "sample_index"),
    *("patient_id", "sample_index", "voi_id", "lesion_track_id", "study_day", "volume_mm3"),
    *("long_axis_mm", "short_axis_mm"),
)
GROWTH = (
    *("source", "patient_id", "lesion_track_id", "lesion_type", "voi_before", "voi_after"),
    *("day_before", "day_after", "days", "long_before_mm", "long_after_mm", "long_change_percent"),
    *("short_before_mm", "short_after_mm", "volume_before_mm3", "volume_after_mm3"),
    *("volume_change_percent", "volume_doubling_days"),
)


def growth(paths: str | Path | Sequence[str | Path]) -> list[dict[str, Any]]:
    """Change of every lesion that is followed (`lesion_track_id`), from each study to the next.

    The mask of a study is the preferred one of those that count (`manifest.choice`), of the first
    click; of two scans of one day that of the first case. A mask on one slice has no volume.
    Studies without a day are left out: their order is not known.

    Parameters
    ----------
    paths : path or sequence of paths
        Manifests, or OUT folders of builds.

    Returns
    -------
    list of dict
        Columns `GROWTH`, sorted by source, track and day. Changes are in percent of what was;
        `volume_doubling_days` is negative for a lesion that shrinks, and null for one that is
        the same.

    Raises
    ------
    ManifestError
        No manifest there.
    """
    tracks: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    for row in _followed(manifest_files(paths)):
        key = patient_space(row["source"]), str(row["lesion_track_id"])
        tracks[key].setdefault(cast(int, row["study_day"]), row)
    return [
        _step(*rows)
        for _, by_day in sorted(tracks.items())
        for rows in pairwise(row for _, row in sorted(by_day.items()))
    ]


def _followed(files: Sequence[Path]) -> list[Row]:
    """Rows of the lesions that are followed, one a lesion, by case."""
    table = read_table(files, ["lesion_track_id", "study_day"])
    known = pc.and_(pc.is_valid(table["lesion_track_id"]), pc.is_valid(table["study_day"]))
    at = np.flatnonzero(known.to_numpy() & counting(files))
    rows: list[Row] = read_rows(files, at.tolist(), _READ).to_pylist()
    lesions: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["sample_index"] == 0:
            lesions[row["source"], row["case_id"], row["lesion_index"]].append(row)
    return [best(masks) for _, masks in sorted(lesions.items())]


def _step(before: Row, after: Row) -> dict[str, Any]:
    days = cast(int, after["study_day"]) - cast(int, before["study_day"])
    volumes = _volume(before), _volume(after)
    return {
        **{name: after[name] for name in GROWTH[:4]},  # type: ignore[literal-required]
        "voi_before": before["voi_id"],
        "voi_after": after["voi_id"],
        "day_before": before["study_day"],
        "day_after": after["study_day"],
        "days": days,
        "long_before_mm": before["long_axis_mm"],
        "long_after_mm": after["long_axis_mm"],
        "long_change_percent": _change(before["long_axis_mm"], after["long_axis_mm"]),
        "short_before_mm": before["short_axis_mm"],
        "short_after_mm": after["short_axis_mm"],
        "volume_before_mm3": volumes[0],
        "volume_after_mm3": volumes[1],
        "volume_change_percent": _change(*volumes),
        "volume_doubling_days": _doubling(days, *volumes),
    }


def _volume(row: Row) -> float | None:
    return None if row["supervision"] == Supervision.WEAK_2D.value else row["volume_mm3"]


def _change(before: float | None, after: float | None) -> float | None:
    if not before or after is None:
        return None
    return round(100 * (after - before) / before, 1)


def _doubling(days: int, before: float | None, after: float | None) -> float | None:
    if not before or not after or before == after:
        return None
    return round(days * math.log(2) / math.log(after / before), 1)
