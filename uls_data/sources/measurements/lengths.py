"""Whether end points lie as far apart as their source states."""

from __future__ import annotations

from uls_data.measure.lines import Lines

# Viewers show lengths with one decimal, and end points may be rounded to a tenth.
_LENGTH_MM, _LENGTH_SHARE = 0.15, 0.01


def lengths_differ(
    lines: Lines, lengths: tuple[float | None, float | None], found: tuple[float, float]
) -> str:
    """Say that end points are not as far apart as is stated; empty where they are.

    Such a row belongs to another slice than it names, or to an image of another size; or its writer
    took one spacing for all images.
    """
    for axis, stated, mm in zip(("long", "short"), lengths, found, strict=True):
        if stated is None or is_about(stated, mm):
            continue
        unit = is_about(stated, lines.long_vox if axis == "long" else lines.short_vox)
        return (
            f"{stated:.2f} mm is stated for the {axis} axis, its end points lie {mm:.2f} mm apart "
            "on the slice"
        ) + (
            "; the length is that in pixels: in a table, set the recipe's "
            f"reader.table.columns.{axis}_length_mm to null"
            if unit
            else ""
        )
    return ""


def is_about(stated: float, found: float) -> bool:
    """Whether a length is the stated one, but for rounding."""
    return abs(stated - found) <= max(_LENGTH_MM, _LENGTH_SHARE * found)
