"""VOIs as the network sees them: (z, y, x), cut about the click, normalised, with a mask of use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.manifest.example import Example
from uls_data.manifest.opened import mask_part, validity, voxels_of
from uls_data.manifest.row import Row
from uls_data.network.plan import VOI_ZYX, Intensities
from uls_data.outcome import AnnotationScope, Reason, Supervision

Weak = Literal["ignore", "background"]
WEAK: tuple[Weak, ...] = ("ignore", "background")
CENTRE_ZYX: Triple = (VOI_ZYX[0] // 2, VOI_ZYX[1] // 2, VOI_ZYX[2] // 2)
# Bits of `Region.marks`.
VALID, LESION, SUPERVISED = 1, 2, 4
_LOWEST, _HIGHEST = -32768, 32767
# Of a lesion whose neighbours nobody annotated: how far the background about it is known.
_LOOKED_AT_MM = 10.0
_LEVEL_HU, _LEVELS = 60, 4


@dataclass(frozen=True)
class Region:
    """Part of a VOI.

    Attributes
    ----------
    hu : ndarray, shape (z, y, x), int16
        HU beyond int16 are clipped to it.
    marks : ndarray, shape (z, y, x), uint8
        Sum of 1: a voxel of the scan, no padding; 2: lesion; 4: the mask says what it is.
    click : tuple of 3 int
        Index (z, y, x) of the VOI's centre in the region.
    prompt : ndarray, shape (channels, z, y, x), float32, or None
        What the network is told beside the image (`uls_data.network.prompt`).
    level_hu : float
        Median HU inside the lines, where there is a prompt.
    """

    hu: NDArray[np.int16]
    marks: NDArray[np.uint8]
    click: Triple
    prompt: NDArray[np.float32] | None = None
    level_hu: float = 0.0

    def cut(self, centre: Triple, shape: Triple) -> Region:
        """Part of a given shape with `centre` at its middle; beyond the region it is padding.

        Padding counts as supervised background. May be the region itself.
        """
        if shape == self.hu.shape and centre == tuple(n // 2 for n in shape):
            return self
        hu = np.zeros(shape, np.int16)
        marks = np.full(shape, SUPERVISED, np.uint8)
        source, target = [], []
        for at, size, whole in zip(centre, shape, self.hu.shape, strict=True):
            start = at - size // 2
            low, high = max(start, 0), min(start + size, whole)
            source.append(slice(low, high))
            target.append(slice(low - start, high - start))
        hu[tuple(target)] = self.hu[tuple(source)]
        marks[tuple(target)] = self.marks[tuple(source)]
        z, y, x = (n // 2 for n in shape)
        return Region(hu, marks, (z, y, x))


def voi_part(hu: NDArray[Any], row: Row, shape: Triple = VOI_ZYX) -> Region:
    """Part of a VOI about the click, without a mask.

    Parameters
    ----------
    hu : ndarray, shape (256, 256, 128), [x, y, z]
    row : dict
        Row of the manifest: its padding tells which voxels are the scan's.
    shape : tuple of 3 int
        z, y, x.
    """
    return _region(hu[_box(shape)[::-1]], row, shape)


def _region(hu: NDArray[Any], row: Row, shape: Triple) -> Region:
    """Part of a VOI of that shape (z, y, x) about the click, of its HU [x, y, z]."""
    part = hu.T
    valid = validity(hu, row, _box(shape)[::-1]).T
    if part.dtype != np.int16:
        part = np.clip(part, _LOWEST, _HIGHEST)
    voxels = np.ascontiguousarray(part, dtype=np.int16)
    z, y, x = (n // 2 for n in shape)
    return Region(voxels, np.ascontiguousarray(valid).view(np.uint8), (z, y, x))


def read_image(example: Example, shape: Triple = VOI_ZYX) -> Region:
    """Part of a row's VOI about the click, without its mask.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    return _region(voxels_of(example, "image_path", _box(shape)[::-1]), example.row, shape)


def read_mask(example: Example, shape: Triple = VOI_ZYX) -> NDArray[np.bool_]:
    """Mask of a row, a part of that shape (z, y, x) about the click.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    part, at = _mask_part(example, shape)
    if part.shape == shape:
        return part
    mask = np.zeros(shape, bool)
    mask[at] = part
    return mask


def _mask_part(example: Example, shape: Triple) -> tuple[NDArray[np.bool_], tuple[slice, ...]]:
    """Mask of a row where its file holds it, and which part of the region that is, z, y, x."""
    part, at = mask_part(example, _box(shape)[::-1])
    return part.T != 0, at[::-1]


def read_region(example: Example, weak: Weak, shape: Triple = VOI_ZYX) -> Region:
    """Image and mask of a row, a part of that shape about the click.

    Parameters
    ----------
    weak : str
        Of what nobody annotated, `ignore` it or call it `background`: other slices of a row with
        supervision `weak_2d`; and, where a source annotates its targets alone
        (`annotation_scope`), what lies more than 10 mm outside the box about the lesion, for
        other lesions may be there.

    Raises
    ------
    CaseError
        A file is missing, unreadable, or no VOI; or the mask is empty.
    """
    region = read_image(example, shape)
    apart, flat = _partly(example.row, weak)
    # What is known depends on the whole mask, else the part is enough.
    label, at = _mask_part(example, VOI_ZYX if apart or flat else shape)
    if not label.any() and (apart or flat or not read_mask(example).any()):
        raise CaseError(Reason.EMPTY_MASK, f"{example.row['label_path']}: no lesion voxel")
    marks = region.marks
    if not (apart or flat):
        # In place: to make and free arrays for each item costs more than what is done to them.
        lesion = label.view(np.uint8)
        marks[at] |= np.multiply(lesion, np.uint8(LESION), out=lesion)
        marks |= np.uint8(SUPERVISED)
        return region
    whole = np.zeros(VOI_ZYX, bool)
    whole[at] = label
    box = _box(shape)
    marks |= whole[box] * np.uint8(LESION)
    marks[_known(whole, example.row, apart, flat)[box]] |= np.uint8(SUPERVISED)
    return region


def _partly(row: Row, weak: Weak) -> tuple[bool, bool]:
    """Whether of a mask only what is about the lesion, and only its annotated slices, are known."""
    if weak == "background":
        return False, False
    apart = row.get("annotation_scope") == AnnotationScope.TARGET
    return apart, row["supervision"] == Supervision.WEAK_2D


def _known(label: NDArray[np.bool_], row: Row, apart: bool, flat: bool) -> NDArray[np.bool_]:
    """Voxels of a VOI of which the mask says what they are."""
    known = np.zeros(VOI_ZYX, bool)
    known[_about(label, row) if apart else (slice(None),) * 3] = True
    if flat:
        annotated = np.zeros(VOI_ZYX, bool)
        annotated[_annotated(label, row)] = True
        known &= annotated
    return known


def _about(label: NDArray[np.bool_], row: Row) -> tuple[slice, ...]:
    """Box around a lesion of which the reader must have seen every voxel.

    Beside it may lie lesions that nobody annotated: they are neither lesion nor background.
    """
    box = []
    for axis, name in enumerate("zyx"):
        others = tuple(at for at in range(3) if at != axis)
        at = np.flatnonzero(label.any(axis=others))
        spacing: float = row[f"spacing_{name}_mm"] or 1.0  # type: ignore[literal-required]
        margin = int(np.ceil(_LOOKED_AT_MM / spacing))
        box.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + margin + 1))
    return tuple(box)


def image_of(region: Region, intensities: Intensities) -> NDArray[np.float32]:
    """CT normalisation: clip to the two percentiles, subtract the mean, divide by the deviation.

    Padded voxels get the value of the lower percentile, as they do in nnU-Net, which clips
    the sentinel up to it.
    """
    low, high = intensities.percentile_00_5, intensities.percentile_99_5
    image = np.clip(region.hu.astype(np.float32), np.float32(low), np.float32(high))
    image[(region.marks & VALID) == 0] = low
    image -= np.float32(intensities.mean)
    image /= np.float32(intensities.std)
    return image


def channels_of(region: Region, intensities: Intensities) -> NDArray[np.float32]:
    """Everything that enters the network, shape (channels, z, y, x).

    `image_of`; with a prompt also the HU above its level, in units of 60 HU and between -4 and 4,
    which look alike in every organ; then the prompt's channels.
    """
    image = image_of(region, intensities)
    if region.prompt is None:
        return image[None]
    above = (region.hu.astype(np.float32) - np.float32(region.level_hu)) / np.float32(_LEVEL_HU)
    above[(region.marks & VALID) == 0] = -_LEVELS
    return np.concatenate([image[None], np.clip(above, -_LEVELS, _LEVELS)[None], region.prompt])


class Fingerprint:
    """HU of lesion voxels, counted exactly; every VOI weighs the same, as in nnU-Net.

    Padding is never counted, nor are voxels that no mask calls lesion.
    """

    def __init__(self) -> None:
        self._share = np.zeros(_HIGHEST - _LOWEST + 1, np.float64)
        self.vois = 0

    def add(self, region: Region) -> None:
        """Count one VOI."""
        wanted = VALID | LESION
        hu = region.hu[(region.marks & wanted) == wanted]
        self.add_counts(*np.unique(hu, return_counts=True))

    def add_counts(self, hu: NDArray[np.integer], counts: NDArray[np.integer]) -> None:
        """Count one VOI, of which it is known how many voxels each HU has.

        Parameters
        ----------
        hu : ndarray of int, shape (n,)
            Within int16, each once; none for a VOI without lesion voxels.
        counts : ndarray of int, shape (n,)
        """
        if hu.size == 0:
            return
        self._share[hu.astype(np.int64) - _LOWEST] += counts / counts.sum()
        self.vois += 1

    def intensities(self) -> Intensities:
        """Statistics of what was counted, rounded to 1e-4 HU.

        Raises
        ------
        CaseError
            Nothing was counted.
        """
        if not self.vois:
            raise CaseError(Reason.EMPTY_MASK, "no lesion voxel in any VOI")
        values = np.arange(_LOWEST, _HIGHEST + 1, dtype=np.float64)
        share = self._share / self._share.sum()
        mean = float((share * values).sum())
        std = float(np.sqrt((share * (values - mean) ** 2).sum()))
        total = np.cumsum(share)
        low, middle, high = (
            float(values[np.searchsorted(total, q * (1 - 1e-12))]) for q in (0.005, 0.5, 0.995)
        )
        seen = values[share > 0]
        return Intensities(
            mean=round(mean, 4),
            std=max(round(std, 4), 1.0),
            median=middle,
            min=float(seen[0]),
            max=float(seen[-1]),
            percentile_00_5=low,
            # Lesions of a single value would leave nothing to clip to.
            percentile_99_5=high if high > low else low + 1,
        )


def _box(shape: Triple) -> tuple[slice, slice, slice]:
    """Part of a VOI, (z, y, x), of that shape about its centre."""
    z, y, x = (
        slice(at - size // 2, at - size // 2 + size)
        for at, size in zip(CENTRE_ZYX, shape, strict=True)
    )
    return z, y, x


def _annotated(label: NDArray[np.bool_], row: Row) -> NDArray[np.intp]:
    """Slices that somebody annotated: the key slice, else those with mask."""
    key = row["key_slice_voi"]
    if key is not None and 0 <= key < len(label) and label[key].any():
        return np.array([key])
    return np.flatnonzero(label.any(axis=(1, 2)))
