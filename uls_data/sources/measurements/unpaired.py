"""Lesions of what makes no pair of axes: outlines on one slice, and lines that are alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, ras_voxels
from uls_data.outcome import Flag, Reason
from uls_data.sources.measurements.lengths import is_about
from uls_data.sources.measurements.placing import Drawn, Grid
from uls_data.sources.measurements.statement import Statement


class Sources:
    """Which of several files a lesion is from, as columns."""

    def __init__(self, raw: Path, files: Sequence[Path]) -> None:
        several = files if len(files) > 1 else ()
        self.hashes = {path: sha256_file(raw / path) for path in several}

    def columns(self, statement: Statement) -> tuple[tuple[str, str | float | None], ...]:
        """Columns of a lesion; none where the case has one file, which its rows name anyway."""
        if statement.source not in self.hashes:
            return ()
        name = readable(statement.source.as_posix())
        return (("label_source", name), ("label_source_sha256", self.hashes[statement.source]))

    def of_one(self, statement: Statement) -> tuple[tuple[str, str | float | None], ...]:
        """Columns of a lesion that belong to one statement only."""
        track = (("lesion_track_id", statement.follows),) if statement.follows else ()
        return (*self.columns(statement), *track)


def outlined(one: Drawn, number: int, grid: Grid, sources: Sources) -> Lesion:
    """Lesion of an outline on one slice: the voxels whose centres it encloses."""
    from uls_data.dicom.polygons import check_work, fill_slice

    shape = grid.volume.stored.shape
    problem: tuple[Reason, str] | None = None
    voxels: NDArray[np.int32] = np.empty((0, 3), np.int32)
    try:
        check_work([one.points], shape)
        region, _ = fill_slice([one.points], shape)
        if region.mask.any():
            stored = region.voxels
            stored[:, 2] = one.slice_vox
            voxels = ras_voxels(stored, grid.volume)
        else:
            problem = Reason.EMPTY_MASK, where("an outline that encloses no voxel centre", one)
    except CaseError as error:
        problem = error.reason, error.detail
    return Lesion(number, voxels, one.name, skipped=problem, columns=sources.of_one(one.statement))


def line_alone(one: Drawn, number: int, grid: Grid, sources: Sources) -> Lesion:
    """Lesion of one line, of which no mask is made."""
    (x1, y1), (x2, y2) = one.points.tolist()
    x_mm, y_mm, _ = grid.spacing_mm
    length_mm = float(np.hypot((x2 - x1) * x_mm, (y2 - y1) * y_mm))
    stated = one.shape.stated_mm
    differs = stated is not None and not is_about(stated, length_mm)
    detail = f"{where('one line', one)}, {length_mm:.2f} mm long" + (
        f", stated {stated:.2f} mm" if stated is not None else ""
    )
    return Lesion(
        number,
        np.empty((0, 3), np.int32),
        one.name,
        skipped=(Reason.SINGLE_LINE, detail),
        columns=(
            ("recist_long_vox", float(np.hypot(x2 - x1, y2 - y1))),
            ("stated_long_mm", stated),
            *sources.of_one(one.statement),
        ),
        flags=(Flag.STATED_LENGTH_DIFFERS,) if differs else (),
    )


def where(what: str, one: Drawn) -> str:
    """Words for where something was drawn: columns and rows of the stored slice, from 0."""
    shown = ", ".join(f"({x:.2f}, {y:.2f})" for x, y in one.points[:2].tolist())
    return f"{what} at column and row {shown} of slice {one.slice_vox}, counted from 0"
