"""Lesions that train a network which is told the lines: real ones, or such as a reader may draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.manifest.row import Row
from uls_data.network.plan import Prompt
from uls_data.network.prompt import (
    Drawn,
    Frame,
    as_drawn,
    drawn_of,
    framed,
    longest,
    simulated,
    spacing_needed,
)
from uls_data.network.voxels import LESION, Region
from uls_data.outcome import Reason

# Frames are stretched by up to 15 % each way in training, so that the size of a lesion in them is
# not taken for granted.
_STRETCH = 0.15


@dataclass
class Prompted:
    """Turns regions into what a prompted network trains on.

    Attributes
    ----------
    prompt : Prompt
    shape : tuple of 3 int
        Of the network's grid, z, y, x.
    """

    prompt: Prompt
    shape: Triple
    _drawn: dict[int, tuple[tuple[Drawn, ...], bool]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def needed(self, index: int, row: Row, region: Region) -> Region:
        """Part of a VOI that any frame about the lesion's lines can lie over.

        Lines of the row are taken, else they are measured on the lesion. The lines are kept by
        `index`, in indices of the part.

        Raises
        ------
        CaseError
            `not_measured`, `spacing_unknown` or `degenerate_lines`.
        """
        with self._lock:
            known = self._drawn.get(index)
        candidates, real = known or lines_of(row, region)
        boxes = [
            Frame.about(drawn, self.prompt, self.shape, (1 + _STRETCH,) * 3).box(region.hu.shape)
            for drawn in candidates
        ]
        z, y, x = (
            slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
            for axis in range(3)
        )
        with self._lock:
            self._drawn[index] = candidates, real
        hu, marks = region.hu[z, y, x].copy(), region.marks[z, y, x].copy()
        return Region(hu, marks, (z.start, y.start, x.start))

    def framed(self, index: int, part: Region, random: np.random.Generator) -> Region:
        """Cut what the network sees out of a part of `needed`, whose `click` is its corner."""
        with self._lock:
            candidates, real = self._drawn[index]
        drawn = candidates[0] if real else as_drawn(list(candidates), random)
        z, in_plane = np.exp(random.uniform(-_STRETCH, _STRETCH, 2))
        stretch = (float(z), float(in_plane), float(in_plane))
        frame = Frame.about(drawn, self.prompt, self.shape, stretch)
        return framed(part, frame.moved(part.click), self.prompt)


def lines_of(row: Row, region: Region) -> tuple[tuple[Drawn, ...], bool]:
    """Lines of a row, and True; else such as readers may draw across its lesion, and False.

    Raises
    ------
    CaseError
        `not_measured`, `spacing_unknown` or `degenerate_lines`.
    """
    if row["recist_points_vox"] is not None:
        return (drawn_of(row),), True
    candidates = simulated((region.marks & LESION) != 0, spacing_needed(row))
    if not candidates:
        raise CaseError(Reason.NOT_MEASURED, "too small for anybody to draw two lines on it")
    return tuple(candidates), False


def clean(row: Row, region: Region, prompt: Prompt, shape: Triple) -> Region:
    """Whole VOI as a prompted network sees it, by its own lines or the longest on its lesion."""
    candidates, _ = lines_of(row, region)
    frame = Frame.about(longest(list(candidates)), prompt, shape)
    return framed(region, frame, prompt)
