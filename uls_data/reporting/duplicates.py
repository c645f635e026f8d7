"""Scans and masks that a build holds more than once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from uls_data.manifest.row import Row
from uls_data.outcome import Flag, Status
from uls_data.tables import Record

# Of a group so many names are shown, and of groups so many.
_NAMES, _GROUPS = 12, 500
_SCAN = "one scan under several cases"
_MASK = "one mask file in several cases"
_LESION = "equal masks in one scan"


def duplicates(rows: Iterable[Row]) -> list[Record]:
    """Group what is there more than once, the largest group first.

    Scans and mask files are compared by the hash of what was read, so that a copy under another
    name is found; masks of one scan by the flag that the build set, and their voxels.

    Returns
    -------
    list of dict
        `what`, `count` (cases, or lesions of one scan), `source`, `column` (`case_id` or `voi_id`)
        and `names` (the first 12 of that column).
    """
    groups: dict[Hashable, dict[str, str]] = {}
    about: dict[Hashable, tuple[str, str, str]] = {}

    def note(what: str, key: Hashable, row: Row, column: str, name: str | None, of: str) -> None:
        if key is not None and name is not None:
            about.setdefault((what, key), (what, str(row["source"]), column))
            groups.setdefault((what, key), {})[name] = of

    for row in rows:
        if row["status"] != Status.OK:
            continue
        case, voi = row["case_id"], row["voi_id"]
        note(_SCAN, row["image_source_sha256"], row, "case_id", case, str(row["image_source"]))
        note(_MASK, row["label_source_sha256"], row, "case_id", case, str(row["label_source"]))
        if Flag.DUPLICATE_MASK in (row["qc_flags"] or ()):
            note(_LESION, (row["source"], case, row["mask_voxels"]), row, "voi_id", voi, str(voi))
    found: list[Record] = []
    for key, names in groups.items():
        # One table, or one series, of many cases is one file, no copy.
        if len({*names.values()}) > 1:
            what, source, column = about[key]
            shown = [*names][:_NAMES]
            found.append(
                {"what": what, "count": len(names), "source": source, "column": column}
                | {"names": shown}
            )
    return sorted(found, key=lambda it: (-int(it["count"]), str(it["what"])))[:_GROUPS]
