"""Pictures that lie on disk: taken if they belong to the mask that a row describes."""

from __future__ import annotations

from pathlib import Path

from uls_data.manifest.row import Row
from uls_data.pictures.thumbnail import LONGEST_BYTES, thumbnail_numbers


def stored_thumbnail(path: Path, row: Row) -> tuple[bytes, dict[str, float]] | None:
    """Picture of a row's mask, with its numbers.

    Parameters
    ----------
    path : Path
    row : dict
        With `mask_voxels`; a picture of another number of voxels shows another mask.

    Returns
    -------
    (bytes, dict of str to float), or None
        None where there is no such file, or it shows another mask.

    Raises
    ------
    OSError
        It cannot be read.
    """
    if not path.is_file() or path.stat().st_size > LONGEST_BYTES:
        return None
    data = path.read_bytes()
    numbers = thumbnail_numbers(data)
    if numbers is None:
        return None
    voxels = numbers.get("voxels")
    return (data, numbers) if voxels == (row["mask_voxels"] or voxels) else None
