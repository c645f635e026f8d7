"""The slices about a measured one, in the chart of its lines.

A slice off the measured one is seen against the tissue inside and around the lines there, and
against the slices between both, so neither the organ nor the size of a lesion matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.ellipsoid import half_height_mm
from uls_data.pseudomask.bone import REACH, surroundings
from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.features import CHANNELS, RADII, Nodes, Tissue, features
from uls_data.pseudomask.jury import node_odds
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network

CHANNELS_3D = CHANNELS + 7
# Nothing is looked for further above or below the lines: in half heights of their ellipsoid.
FARTHEST = 1.7
# Thin slices are smoothed across, as wide as thick ones are.
_ACROSS_MM, _MOST_ACROSS = 0.7, 0.5
_MOST_ODDS = 8.0

Floats = NDArray[np.float64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Part:
    """Part of a volume about a measured slice.

    Attributes
    ----------
    box : tuple of 3 slice
        Where it lies in the volume, x, y, z.
    measured : KeySlice
        Lines in indices of the part; `Slab.of` takes the image from there.
    slice_vox : int
        Index z of their slice in the part.
    """

    box: Box
    measured: KeySlice
    slice_vox: int

    @staticmethod
    def about(
        measured: KeySlice, slice_vox: int, scan: Box, spacing_mm: tuple[float, float, float]
    ) -> Part | None:
        """Part that a slab needs; None where slice or lines lie beyond the scan.

        Parameters
        ----------
        measured : KeySlice
            Lines in indices of the volume.
        slice_vox : int
            Of their slice.
        scan : tuple of 3 slice
            Part of the volume that is not padding.
        """
        x, y, z = scan
        shape = (x.stop - x.start, y.stop - y.start)
        lines = measured.lines.moved(-float(x.start), -float(y.start))
        if lines.problem(shape) is not None:
            lines = lines.clipped(shape)  # a lesion may be larger than its VOI
        if not z.start <= slice_vox < z.stop or lines.problem() is not None:
            return None
        whole = replace(measured, hu=np.broadcast_to(np.int16(0), shape), lines=lines)
        crop, (left, back) = whole.crop(REACH)
        columns, rows = crop.hu.shape
        half = half_height_mm(lines, spacing_mm, measured.outward_vox)
        reach = int(FARTHEST * half / spacing_mm[2])
        low, high = max(z.start, slice_vox - reach), min(z.stop, slice_vox + reach + 1)
        left, back = x.start + left, y.start + back
        box = slice(left, left + columns), slice(back, back + rows), slice(low, high)
        return Part(box, replace(measured, lines=crop.lines), slice_vox - low)


@dataclass(frozen=True)
class Slab:
    """Slices about a measured one, no wider than what the jury looks at.

    Attributes
    ----------
    hu : ndarray, shape (x, y, z)
    corner : tuple of 2 int
        Where it starts (x, y) in what it was cut from.
    crop : KeySlice
        The measured slice.
    slice_vox : int
        Its index z.
    step : float
        From one slice to the next, in half heights of the lines' ellipsoid.
    """

    hu: NDArray[np.number]
    corner: tuple[int, int]
    crop: KeySlice
    slice_vox: int
    step: float

    @staticmethod
    def of(
        hu: NDArray[np.number],
        measured: KeySlice,
        slice_vox: int,
        spacing_mm: tuple[float, float, float],
    ) -> Slab:
        """Slab of a part of a scan, in whose indices the lines and the slice are.

        Raises
        ------
        CaseError
            `degenerate_lines`.
        """
        measured = replace(measured, hu=hu[:, :, slice_vox])
        measured.check_lines()
        crop, (x, y) = surroundings(measured)
        columns, rows = crop.hu.shape
        half = half_height_mm(measured.lines, spacing_mm, measured.outward_vox)
        width = min(_ACROSS_MM / spacing_mm[2], _MOST_ACROSS)
        smooth = ndimage.gaussian_filter1d(
            hu[x : x + columns, y : y + rows].astype(np.float32), width, axis=2, mode="nearest"
        )
        return Slab(smooth, (x, y), crop, slice_vox, spacing_mm[2] / half)

    @cached_property
    def chart(self) -> Chart:
        """Chart of the lines, for all slices."""
        return Chart.of(self.crop.lines, self.crop.outward_vox)

    def depth(self, z: int) -> float:
        """How far a slice is from the measured one, in half heights of the ellipsoid."""
        return abs(z - self.slice_vox) * self.step

    def features(self, network: Network) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Index of each slice, and its features, shape (rays, radii, `CHANNELS_3D`).

        Channels: those of the measured slice (`features`), against its tissue; depth; radius of
        the ellipsoid; mean and least log ratio of the slices from the measured one to this;
        the jury's log odds on the measured slice; change from the slice before; slice thickness.

        Parameters
        ----------
        network : Network
            The jury's, for the measured slice.
        """
        nodes = Nodes.of(self.chart)
        first = nodes.seen(self.hu[:, :, self.slice_vox])
        tissue = Tissue.of(*first)
        voted = node_odds(network, features(self.crop, self.chart))
        voted = np.clip(voted, -_MOST_ODDS, _MOST_ODDS) / (_MOST_ODDS / 2)
        places = tissue.places(nodes.arm)
        flat = np.ones_like(voted)
        own = tissue.log_ratio(first[1])
        for way in (-1, 1):
            before, total, least = first[1], own, own
            z = self.slice_vox if way == 1 else self.slice_vox - 1
            while 0 <= z < self.hu.shape[2] and self.depth(z) <= FARTHEST:
                sharp, smooth = nodes.seen(self.hu[:, :, z])
                ratio = tissue.log_ratio(smooth)
                count = abs(z - self.slice_vox) + 1
                if count > 1:
                    total, least = total + ratio, np.minimum(least, ratio)
                depth = self.depth(z)
                channels = [
                    *tissue.channels(sharp, smooth),
                    *places,
                    flat * depth,
                    flat * (np.hypot(RADII, depth) - 1),
                    total / count,
                    least,
                    voted,
                    np.clip((smooth - before) / tissue.spread, -4, 4) / 2,
                    flat * min(2.0, self.step),
                ]
                yield z, np.stack(channels, axis=-1).astype(np.float32)
                before = smooth
                z += way
