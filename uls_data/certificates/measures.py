"""Measure a mask: against the lines, against an ensemble, by its shape, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.certificates.judged import Judged, identity_of
from uls_data.ensemble.agreement import key_slice_columns
from uls_data.ensemble.disagreement import disagreement, in_one_box
from uls_data.ensemble.member import Masks, Member, about, masks_of
from uls_data.ensemble.subject import Subject
from uls_data.errors import CaseError
from uls_data.geometry import bounding_box
from uls_data.manifest.patients import patient_key
from uls_data.manifest.row import Row
from uls_data.measure.ellipsoid import ellipse_field
from uls_data.measure.overlap import dice
from uls_data.pseudomask.likeness import likeness

_SHAPE_FLAGS = ("several_components_26", "centre_outside_mask")
_NETWORK = ("view_disagreement", "click_dice")
# Noise is measured in this neighbourhood of the mask.
_AROUND_VOX = 8
# Standard deviation of normal noise over the median of its absolute values.
_MAD = 1.4826


def judged(
    subject: Subject,
    mask: NDArray[np.bool_],
    members: Sequence[Member],
    truth: NDArray[np.bool_] | None = None,
) -> Judged:
    """Measure one mask.

    Parameters
    ----------
    subject : Subject
        Its VOI and lines; `row` is the mask's own.
    mask : ndarray, shape (256, 256, 128), bool, RAS
    members : sequence of Member
        Of the ensemble, beside the mask itself.
    truth : ndarray, optional
        What the mask should be.
    """
    row = subject.row
    made = masks_of(members, subject)
    measures: dict[str, float | None] = {
        **_of_row(row),
        **_of_lines(subject, mask, made),
        **_of_ensemble(mask, made, subject.key_slice),
        **_of_image(subject, mask),
        **_of_likeness(subject, mask, made),
    }
    return Judged(
        identity=identity_of(row),
        patient=patient_key(row),
        lesion_type=row["lesion_type"] or "unknown",
        measures=measures,
        dice=None if truth is None else dice(*in_one_box([mask, truth])),
    )


def _of_row(row: Row) -> dict[str, float | None]:
    flags = row["qc_flags"] or ()
    scores: dict[str, float | None] = {
        score["measure"]: score["value"]
        for score in row["candidate_scores"] or ()
        if score["candidate"] == "network"
    }
    return {
        "predicted_dice": row["predicted_dice"],
        "uncertainty": row["uncertainty"],
        **{name: scores.get(name) for name in _NETWORK},
        "shape_flags": float(sum(flag in flags for flag in _SHAPE_FLAGS)),
        "spacing_x_mm": row["spacing_x_mm"],
        "spacing_z_mm": row["spacing_z_mm"],
    }


def _of_lines(subject: Subject, mask: NDArray[Any], made: Masks) -> dict[str, float | None]:
    """Errors of the axes as shares of the reader's, and the volume against the ellipsoid's."""
    lines, at, spacing = subject.lines, subject.key_slice, subject.spacing_mm
    if lines is None or at is None:
        return {}
    of_lines: Row = {
        "key_slice_voi": at,
        "recist_long_vox": lines.long_vox,
        "recist_short_vox": lines.short_vox,
        "recist_points_vox": lines.points.ravel().tolist(),
    }
    plane = next(iter(made.flat.values()), None)
    found = key_slice_columns(mask, of_lines, plane)
    long, short = lines.long_vox, lines.short_vox
    measures: dict[str, float | None] = {
        "long_error": abs(found["key_slice_long_error_vox"] or 0.0) / long,
        "short_error": abs(found["key_slice_short_error_vox"] or 0.0) / short,
        "key_slice_dice": found.get("key_slice_dice"),
    }
    ends = found.get("endpoint_distance_vox")
    # Without a voxel on the key slice there is no end: as far off as it gets.
    measures["endpoint_distance"] = 1.0 if ends is None else ends / long
    if spacing is not None:
        long_mm, _ = lines.length_mm(spacing)
        volume = np.count_nonzero(mask) * float(np.prod(spacing))
        of_solid = lines.lengthened(subject.outward_vox).length_mm(spacing)
        expected = np.pi / 6 * (of_solid[0] * of_solid[1]) ** 1.5
        measures |= {
            "long_axis_mm": long_mm,
            "volume_ratio": abs(float(np.log(max(volume, 1e-3) / expected))),
        }
    return measures


def _of_ensemble(
    mask: NDArray[np.bool_], made: Masks, key_slice: int | None
) -> dict[str, float | None]:
    solid = [mask, *made.solid.values()]
    planes = [one[:, :, key_slice] for one in solid] if key_slice is not None else []
    return {
        "disagreement": disagreement(in_one_box(solid)),
        "key_slice_disagreement": disagreement(planes, list(made.flat.values())),
    }


def _of_likeness(subject: Subject, mask: NDArray[np.bool_], made: Masks) -> dict[str, float | None]:
    """Share of a mask that looks less like the 2D mask of the key slice than like what is around.

    Nothing without an image, lines, a 2D mask, or any contrast there.
    """
    at, spacing = subject.key_slice, subject.spacing_mm
    plane = next(iter(made.flat.values()), None)
    if subject.lines is None or at is None or spacing is None or plane is None or not mask.any():
        return {}
    lines = subject.lines.lengthened(subject.outward_vox)
    try:
        hu = subject.hu
    except CaseError:
        return {}
    inside, start = bounding_box(mask)
    box = tuple(
        slice(min(part.start, int(low)), max(part.stop, int(low) + n))
        for part, low, n in zip(about(lines, at, spacing), start, inside.shape, strict=True)
    )
    x, y, z = (part.start for part in box)
    valid = np.zeros(mask.shape, bool)
    valid[subject.scan] = True
    here = plane[box[:2]]
    radius = np.sqrt(ellipse_field(lines.moved(-x, -y), (here.shape[0], here.shape[1])))
    odds = likeness(hu[box], valid[box], here, radius, at - z, spacing)
    if not odds.any():
        return {}
    return {"unlike": float((odds[mask[box]] < 0).mean())}


def _of_image(subject: Subject, mask: NDArray[np.bool_]) -> dict[str, float | None]:
    """Noise about the lesion and its median, in HU; nothing without an image."""
    try:
        hu = subject.hu
    except CaseError:
        return {}
    inside, start = bounding_box(mask)
    if inside.size == 0:
        return {}
    around = tuple(
        slice(max(a - _AROUND_VOX, part.start), min(a + n + _AROUND_VOX, part.stop))
        for a, n, part in zip(start, inside.shape, subject.scan, strict=True)
    )
    near = hu[around].astype(np.float32)
    if near.shape[0] < 3:
        return {}
    # Second differences see the noise, and of what is smooth nothing.
    rough = near[:-2] - 2 * near[1:-1] + near[2:]
    noise = _MAD * float(np.median(np.abs(rough - np.median(rough)))) / np.sqrt(6)
    return {"noise_hu": float(noise), "mask_hu": float(np.median(hu[mask]))}
