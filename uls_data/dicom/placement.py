"""Where the frames of a DICOM Segmentation lie in a scan: on its voxels, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.dicom.objects import GRID_TOLERANCE_VOX, Region
from uls_data.dicom.seg import Frame, Segmentation
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.outcome import Reason


def place_segment(
    seg: Segmentation, number: int, shape: Triple, affine: Affine, sop_uids: Sequence[str] = ()
) -> Region:
    """Voxels of one segment on the grid of its scan; no frame is resampled.

    Parameters
    ----------
    number : int
        Of the segment.
    shape, affine : tuple of 3 int, ndarray (4, 4)
        The scan's grid; the affine maps its indices to RAS mm.
    sop_uids : sequence of str, optional
        SOP instance UIDs of its slices, along axis 2; empty strings where they are not known.

    Raises
    ------
    CaseError
        `grid_mismatch`: a frame lies more than `GRID_TOLERANCE_VOX` off the voxel
        centres, or reaches beyond the grid. `annotation_mismatch`: a frame names
        another slice than the one it lies on, or two lie on the same.
        `mask_not_integer`: see `Segmentation.pixels`.
    """
    slices = {uid: at for at, uid in enumerate(sop_uids) if uid}
    found: list[tuple[int, NDArray[np.int64]]] = []
    planes: dict[tuple[int, int], int] = {}
    low, high = np.array(shape), np.zeros(3, dtype=np.int64)
    for frame in seg.frames_of(number):
        index = frame.index
        if frame.segment is None and not seg.pixels(index, number).any():
            continue  # of a label map, most frames show other segments
        lattice = _lattice(seg, frame, shape, affine)
        axis = int(np.flatnonzero(~lattice[:, :2].any(axis=1))[0])
        at = int(lattice[axis, 2])
        other = planes.setdefault((axis, at), index)
        if other != index:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"{seg.name}: frames {other + 1} and {index + 1} both show segment {number} on "
                f"slice {at}; expected one",
            )
        named = slices.get(frame.source_sop_uid or "", at)
        if axis == 2 and named != at:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"{seg.name}: frame {index + 1} lies on slice {at} of the scan but names "
                f"slice {named}",
            )
        box, start = _box(seg, index, number, lattice)
        if box.size:
            found.append((index, lattice))
            low, high = np.minimum(low, start), np.maximum(high, start + box.shape)
    if not found:
        return Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))
    # Unpacked twice, so that never more than the mask and one frame are in memory.
    mask = np.zeros(high - low, dtype=bool, order="F")
    for index, lattice in found:
        box, start = _box(seg, index, number, lattice)
        mask[tuple(slice(a, a + n) for a, n in zip(start - low, box.shape, strict=True))] |= box
    return Region(mask, (int(low[0]), int(low[1]), int(low[2])))


def _box(
    seg: Segmentation, index: int, number: int, lattice: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Smallest box of the grid that holds a frame's voxels, one voxel thick, and its start."""
    along_row, along_column = np.argmax(np.abs(lattice[:, :2]), axis=0).tolist()
    pixels = seg.pixels(index, number).T[:: lattice[along_row, 0], :: lattice[along_column, 1]]
    if along_row > along_column:
        pixels = pixels.T
    corners = lattice @ [[0, seg.columns - 1], [0, seg.rows - 1], [1, 1]]
    box, start = geometry.bounding_box(np.expand_dims(pixels, 3 - along_row - along_column))
    return box, corners.min(axis=1) + start


def _lattice(seg: Segmentation, frame: Frame, shape: Triple, affine: Affine) -> NDArray[np.int64]:
    """Whole-number matrix from (column, row, 1) of a frame to grid indices, shape (3, 3)."""
    steps = np.stack([frame.column_step_mm, frame.row_step_mm], axis=1)
    exact = np.linalg.solve(
        affine[:3, :3], np.column_stack([steps, frame.position_mm - affine[:3, 3]])
    )
    rounded = np.rint(exact)
    ends = np.array([(c, r, 1) for c in (0, seg.columns - 1) for r in (0, seg.rows - 1)])
    off = float(np.abs((exact - rounded) @ ends.T).max())
    corners = rounded @ ends.T
    unit = np.abs(rounded[:, :2])
    along_axes = (unit.sum(axis=0) == 1).all() and (unit.sum(axis=1) <= 1).all()
    if not off <= GRID_TOLERANCE_VOX or not along_axes:
        found = " x ".join(f"{length:g}" for length in np.linalg.norm(steps, axis=0))
        expected = " x ".join(f"{length:g}" for length in geometry.spacing_mm(affine))
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{seg.name}: frame {frame.index + 1} lies up to {off:.3g} voxels off the scan's "
            f"voxels, at most {GRID_TOLERANCE_VOX:g} is allowed; pixels of {found} mm, the scan's "
            f"voxels {expected} mm; was it drawn on another scan?",
        )
    if (corners < 0).any() or (corners >= np.array(shape)[:, None]).any():
        ends_at = [
            f"({x:g}, {y:g}, {z:g})" for x, y, z in (corners.min(axis=1), corners.max(axis=1))
        ]
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{seg.name}: frame {frame.index + 1} covers voxels {' to '.join(ends_at)}, the scan "
            f"has shape {shape}; was it drawn on another scan?",
        )
    lattice: NDArray[np.int64] = rounded.astype(np.int64)
    return lattice
