"""The table of lines that readers draw for lesions of which only sizes were stated.

One row for each reader and lesion; `triage --draw` writes it, and recipes of the format
`measurements` read it (`reader.drawn`).
"""

from __future__ import annotations

from enum import StrEnum

# End points are column and row of the stored slice, zero-based, pixel centres at whole numbers.
ENDS = (
    *("long_x1", "long_y1", "long_x2", "long_y2"),
    *("short_x1", "short_y1", "short_x2", "short_y2"),
)
COLUMNS = (
    *("lesion", "reader", "series_instance_uid", "sop_instance_uid", *ENDS),
    *("long_axis_mm", "short_axis_mm", "skip", "skip_reason"),
)
# RECIST calls a fifth more growth; of small lesions 2 mm are within what readers differ by.
MOST_SHARE, MOST_MM = 0.2, 2.0


class NotDrawn(StrEnum):
    """Why a reader draws no lines."""

    NOT_FOUND = "not_found"
    NO_LESION = "no_lesion"
    NOT_MEASURABLE = "not_measurable"
    OTHER_SCAN = "other_scan"


def differs_much(stated_mm: float | None, drawn_mm: float) -> bool:
    """Whether a drawn axis is so far from the stated one that another lesion may be meant."""
    if stated_mm is None:
        return False
    return abs(drawn_mm - stated_mm) > max(MOST_MM, MOST_SHARE * stated_mm)
