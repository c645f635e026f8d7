"""Points that somebody set in lesions: the first click on each, or a row of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uls_data.lesions.instances import Lesion, Mark
from uls_data.outcome import Reason
from uls_data.sources.dicom.structures import Click


def clicked(
    lesions: Sequence[Lesion], clicks: Sequence[Click]
) -> tuple[list[Lesion], list[Mark], set[str]]:
    """Lesions with their points, what is marked by the others, and the names of all points.

    A point goes to the lesion whose voxels hold it; of several to the smallest that has none yet.
    Its name stands behind the lesion's own. A point that goes to none is a mark: no mask could be
    centred on it.
    """
    found = list(lesions)
    marks = []
    for click in clicks:
        if click.voxel is None:
            marks.append(Mark(Reason.POINT_MARK, click.detail, click.name))
            continue
        holders = [at for at, one in enumerate(found) if _holds(one, click.voxel)]
        free = [at for at in holders if found[at].click is None]
        if not free:
            detail = f"the point at voxel {click.voxel} of the scan lies in " + (
                f"lesion {found[holders[0]].index}, which has another" if holders else "no lesion"
            )
            marks.append(Mark(Reason.POINT_MARK, detail, click.name))
            continue
        at = min(free, key=lambda at: len(found[at].voxels))
        name = f"{found[at].source_lesion_id}+{click.name}"
        found[at] = replace(found[at], click=click.voxel, source_lesion_id=name)
    return found, marks, {click.name for click in clicks}


def _holds(lesion: Lesion, voxel: Sequence[int]) -> bool:
    return lesion.skipped is None and bool((lesion.voxels == np.array(voxel)).all(axis=1).any())
