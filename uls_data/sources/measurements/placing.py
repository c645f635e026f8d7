"""Where what was drawn lies on a scan: its slice, and columns and rows there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.sources.measurements.statement import Kind, Place, Shape, Statement
from uls_data.volumes.volume import Volume

# A slice nearer than this share of the step is the one that is meant.
_HALF_STEP = 0.5


@dataclass(frozen=True)
class Drawn:
    """A shape on a slice of the scan.

    Attributes
    ----------
    statement : Statement
    shape : Shape
    slice_vox : int
        Index along the stored slice axis.
    points : ndarray, shape (n, 2), float64
        Column and row in the stored slice, zero-based, pixel centres at whole numbers.
    """

    statement: Statement
    shape: Shape
    slice_vox: int
    points: NDArray[np.float64]

    @property
    def name(self) -> str:
        """What the source calls the statement."""
        return self.statement.source_lesion_id


@dataclass(frozen=True)
class Grid:
    """A scan whose third stored axis runs along the patient, and names of its slices.

    Attributes
    ----------
    volume : Volume
    slices : mapping of str to int
        Stored index of a slice by its SOPInstanceUID, or its number from the feet.
    numbers : mapping of int to list of str
        SOPInstanceUIDs by InstanceNumber.
    nearest_vox : float
        Points are rounded to this part of a pixel; 0: not at all.
    as_stored : bool
        Whether columns and rows of a file's slices are the first two stored axes.
    shared : frozenset of str
        SOPInstanceUIDs that several slices share.
    """

    volume: Volume
    slices: Mapping[str, int]
    numbers: Mapping[int, list[str]] = field(default_factory=dict)
    nearest_vox: float = 0.0
    as_stored: bool = True
    shared: frozenset[str] = frozenset()

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of columns, rows and slices."""
        return geometry.spacing_mm(self.volume.stored_affine)

    def placed(self, statement: Statement) -> list[Drawn]:
        """All shapes of a statement.

        Raises
        ------
        CaseError
            `key_slice_missing`, `annotation_mismatch`, `ambiguous_files`, or `degenerate_lines` for
            what lies across slices.
        """
        return [self._drawn(statement, shape) for shape in statement.shapes]

    def _drawn(self, statement: Statement, shape: Shape) -> Drawn:
        named = self.named(statement.place, shape.slice_name)
        points = np.array(shape.points, dtype=np.float64)
        if points.shape[1] == 3:
            at, points = self._on_slice(points, named, shape)
        elif named is None and self.volume.stored.shape[2] == 1:
            at = 0
        elif named is None:
            raise CaseError(Reason.KEY_SLICE_MISSING, "nothing tells the slice")
        elif not self.as_stored:
            detail = "end points in pixels, and the volume's slices are not axial; give them in mm"
            raise CaseError(Reason.UNEXPECTED_AXIS_ORDER, detail)
        else:
            at = named
        if self.nearest_vox:
            points = np.rint(points / self.nearest_vox) * self.nearest_vox
        return Drawn(statement, shape, at, points)

    def hu(self, slice_vox: int) -> NDArray[np.float64]:
        """Hounsfield units of a stored slice, shape (columns, rows)."""
        stored = self.volume.stored[:, :, slice_vox].astype(np.float64)
        found: NDArray[np.float64] = stored * self.volume.slope + self.volume.intercept
        return found

    def named(self, place: Place, slice_name: str = "") -> int | None:
        """Slice that the source names, or a shape of its own (`slice_name`); None: neither does.

        Raises
        ------
        CaseError
            `key_slice_missing`, `ambiguous_files`, `duplicate_uids`.
        """
        count = self.volume.stored.shape[2]
        name = slice_name or place.slice_name
        if not name and place.image_number is not None:
            found = self.numbers.get(place.image_number, [])
            if len(found) != 1:
                detail = (
                    f"{len(found)} slices of the series have the image number {place.image_number}"
                )
                if not found and self.numbers:
                    detail += f"; it has {min(self.numbers)} to {max(self.numbers)}"
                reason = Reason.AMBIGUOUS_FILES if found else Reason.KEY_SLICE_MISSING
                raise CaseError(reason, detail)
            name = found[0]
        if not name and place.slice_index is not None:
            name = str(place.slice_index)
        if name:
            if name in self.shared:
                detail = f"several of the {count} slices of the series are {name}"
                raise CaseError(Reason.DUPLICATE_UIDS, detail)
            if name not in self.slices:
                detail = f"none of the {count} slices of the series is {name}"
                raise CaseError(Reason.KEY_SLICE_MISSING, detail)
            return self.slices[name]
        if place.slice_mm is None:
            return None
        heights = (
            self.volume.stored_affine[2, 2] * np.arange(count) + self.volume.stored_affine[2, 3]
        )
        off = np.abs(heights - place.slice_mm)
        at, step = int(off.argmin()), abs(float(self.volume.stored_affine[2, 2]))
        if off[at] > _HALF_STEP * step:
            raise CaseError(
                Reason.KEY_SLICE_MISSING,
                f"no slice at z {place.slice_mm:g} mm: the nearest of {count} is {off[at]:.2f} mm "
                "off",
            )
        return at

    def _on_slice(
        self, ras_mm: NDArray[np.float64], named: int | None, shape: Shape
    ) -> tuple[int, NDArray[np.float64]]:
        """Slice, and columns and rows, of points in patient space."""
        points = geometry.to_vox(self.volume.stored_affine, ras_mm)
        heights, count = points[:, 2], self.volume.stored.shape[2]
        at = named if named is not None else round(float(np.median(heights)))
        off = float(np.abs(heights - at).max())
        if off <= _HALF_STEP and 0 <= at < count:
            return at, points[:, :2]
        low, high = float(heights.min()), float(heights.max())
        if named is not None:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"drawn {off:.2f} slices off the slice that it names; is it of another scan?",
            )
        if high - low > 2 * _HALF_STEP:
            what = "outline" if shape.kind == Kind.OUTLINE else "line"
            detail = f"a {what} from slice {low:.1f} to {high:.1f}: none of an axial slice"
            raise CaseError(Reason.DEGENERATE_LINES, detail)
        detail = f"drawn at slice {low:.1f}, counted from 0, of {count} slices"
        raise CaseError(Reason.KEY_SLICE_MISSING, detail)


def slices_of(volume: Volume, sop_instance_uids: Sequence[str] = ()) -> dict[str, int]:
    """Find the stored index of a slice by its SOPInstanceUID, or by its number from the feet."""
    count = volume.stored.shape[2]
    down = volume.orientation.flips[2]
    numbers = {str(count - 1 - at if down else at): at for at in range(count)}
    return numbers | {uid: at for at, uid in enumerate(sop_instance_uids) if uid}
