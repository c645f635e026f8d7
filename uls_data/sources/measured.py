"""Lesions that are measurements: lines in RAS indices of the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uls_data.errors import CaseError
from uls_data.lesions.instances import Lesion, Measured
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.profile import Profile
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.measurement import Measurement
from uls_data.volumes.volume import Volume

_NEAR_EDGE_SLICES = 3


def measured_lesions(
    case: CaseFiles,
    reference: Volume,
    slice_of: Mapping[str, int],
    outward_vox: float,
    profile: Profile,
) -> list[Lesion]:
    """Lesions of a case by number, each with the measurements of its readers.

    A measurement that cannot be used is left out where the lesion has others, else the lesion
    says why (`skipped`).

    Parameters
    ----------
    reference : Volume
        Stored as (column, row, slice).
    slice_of : mapping of str to int
        Index of a measured slice along the stored slice axis, by its name.
    outward_vox : float
        How far lesions reach beyond the end points, by the recipe.

    Raises
    ------
    CaseError
        `unexpected_axis_order`: the slices are not axial.
    """
    if reference.orientation.axes[2] != 2:
        raise CaseError(
            Reason.UNEXPECTED_AXIS_ORDER,
            "the measured slices are not axial; no lesion of them can be cut",
        )
    groups: dict[int, list[Measurement]] = {}
    for measurement in case.measurements:
        groups.setdefault(measurement.number, []).append(measurement)
    return [
        _lesion(number, group, reference, slice_of, outward_vox, profile)
        for number, group in sorted(groups.items())
    ]


def _lesion(
    number: int,
    group: Sequence[Measurement],
    reference: Volume,
    slice_of: Mapping[str, int],
    outward_vox: float,
    profile: Profile,
) -> Lesion:
    shape = reference.ras.shape
    usable: list[tuple[Measurement, Measured]] = []
    unusable: list[tuple[Measurement, Measured | None, tuple[Reason, str]]] = []
    for one in sorted(group, key=lambda one: one.reader):
        at = slice_of.get(one.slice_name)
        if at is None:
            detail = f"the scan has no slice {one.slice_name}"
            unusable.append((one, None, one.skipped or (Reason.KEY_SLICE_MISSING, detail)))
            continue
        measured = Measured(
            ras_lines(one.lines, reference),
            shape[2] - 1 - at if reference.orientation.flips[2] else at,
            one.reader,
            one.window_hu,
            outward_vox,
            one.stated_mm,
        )
        wrong = one.skipped
        if wrong is None and one.noisy and not profile.keep_noisy:
            wrong = (Reason.POSSIBLY_NOISY, "the source marks the measurement as possibly noisy")
        if wrong is None and (problem := measured.lines.problem((shape[0], shape[1]))):
            wrong = (Reason.DEGENERATE_LINES, problem)
        if wrong is None:
            usable.append((one, measured))
        else:
            # Lines of a row that says nothing are none.
            has_lines = wrong[0] != Reason.ANNOTATION_UNREADABLE
            unusable.append((one, measured if has_lines else None, wrong))
    first = usable[0][0] if usable else unusable[0][0]
    measured_by = [measured for _, measured in usable] or [
        measured for _, measured, _ in unusable if measured is not None
    ]
    kind = () if first.lesion_type is None else (("lesion_type", first.lesion_type.value),)
    return Lesion(
        number,
        np.empty((0, 3), np.int32),
        first.source_lesion_id,
        skipped=None if usable else unusable[0][2],
        measured=tuple(measured_by),
        columns=kind + first.columns,
        flags=_flags(measured_by, shape[2]),
    )


def _flags(measured: Sequence[Measured], slices: int) -> tuple[Flag, ...]:
    flags = []
    if any(min(m.slice_vox, slices - 1 - m.slice_vox) < _NEAR_EDGE_SLICES for m in measured):
        flags.append(Flag.KEY_SLICE_NEAR_EDGE)
    if not all(m.lines.cross_inside() for m in measured):
        flags.append(Flag.AXES_DO_NOT_CROSS)
    return tuple(flags)


def ras_lines(lines: Lines, reference: Volume) -> Lines:
    """Lines in stored (column, row) as RAS (x, y): permuted and flipped, as the voxels are."""
    orientation = reference.orientation
    points = lines.points
    turned = np.empty_like(points)
    for at, (axis, flip) in enumerate(zip(orientation.axes[:2], orientation.flips, strict=False)):
        turned[:, at] = points[:, axis]
        if flip:
            turned[:, at] = reference.stored.shape[axis] - 1 - points[:, axis]
    return Lines.of(turned)
