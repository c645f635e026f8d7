"""Where a lesion is tried: slices of its scan, or, where there is none, of its VOI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from uls_data.manifest.by_axis import scan_box
from uls_data.manifest.example import Example
from uls_data.manifest.row import Row
from uls_data.volumes import read_volume

Masks = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Ground:
    """Masks of a lesion by layer, and the image under them, on one grid without padding.

    Attributes
    ----------
    masks : dict of ndarray, shape (x, y, z), bool, RAS
    first_slice_voi : int
        Index in the VOI of slice 0 here; on a scan it may be negative.
    on_scan : bool
        Whether the grid is the scan's, in x and y, rather than the VOI's.
    image : function or None
        HU, shape (x, y), of a slice by its index here; None without an image.
    """

    masks: Masks
    first_slice_voi: int
    on_scan: bool
    image: Callable[[int], NDArray[Any]] | None

    def hu(self, slice_index: int) -> NDArray[Any]:
        """HU of a slice, shape (x, y); zeros without an image."""
        if self.image is not None:
            return self.image(slice_index)
        shape = next(iter(self.masks.values())).shape
        return np.broadcast_to(np.int16(0), shape[:2])


class Opener(Protocol):
    """Opens the scan of one lesion."""

    def __call__(self, label: NDArray[Any]) -> Ground:
        """Return the lesion on its scan.

        Parameters
        ----------
        label : ndarray, shape (256, 256, 128)
            Annotated mask of the VOI, by which it is told that this is the lesion.

        Raises
        ------
        CaseError
            The case cannot be read, or is another than the VOI was cut from.
        """


class Scans(Protocol):
    """Finds scans of lesions, such as `uls_data.RawScans`."""

    def __call__(self, row: Row) -> Opener | None:
        """Return what opens the scan of a row's lesion, picklable; None where it is not there."""


def voi_ground(annotated: Example, layers: Mapping[str, Example]) -> Ground:
    """Lesion on the grid of its VOI.

    Parameters
    ----------
    annotated : Example
        The one that has the image, or none.
    layers : mapping of Example
        Masks to read, by layer.

    Raises
    ------
    CaseError
        A file cannot be read.
    """
    image = None
    if annotated.row["image_path"] is not None:
        voxels = read_volume(annotated.image, annotated.image.parent).ras
        # The padding is not tissue: no method may see it.
        image = partial(_slice, voxels[scan_box(annotated.row, voxels.shape)])
    masks = {}
    for layer, example in layers.items():
        label = read_volume(example.label, example.label.parent).ras
        masks[layer] = label[scan_box(annotated.row, label.shape)] != 0
    first = annotated.row["pad_before_z_vox"] or 0
    return Ground(masks, first, on_scan=False, image=image)


def _slice(voxels: NDArray[Any], slice_index: int) -> NDArray[Any]:
    return np.asarray(voxels[:, :, slice_index])
