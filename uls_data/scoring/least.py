"""What any 3D pseudo-mask must beat: the ellipsoid of the lines that its row holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.manifest.by_axis import scan_box, spacing_of
from uls_data.manifest.choice import is_ellipsoid
from uls_data.manifest.recist import outward_of, recist_of
from uls_data.manifest.row import Column, Row
from uls_data.measure.lines import Lines, lines_by_slice
from uls_data.outcome import Reason, Supervision
from uls_data.pseudomask.solid import solid, solid_in_voi
from uls_data.voi import VOI_SHAPE

Triple = tuple[float, float, float]
# What an ellipsoid is drawn from.
COLUMNS: tuple[Column, ...] = (
    *("recist_points_vox", "recist_outward_vox", "key_slice_voi"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"),
    *("pad_before_x_vox", "pad_before_y_vox", "pad_before_z_vox"),
    *("pad_after_x_vox", "pad_after_y_vox", "pad_after_z_vox"),
)


def has_least(row: Row) -> bool:
    """Whether a row has a predicted 3D mask, and lines that an ellipsoid is drawn from."""
    predicted = row["supervision"] == Supervision.PSEUDO_3D and not is_ellipsoid(row)
    return predicted and recist_of(row) is not None and all((mm or 0) > 0 for mm in spacing_of(row))


def least_volume_mm3(row: Row) -> float:
    """Volume of the ellipsoid of a row's lines (`has_least`), by its formula."""
    x, y, _ = (mm or 0.0 for mm in spacing_of(row))
    lines = Lines.of(row["recist_points_vox"]).lengthened(outward_of(row))
    long, short = lines.length_mm((x, y))
    return float(np.pi / 6 * (long * short) ** 1.5)


def across(mask: NDArray[np.bool_], spacing_mm: Triple) -> NDArray[np.bool_]:
    """Ellipsoid of the lines that a reader draws across a mask where it is longest.

    Lines out of the mask that scores them flatter: a reader's own would do worse.

    Parameters
    ----------
    mask : ndarray, shape (x, y, z), bool
    spacing_mm : tuple of 3 float
        x, y, z.

    Returns
    -------
    ndarray of bool, same shape
        Empty where no slice shows two axes.
    """
    lines = lines_by_slice(mask)
    drawn = np.zeros_like(mask, bool)
    if lines:
        at = max(lines, key=lambda key: lines[key].long_vox)
        x, y, z = mask.shape
        drawn[tuple(solid(lines[at], at, (x, y, z), spacing_mm).T)] = True
    return drawn


def least(row: Row) -> NDArray[np.bool_]:
    """Ellipsoid of a row's lines, shape (256, 256, 128), RAS, within the scan.

    Raises
    ------
    CaseError
        `degenerate_lines`, `key_slice_missing`.
    """
    drawn = recist_of(row)
    if drawn is None:
        raise CaseError(Reason.DEGENERATE_LINES, "the row holds no lines")
    x, y, z = (mm or 0.0 for mm in spacing_of(row))
    return solid_in_voi(*drawn, scan_box(row, VOI_SHAPE), (x, y, z), outward_of(row))
