"""Columns that come one for each axis, read together: mypy knows no name that is put together."""

from __future__ import annotations

from uls_data.manifest.row import Row


def spacing_of(row: Row) -> tuple[float | None, float | None, float | None]:
    """Voxel size (x, y, z) in mm, as the row has it."""
    return row["spacing_x_mm"], row["spacing_y_mm"], row["spacing_z_mm"]


def known_spacing(row: Row) -> tuple[float, float, float] | None:
    """Voxel size (x, y, z) in mm; None where the row does not tell all of it."""
    x, y, z = spacing_of(row)
    return None if x is None or y is None or z is None else (x, y, z)


def click_in_scan(row: Row) -> tuple[int | None, int | None, int | None]:
    """Index (x, y, z) of the click in the scan."""
    return row["click_x_vox"], row["click_y_vox"], row["click_z_vox"]


def origin_of(row: Row) -> tuple[int | None, int | None, int | None]:
    """Index (x, y, z) in the scan of the VOI's first voxel."""
    return row["voi_origin_x_vox"], row["voi_origin_y_vox"], row["voi_origin_z_vox"]


def padding_by_axis(row: Row) -> tuple[tuple[int | None, int | None], ...]:
    """Count of padded voxels before and after, for x, y and z; None where the row has none."""
    return (
        (row.get("pad_before_x_vox"), row.get("pad_after_x_vox")),
        (row.get("pad_before_y_vox"), row.get("pad_after_y_vox")),
        (row.get("pad_before_z_vox"), row.get("pad_after_z_vox")),
    )


def scan_box(row: Row, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Box (x, y, z) of a VOI of that shape that is not padding, as far as the row knows."""
    x, y, z = (
        slice(before or 0, n - (after or 0))
        for (before, after), n in zip(padding_by_axis(row), shape, strict=True)
    )
    return x, y, z


def placed_box(row: Row, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Box (x, y, z) of the scan that a VOI of that shape and of known place holds."""
    x, y, z = (
        slice((at or 0) + part.start, (at or 0) + part.stop)
        for at, part in zip(origin_of(row), scan_box(row, shape), strict=True)
    )
    return x, y, z


def spacing_columns(spacing_mm: tuple[float, ...] | None) -> Row:
    """Columns of a voxel size (x, y, z); None where it is not known."""
    x, y, z = spacing_mm or (None, None, None)
    return {"spacing_x_mm": x, "spacing_y_mm": y, "spacing_z_mm": z}
