"""Lesions of one LIDC-IDRI series: its readers' outlines, joined and numbered.

With `rule: components` a lesion is a 6-connected component of all nodules' voxels, numbered
by its first voxel in C order of the RAS array, as the published names are: nodules that touch
are one lesion, a nodule in two pieces is two. With `rule: given` each nodule is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.ids import readable
from uls_data.lesions.instances import Lesion, Mark, ras_voxels
from uls_data.lesions.joined import connected, together
from uls_data.lesions.votes import Agreement, dice_scores
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Components, Recipe
from uls_data.recipe.reader import LidcXml
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.lidc.nodules import ReadNodule, Span, fill_readings, read_nodules
from uls_data.sources.lidc.outlines import Ring, slices_at
from uls_data.sources.lidc.xml import Contour, Readings, read_readings
from uls_data.sources.opening import Opened, Opening

if TYPE_CHECKING:
    from uls_data.dicom.series import Series
    from uls_data.volumes.volume import Volume

# An outline that names no slice of the series is placed by its z, which real files give to
# 0.1 mm or better.
_NEAR_MM = 0.1


def open_readings(opening: Opening, reader: LidcXml) -> Opened:
    """Open one series with its readings; see `lidc_lesions`."""
    series = opening.series(reader.policy)
    readings = _readings(opening.case, opening.raw)
    lesions, marks, seen = lidc_lesions(readings, reader, opening.recipe, series)
    opening.flags |= seen
    for one in readings.readers:
        ids = [nodule.nodule_id for nodule in one.nodules] + [mark.mark_id for mark in one.marks]
        opening.selected.update(f"{one.number}/{name}" for name in ids)
    return opening.of_series(series, lesions, marks)


def lidc_lesions(
    readings: Readings, reader: LidcXml, recipe: Recipe, series: Series
) -> tuple[list[Lesion], list[Mark], set[Flag]]:
    """Lesions of a series, and what its readers marked that is none.

    Raises
    ------
    CaseError
        `too_large`: see `fill_readings`.
    """
    shape: Triple = series.volume.stored.shape
    slice_of = _SliceOf(series)
    filled = fill_readings(readings, slice_of, shape, Ring(reader.outline))
    nodules = read_nodules(filled.readings, Agreement(reader.consensus), Span(reader.span))
    marks = [
        Mark(
            Reason.BELOW_AGREEMENT,
            f"outlined by {nodule.agreement} readers, {reader.at_least} wanted",
            _names([nodule]),
        )
        for nodule in nodules
        if nodule.agreement < reader.at_least
    ]
    marks += [
        Mark(Reason.POINT_MARK, f"reader {it.reader}: an outline that encloses no voxel", name)
        for it in filled.empty
        if (name := f"{it.reader}/{it.reading_id}")
    ]
    marks += [
        Mark(mark.reason, _MEANING[mark.reason].format(one.number), f"{one.number}/{mark.mark_id}")
        for one in readings.readers
        for mark in one.marks
    ]
    agreed = [nodule for nodule in nodules if nodule.agreement >= reader.at_least]
    marks += [
        Mark(
            Reason.BELOW_AGREEMENT,
            f"outlined by {nodule.agreement} readers, who agree on no voxel",
            _names([nodule]),
        )
        for nodule in agreed
        if not len(nodule.voxels)
    ]
    chosen = [nodule for nodule in agreed if len(nodule.voxels)]
    if isinstance(recipe.instances, Components):
        lesions = _components(chosen, series.volume)
    else:
        lesions = [
            _lesion(number, nodule, series.volume) for number, nodule in enumerate(chosen, start=1)
        ]
    flags = {*filled.flags, *([Flag.UID_CONTRADICTS_POSITION] if slice_of.contradicted else [])}
    return lesions, marks, flags


_MEANING = {
    Reason.POINT_MARK: "reader {}: a nodule below 3 mm, or a point",
    Reason.NOT_A_NODULE: "reader {}: no nodule",
}


def _readings(case: CaseFiles, raw: Path) -> Readings:
    """Read the one reading of a series, of which several copies may lie about.

    Raises
    ------
    CaseError
        The XML cannot be read, several of them differ, or it belongs to another series.
    """
    found = [read_readings(raw / path) for path in case.annotations]
    if len({reading.digest for reading in found}) > 1:
        names = ", ".join(readable(path.as_posix()) for path in case.annotations[:3])
        raise CaseError(
            Reason.AMBIGUOUS_FILES, f"expected one reading of this series, found several: {names}"
        )
    if found[0].series_instance_uid != case.series_instance_uid:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{case.annotations[0].name}: of series {found[0].series_instance_uid}",
        )
    return found[0]


class _SliceOf:
    """Looks up an outline's slice by its SOP instance, else by its position.

    Attributes
    ----------
    contradicted : bool
        Whether an outline named a slice and gave the position of another.
    """

    def __init__(self, series: Series) -> None:
        self._by_uid = {uid: at for at, uid in enumerate(series.sop_instance_uids) if uid}
        affine = series.volume.stored_affine
        self._z_mm = affine[2, 3] + affine[2, 2] * np.arange(series.volume.stored.shape[2])
        self.contradicted = False

    def __call__(self, contour: Contour) -> int | None:
        named = self._by_uid.get(contour.sop_instance_uid or "")
        if named is not None:
            # Half a step away is another slice; so is any other slice's own position.
            reach_mm = abs(self._z_mm[-1] - self._z_mm[0]) / max(len(self._z_mm) - 1, 1) / 2
            self.contradicted |= bool(abs(self._z_mm[named] - contour.z_mm) > reach_mm)
            return named
        at = int(slices_at(np.array([contour.z_mm]), self._z_mm, _NEAR_MM)[0])
        return at if at >= 0 else None


def _components(nodules: Sequence[ReadNodule], volume: Volume) -> list[Lesion]:
    single = [_lesion(number, nodule, volume) for number, nodule in enumerate(nodules, 1)]
    return [
        together(number, voxels, [single[at] for at in own], _names([nodules[at] for at in own]))
        for number, (voxels, own) in enumerate(
            connected([one.voxels for one in single], volume.ras.shape), 1
        )
    ]


def _lesion(number: int, nodule: ReadNodule, volume: Volume) -> Lesion:
    """Lesion of one nodule, with the masks of its readers."""
    readers = tuple((layer, ras_voxels(own, volume)) for layer, own in nodule.layers)
    return Lesion(
        number,
        ras_voxels(nodule.voxels, volume),
        _names([nodule]),
        readers=readers,
        agreement=nodule.agreement,
        scores=dice_scores(readers),
    )


def _names(nodules: Sequence[ReadNodule]) -> str:
    """Join reader and name of each reading, by reader."""
    readings = [reading for nodule in nodules for reading in nodule.readings]
    names = [f"{one.reader}/{one.reading_id}" for one in sorted(readings, key=lambda it: it.reader)]
    return "+".join(dict.fromkeys(names))
