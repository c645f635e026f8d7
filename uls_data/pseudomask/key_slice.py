"""What every 2D method sees: one slice, the lines on it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason

_SMALLEST_MARGIN_VOX = 12


@dataclass(frozen=True)
class KeySlice:
    """One axial slice and the lines that a reader drew on it.

    Attributes
    ----------
    hu : ndarray, shape (x, y), RAS, integer HU
    lines : Lines
        In indices of `hu`.
    spacing_mm : tuple of 2 float
        Along x and y.
    window_hu : tuple of 2 float, or None
        Low and high HU of the display window that came with the image.
    outward_vox : float
        How far beyond its end points an axis reaches by the source's convention: 0.5 where
        readers clicked corners of pixels, 0 where end points are centres of boundary pixels.
    identity : tuple of str or int
        What the random draws of a method depend on, and nothing else.
    of_bone : bool
        Whether the lesion is one of bone: then no bone is taken out (`uls_data.pseudomask.bone`).
    """

    hu: NDArray[Any]
    lines: Lines
    spacing_mm: tuple[float, float]
    window_hu: tuple[float, float] | None = None
    outward_vox: float = 0.0
    identity: tuple[str | int, ...] = ()
    of_bone: bool = False

    def check_lines(self) -> None:
        """Refuse lines of which no mask can be made.

        Raises
        ------
        CaseError
            `degenerate_lines`.
        """
        columns, rows = self.hu.shape
        problem = self.lines.problem((columns, rows))
        if problem is not None:
            raise CaseError(Reason.DEGENERATE_LINES, problem)

    def crop(self, reach: float = 1.5) -> tuple[KeySlice, tuple[int, int]]:
        """Cut the neighbourhood of the lines, and say where it starts in the slice.

        Parameters
        ----------
        reach : float
            Margin around the end points, as a share of the long axis.
        """
        margin = max(_SMALLEST_MARGIN_VOX, int(np.ceil(reach * self.lines.long_vox)))
        low = np.floor(self.lines.points.min(axis=0)).astype(int) - margin
        high = np.ceil(self.lines.points.max(axis=0)).astype(int) + margin + 1
        low = np.clip(low, 0, None)
        high = np.minimum(high, self.hu.shape)
        x, y = int(low[0]), int(low[1])
        hu = self.hu[x : high[0], y : high[1]]
        return replace(self, hu=hu, lines=self.lines.moved(-x, -y)), (x, y)


@dataclass(frozen=True)
class PseudoMask:
    """What a method made of a key slice.

    Attributes
    ----------
    mask : ndarray, shape (x, y), bool
        On the grid of the key slice; one 4-connected component.
    scores : tuple of (candidate, measure, value)
        Of every candidate that was looked at.
    predicted_dice : float or None
        What the Dice against a human mask is expected to be.
    uncertainty : float or None
        Disagreement of the candidates, 0 to 1.
    """

    mask: NDArray[np.bool_]
    scores: tuple[tuple[str, str, float], ...] = ()
    predicted_dice: float | None = None
    uncertainty: float | None = None
