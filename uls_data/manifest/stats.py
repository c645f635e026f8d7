"""The paper's Table 1, of any manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from uls_data.manifest.choice import CORRECTED, counting
from uls_data.manifest.parquet import frame_of, read_table

if TYPE_CHECKING:
    import pandas as pd

# Texts that are only compared: numbers stand for them, which take less memory.
_NAMES = ("case_id", "patient_id")
_COLUMNS = (
    *("source", "layer", "parent_layer", *_NAMES, "lesion_index", "sample_index", "status"),
    *("split", "long_axis_vox", "short_axis_vox"),
)


def stats(
    paths: str | Path | Sequence[str | Path], by: Sequence[str] = ("source", "layer")
) -> pd.DataFrame:
    """Table 1 of manifests: scans, lesions, and axes in pixels as mean and sample std.

    Lesions count once, by their first click, with the masks that count
    (`uls_data.manifest.choice`); a corrected mask belongs to its parent's layer. The last row is
    the sum over all groups. A standard deviation needs two lesions; below that it is null.

    Parameters
    ----------
    by : sequence of str
        Columns to group by: of source, layer, lesion_type, supervision, split.

    Returns
    -------
    DataFrame
        Columns: those of `by`, then patients, series, lesions, heldout, long_mean,
        long_std, short_mean, short_std (pixels), skipped, failed.
    """
    import pandas as pd

    frame = frame_of(_told(paths, by))
    frame["layer"] = frame["layer"].where(frame["layer"] != CORRECTED, frame["parent_layer"])
    keys = list(by)
    # Not asked for its length, which pandas 2 cannot tell where a key is null.
    groups = frame.groupby(keys, sort=True, dropna=False)
    rows = [_row(dict(zip(keys, name, strict=True)), group) for name, group in groups]
    if len(rows) != 1:
        rows.append(_row({key: "all" if key == keys[0] else "" for key in keys}, frame))
    return pd.DataFrame(rows)


def _told(paths: str | Path | Sequence[str | Path], by: Sequence[str]) -> pa.Table:
    """Rows whose masks count, and those that are not ok: they are counted by their status."""
    status = read_table(paths, ["status"])["status"]
    told = pc.or_(pa.array(counting(paths)), pc.not_equal(status, "ok"))
    columns = {}
    for name in dict.fromkeys((*_COLUMNS, *by)):
        column = read_table(paths, [name])[name].filter(told)
        if name in _NAMES and name not in by:
            column = column.combine_chunks().dictionary_encode().indices
        columns[name] = column
    return pa.table(columns)


def _row(names: dict[str, object], group: pd.DataFrame) -> dict[str, object]:
    ok = group[group["status"] == "ok"]
    lesions = ok.sort_values("sample_index").drop_duplicates(
        ["source", "case_id", "lesion_index", "layer"]
    )
    row: dict[str, object] = {
        **names,
        "patients": len(lesions[["source", "patient_id"]].dropna().drop_duplicates()),
        "series": len(lesions[["source", "case_id"]].drop_duplicates()),
        "lesions": len(lesions),
        "heldout": int((lesions["split"] == "heldout").sum()),
    }
    for axis in ("long", "short"):
        values = lesions[f"{axis}_axis_vox"]
        row[f"{axis}_mean"] = float(values.mean())
        row[f"{axis}_std"] = float(values.std(ddof=1))
    row["skipped"] = int((group["status"] == "skipped").sum())
    row["failed"] = int((group["status"] == "failed").sum())
    return row
