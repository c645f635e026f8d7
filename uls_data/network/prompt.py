"""The lines as a network sees them: a grid about the lesion as they measure it, and channels.

A network that is told what a reader drew need not look for the lesion, nor learn its size: it
sees every lesion equally large, on a grid whose step is a share of its axes. What it says is
brought back to the VOI's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.recist import outward_of, recist_of
from uls_data.manifest.row import Row
from uls_data.measure.ellipsoid import ellipse_centre
from uls_data.measure.lines import Lines, jittered, lines_by_slice
from uls_data.network.line_channels import Told
from uls_data.network.plan import Prompt
from uls_data.network.voxels import LESION, SUPERVISED, VALID, Region
from uls_data.outcome import Reason

# A slice is one that a reader may choose where its long axis is at least this share of the longest.
_NEAR_LONGEST = 0.75
# Readers' ends move by up to 15 % of an axis: twice the largest standard deviation.
_LARGEST_JITTER = 0.075
# Thinner lesions are framed as if they were so wide, for their lines say little of their depth.
_THINNEST = 0.2
Zyx = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Drawn:
    """Lines on a slice of an array, and the size of its voxels.

    Attributes
    ----------
    lines : Lines
        In indices (x, y) of the array.
    slice_vox : int
        Along z.
    spacing_mm : tuple of 3 float
        x, y, z.
    """

    lines: Lines
    slice_vox: int
    spacing_mm: tuple[float, float, float]

    def moved(self, corner: Triple) -> Drawn:
        """Return the same lines in a part of the array that starts at `corner` (z, y, x)."""
        z, y, x = corner
        return replace(self, lines=self.lines.moved(-x, -y), slice_vox=self.slice_vox - z)

    def redrawn(self, random: np.random.Generator, share: float) -> Drawn:
        """Lines as another reader may draw them (see `jittered`); these where none can be drawn."""
        other = jittered(self.lines, random, share)
        return self if other.problem() else replace(self, lines=other)


def drawn_of(row: Row) -> Drawn:
    """Lines of a row, in indices of its VOI, as far as the lesion reaches.

    Raises
    ------
    CaseError
        `not_measured`, `spacing_unknown`, `degenerate_lines`.
    """
    found = recist_of(row)
    if found is None:
        raise CaseError(
            Reason.NOT_MEASURED, "nobody drew lines on this lesion; the model needs them"
        )
    problem = found[0].problem()
    if problem is not None:
        raise CaseError(Reason.DEGENERATE_LINES, problem)
    lines, at = found
    return Drawn(lines.lengthened(outward_of(row)), at, spacing_needed(row))


def spacing_needed(row: Row) -> tuple[float, float, float]:
    """Spacing (x, y, z) in mm.

    Raises
    ------
    CaseError
        `spacing_unknown`: lines say nothing of other slices then.
    """
    x, y, z = spacing_of(row)
    if x is None or y is None or z is None:
        raise CaseError(
            Reason.SPACING_UNKNOWN, "how far a lesion reaches beyond its slice is not known"
        )
    return float(x), float(y), float(z)


def simulated(lesion: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> list[Drawn]:
    """Lines that a reader may draw across a lesion, on each slice near the longest.

    Parameters
    ----------
    lesion : ndarray, shape (z, y, x), bool

    Returns
    -------
    list of Drawn
        By slice; empty where the lesion has no slice of some extent.
    """
    found = lines_by_slice(lesion.T)
    most = max((lines.long_vox for lines in found.values()), default=0.0)
    return [
        Drawn(lines, at, spacing_mm)
        for at, lines in found.items()
        if lines.long_vox >= _NEAR_LONGEST * most
    ]


def longest(candidates: list[Drawn]) -> Drawn:
    """Candidate with the longest axis, the first of equals."""
    return max(candidates, key=lambda drawn: drawn.lines.long_vox)


def as_drawn(candidates: list[Drawn], random: np.random.Generator) -> Drawn:
    """One of the candidates, as a reader may draw it: ends moved by 0 to 15 %."""
    chosen = candidates[int(random.integers(len(candidates)))]
    return chosen.redrawn(random, float(random.uniform(0, _LARGEST_JITTER)))


@dataclass(frozen=True)
class Frame:
    """A grid about the lines, its middle (n // 2) on the key slice at the ellipse's centre.

    Attributes
    ----------
    drawn : Drawn
    centre : tuple of 3 float
        Index (z, y, x) in the array.
    step : tuple of 3 float
        Array's voxels from one point of the grid to the next, z, y, x.
    shape : tuple of 3 int
        z, y, x.
    """

    drawn: Drawn
    centre: Zyx
    step: Zyx
    shape: Triple

    @staticmethod
    def about(drawn: Drawn, prompt: Prompt, shape: Triple, stretch: Zyx = (1, 1, 1)) -> Frame:
        """Grid whose extent is the prompt's share of the axes, times `stretch`."""
        long_mm, short_mm = drawn.lines.length_mm(drawn.spacing_mm)
        mean_mm = float(np.sqrt(long_mm * max(short_mm, _THINNEST * long_mm)))
        extent_mm = (
            prompt.extent_z * mean_mm,
            prompt.extent_in_plane * long_mm,
            prompt.extent_in_plane * long_mm,
        )
        z, y, x = (
            share * mm / n / voxel
            for share, mm, n, voxel in zip(
                stretch, extent_mm, shape, drawn.spacing_mm[::-1], strict=True
            )
        )
        centre_x, centre_y = ellipse_centre(drawn.lines).tolist()
        centre = (float(drawn.slice_vox), centre_y, centre_x)
        return Frame(drawn, centre, (z, y, x), shape)

    @property
    def middle(self) -> Triple:
        """Voxel (z, y, x) of the array nearest to the ellipse's centre on the key slice."""
        z, y, x = (round(at) for at in self.centre)
        return z, y, x

    def moved(self, corner: Triple) -> Frame:
        """Return the same grid over a part of the array that starts at `corner` (z, y, x)."""
        z, y, x = (c - at for c, at in zip(self.centre, corner, strict=True))
        return replace(self, drawn=self.drawn.moved(corner), centre=(z, y, x))

    def box(self, whole: Triple) -> Box:
        """Part of an array that the grid lies over, two voxels more on each side."""
        z, y, x = (
            slice(
                int(np.clip(np.floor(c - s * (n // 2)) - 2, 0, most)),
                int(np.clip(np.ceil(c + s * (n - 1 - n // 2)) + 3, 0, most)),
            )
            for c, s, n, most in zip(self.centre, self.step, self.shape, whole, strict=True)
        )
        return z, y, x

    def sampled(self, array: NDArray[Any], order: int, outside: float) -> NDArray[np.float32]:
        """Array (z, y, x) at the points of the grid.

        Where the grid is coarser than the array, linear samples are means over its step.
        """
        values = array.astype(np.float32)
        if order:
            widths = [max(1, int(step)) for step in self.step]
            if max(widths) > 1:
                values = ndimage.uniform_filter(values, widths, mode="nearest")
        offset = [
            c - s * (n // 2) for c, s, n in zip(self.centre, self.step, self.shape, strict=True)
        ]
        found: NDArray[np.float32] = ndimage.affine_transform(
            values, self.step, offset, self.shape, np.float32, order, mode="constant", cval=outside
        )
        return found

    def spread(self, values: NDArray[Any], box: Box) -> NDArray[np.float32]:
        """Linear interpolation of values on the grid at the voxels of a box of the array."""
        steps = [1 / step for step in self.step]
        offset = [
            n // 2 + (part.start - c) / s
            for part, c, s, n in zip(box, self.centre, self.step, self.shape, strict=True)
        ]
        shape = tuple(part.stop - part.start for part in box)
        found: NDArray[np.float32] = ndimage.affine_transform(
            values.astype(np.float32), steps, offset, shape, np.float32, 1, mode="nearest"
        )
        return found


def framed(region: Region, frame: Frame, prompt: Prompt) -> Region:
    """Region on the grid of a frame, with the channels of the prompt (`Told.channels`)."""
    box = frame.box(region.hu.shape)
    corner: Triple = tuple(part.start for part in box)
    near = frame.moved(corner)
    hu, marks = region.hu[box], region.marks[box]
    lowest = float(hu.min()) if hu.size else 0.0
    valid = near.sampled(marks & VALID, 0, 0) > 0
    lesion = near.sampled((marks & LESION) != 0, 1, 0) >= 0.5
    supervised = near.sampled((marks & SUPERVISED) != 0, 0, 1) > 0
    fine = near.sampled(hu, 1, lowest)
    z, y, x = frame.shape
    spacing = tuple(s * mm for s, mm in zip(near.step[::-1], near.drawn.spacing_mm, strict=True))
    whole = np.rint(fine).astype(np.int16)
    told = Told(_on_grid(near), spacing, whole, valid)  # type: ignore[arg-type]
    inside = fine[z // 2][told.plane & valid[z // 2]]
    return Region(
        whole,
        valid * np.uint8(VALID) + lesion * np.uint8(LESION) + supervised * np.uint8(SUPERVISED),
        (z // 2, y // 2, x // 2),
        prompt=told.channels(prompt.channels),
        level_hu=float(np.median(inside)) if inside.size else 0.0,
    )


def _on_grid(frame: Frame) -> Lines:
    """Lines in indices (x, y) of the frame's grid."""
    centre, step, middle = (
        np.array([pair[2], pair[1]], float)
        for pair in (frame.centre, frame.step, [n // 2 for n in frame.shape])
    )
    return Lines.of((frame.drawn.lines.points - centre) / step + middle)
