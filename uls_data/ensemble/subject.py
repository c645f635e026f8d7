"""A lesion that members of an ensemble make masks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.manifest.archive import read_voi
from uls_data.manifest.by_axis import scan_box, spacing_of
from uls_data.manifest.recist import outward_of, recist_of
from uls_data.manifest.row import Row
from uls_data.measure.lines import Lines
from uls_data.outcome import LesionType, Reason
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.voi import VOI_SHAPE, hounsfield
from uls_data.volumes.volume import Volume


@dataclass(frozen=True)
class Subject:
    """One VOI and the lines on it. Everything is in VOI indices, (x, y, z), RAS.

    Attributes
    ----------
    row : dict
        Of the mask that is judged.
    image : Path, ndarray or None
        A file, or the voxels in HU, shape (256, 256, 128).
    layers : dict of str to Path
        Label files of the VOI's other layers.
    lines : Lines or None
        In the key slice.
    key_slice : int or None
    """

    row: Row
    image: Path | NDArray[np.integer] | None = None
    layers: Mapping[str, Path] = field(default_factory=dict)
    lines: Lines | None = None
    key_slice: int | None = None

    @cached_property
    def hu(self) -> NDArray[np.integer]:
        """Image in HU, shape (256, 256, 128), padding included.

        Raises
        ------
        CaseError
            There is none, or it cannot be read.
        """
        if self.image is None:
            raise CaseError(Reason.IMAGE_MISSING, f"{self.row['voi_id']}: no image")
        return read_image(self.image) if isinstance(self.image, Path) else self.image

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel size (x, y, z); None where it is not known."""
        x, y, z = spacing_of(self.row)
        return None if not (x and y and z) else (x, y, z)

    @property
    def outward_vox(self) -> float:
        """How far the lesion reaches beyond each end point of the lines, in pixels.

        Lines that are not the row's own are such as end within the lesion's outermost pixels.
        """
        outward_vox = outward_of(self.row)
        drawn = recist_of(self.row) if outward_vox else None
        return outward_vox if drawn is not None and drawn[0] == self.lines else 0.0

    @property
    def scan(self) -> tuple[slice, slice, slice]:
        """Box of the VOI that is not padding."""
        return scan_box(self.row, VOI_SHAPE)

    def measured(self, *, image: bool) -> KeySlice | None:
        """Key slice with its lines, as the 2D methods see it; without the image all is 0 HU.

        Raises
        ------
        CaseError
            The image is asked for, and cannot be read.
        """
        if self.lines is None or self.key_slice is None:
            return None
        x, y = (self.spacing_mm or (1.0, 1.0, 1.0))[:2]
        row = self.row
        identity = (row["source"], row["case_id"], row["lesion_index"] or 0, "ensemble")
        hu: NDArray[np.integer] = np.broadcast_to(np.int16(0), VOI_SHAPE[:2])
        if image:
            hu = self.hu[:, :, self.key_slice]
        of_bone = row.get("lesion_type") == LesionType.BONE
        return KeySlice(
            hu,
            self.lines,
            (x, y),
            outward_vox=self.outward_vox,
            identity=identity,
            of_bone=of_bone,
        )


def read_image(path: Path) -> NDArray[np.integer]:
    """Image of a VOI in HU, (256, 256, 128), RAS.

    Raises
    ------
    CaseError
    """
    volume = _volume(path)
    hu, _ = hounsfield(volume.ras, volume.slope, volume.intercept)
    return hu


def read_label(path: Path) -> NDArray[np.bool_]:
    """Mask of a VOI, (256, 256, 128), RAS.

    Raises
    ------
    CaseError
    """
    mask: NDArray[np.bool_] = _volume(path).ras != 0
    return mask


def _volume(path: Path) -> Volume:
    try:
        volume = read_voi(path)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise CaseError(Reason.IO_ERROR, f"{path.name}: {what}") from error
    if volume.ras.shape != VOI_SHAPE:
        raise CaseError(
            Reason.VOI_SHAPE, f"{path.name}: expected {VOI_SHAPE}, found {volume.ras.shape}"
        )
    return volume
