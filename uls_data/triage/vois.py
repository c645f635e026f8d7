"""A VOI with the mask that is to be judged, decoded as far as it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple, bounding_box
from uls_data.io import sha256_voxels
from uls_data.io.links import real_path
from uls_data.manifest.archive import read_voi
from uls_data.manifest.by_axis import known_spacing
from uls_data.manifest.row import Row
from uls_data.pictures.window import LUNG_WINDOW_HU, SOFT_WINDOW_HU, window_of
from uls_data.triage.outline import outlines
from uls_data.triage.verdicts import Subject
from uls_data.voi import CENTRE, VOI_SHAPE, hounsfield
from uls_data.volumes import Volume
from uls_data.volumes.nifti import nifti_size

# `w` goes through them in this order; bone, which the soft window shows all white, at level 400
# and width 1800.
WINDOWS_HU = {"lung": LUNG_WINDOW_HU, "soft": SOFT_WINDOW_HU, "bone": (-500.0, 1300.0)}
# Those that are usual for an organ, as level and width: 60/160, 50/350, 40/400, 300/600, 40/80.
PRESETS_HU = WINDOWS_HU | {
    "liver": (-20.0, 140.0),
    "mediastinum": (-125.0, 225.0),
    "abdomen": (-160.0, 240.0),
    "vessels": (0.0, 600.0),
    "brain": (0.0, 80.0),
}


@dataclass(frozen=True)
class Voi:
    """A decoded VOI, as far as it could be read.

    Attributes
    ----------
    row : dict
        Of the manifest.
    image : ndarray, shape (256, 256, 128), int16 or int32, or None
        HU, RAS.
    mask : ndarray, bool
        The box that just holds the mask, RAS; empty where there is none.
    start : tuple of 3 int
        VOI index of its first voxel.
    subject : Subject or None
        None where no verdict can be given: the mask is not the manifest's, or has no image.
    window : str
        Of `WINDOWS_HU`, by lesion type.
    problems : tuple of str
    why : tuple of str
        What the list says about the mask, see `read_list`.
    """

    row: Row
    image: NDArray[np.signedinteger] | None
    mask: NDArray[np.bool_]
    start: Triple
    subject: Subject | None
    window: str
    problems: tuple[str, ...]
    why: tuple[str, ...] = ()

    def whole(self) -> NDArray[np.bool_]:
        """Mask on the grid of the VOI; shape (256, 256, 128), RAS, x fastest in memory."""
        whole = np.zeros(VOI_SHAPE, bool, order="F")
        box = zip(self.start, self.mask.shape, strict=True)
        whole[tuple(slice(first, first + count) for first, count in box)] = self.mask
        return whole

    def slice(self, axis: int, index: int) -> bytes | None:
        """HU of a slice across an axis, little-endian, as `slice_png` turns it; None without image.

        The patient's right is on the left, the front on top or on the left, the head on top.
        """
        if self.image is None:
            return None
        # Not `take`, which would copy the whole image.
        plane: NDArray[Any] = self.image[
            tuple(index if a == axis else slice(None) for a in range(3))
        ]
        turned = plane.T[::-1, ::-1]
        return turned.astype(turned.dtype.newbyteorder("<")).tobytes()

    def shown(self) -> dict[str, Any]:
        """Return what a page needs to know, as JSON can hold it."""
        row = self.row
        low = np.array(self.start if self.mask.size else CENTRE)
        high = low + (self.mask.shape if self.mask.size else (1, 1, 1))
        return {
            "row": {
                name: finite(value)
                for name, value in row.items()
                if value is not None and name != "affine"
            },
            "affine": finite(row["affine"]),
            "voxel_bytes": 2 if self.image is None else self.image.dtype.itemsize,
            "has_image": self.image is not None,
            "judgeable": self.subject is not None,
            "problems": self.problems,
            "why": self.why,
            "window": self.window,
            "spacing_mm": spacing_mm(row),
            "box": [low.tolist(), high.tolist()],
            "outlines": outlines(self.mask, self.start, VOI_SHAPE) if self.mask.size else [{}] * 3,
        }


def finite(value: Any) -> Any:
    """Value of a row as JSON can hold it: what is not a finite number is None."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def spacing_mm(row: Row) -> list[float]:
    """Voxel size; cubes where it is not known."""
    sides = known_spacing(row) or ()
    return [*sides] if sides and all(isfinite(mm) and mm > 0 for mm in sides) else [1.0, 1.0, 1.0]


def decode(root: Path, row: Row, subject: Subject, why: tuple[str, ...] = ()) -> Voi:
    """Read the files of a row; what is wrong with them is among the problems of the VOI."""
    problems = []
    mask, start, sha256 = np.zeros((0, 0, 0), bool), (0, 0, 0), None
    try:
        mask, start, sha256 = read_mask(root, row)
        if subject.sha256 is None:
            problems.append("The manifest has no hash of the mask; index it again.")
        elif subject.sha256 != sha256:
            problems.append("The label file is not the one that the manifest describes.")
    except (CaseError, ManifestError) as error:
        problems.append(f"Mask: {words_of(error)}")
    image: NDArray[Any] | None = None
    try:
        if row["image_path"] is None:
            problems.append(
                "There is no image to judge the mask by: write masks into the folder of the build "
                "that they belong to (predict --out), and give triage that folder."
            )
        else:
            volume = _read(root, row["image_path"])
            image, _ = hounsfield(volume.ras, volume.slope, volume.intercept)
            # A copy: a mapped file may change below us.
            image = np.array(image, np.int16 if image.dtype.itemsize <= 2 else np.int32, order="F")
    except (CaseError, ManifestError) as error:
        problems.append(f"Image: {words_of(error)}")
    return Voi(
        row=row,
        image=image,
        mask=mask,
        start=start,
        subject=subject if image is not None and sha256 == subject.sha256 else None,
        window=_window(row, image, mask, start),
        problems=tuple(problems),
        why=why,
    )


def read_mask(root: Path, row: Row) -> tuple[NDArray[np.bool_], Triple, str]:
    """Read the mask of a row.

    Returns
    -------
    ndarray, bool
        The box that just holds it, RAS.
    tuple of 3 int
        VOI index of its first voxel.
    str
        `label_voxels_sha256`.

    Raises
    ------
    CaseError, ManifestError
        The file is not below `root`, not there, unreadable or no VOI.
    """
    label = _read(root, str(row["label_path"])).ras != 0
    sha256 = sha256_voxels(label.view(np.uint8))
    box, start = bounding_box(label)
    return box.copy(), start, sha256


def file_below(root: Path, relative: str) -> Path:
    """Find a file of a VOI, which may lie below `root` only.

    Raises
    ------
    ManifestError
        It does not, or is not there.
    """
    try:
        path = real_path(root / relative)
        if not path.is_relative_to(root):
            raise ManifestError(f"{relative}: lies outside of {root.name}")
        if not path.is_file():
            raise ManifestError(f"{relative}: no such file")
    except (OSError, ValueError) as error:
        raise ManifestError(f"{relative}: cannot be read: {error}") from error
    return path


def _read(root: Path, relative: str) -> Volume:
    path = file_below(root, relative)
    try:
        if path.suffix != ".zip" and nifti_size(path)[0] != prod(VOI_SHAPE):
            raise ManifestError(f"{relative}: expected the grid {VOI_SHAPE}")
        volume = read_voi(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{relative}: cannot be read: {error}") from error
    if volume.ras.shape != VOI_SHAPE:
        raise ManifestError(f"{relative}: its grid is {volume.ras.shape}")
    return volume


def words_of(error: CaseError | ManifestError) -> str:
    """Say what is wrong with a file of a VOI."""
    return error.detail if isinstance(error, CaseError) else str(error)


def _window(row: Row, image: NDArray[Any] | None, mask: NDArray[np.bool_], start: Triple) -> str:
    """Name of the window that fits the lesion, see `window_of`."""
    z = CENTRE[2]
    plane = np.zeros(VOI_SHAPE[:2], bool)
    if 0 <= z - start[2] < mask.shape[2]:
        x, y = (slice(start[axis], start[axis] + mask.shape[axis]) for axis in (0, 1))
        plane[x, y] = mask[:, :, z - start[2]]
    hu = np.zeros(VOI_SHAPE[:2]) if image is None else image[:, :, z]
    lung = window_of(row["lesion_type"] or "unknown", hu, plane) == LUNG_WINDOW_HU
    return "lung" if lung else "soft"
