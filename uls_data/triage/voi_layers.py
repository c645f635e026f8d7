"""All masks of a VOI: their outlines, and how much they share."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple
from uls_data.manifest.choice import rank
from uls_data.manifest.row import Row
from uls_data.triage.outline import outlines
from uls_data.triage.vois import read_mask, spacing_mm, words_of
from uls_data.voi import VOI_SHAPE


@dataclass(frozen=True)
class Layer:
    """One mask of a VOI.

    Attributes
    ----------
    row : dict
    mask : ndarray, bool
        The box that just holds the mask, RAS; empty where it cannot be read.
    start : tuple of 3 int
        VOI index of its first voxel.
    problem : str
        Why it cannot be read; empty where it can.
    """

    row: Row
    mask: NDArray[np.bool_]
    start: Triple
    problem: str

    @property
    def voxels(self) -> int:
        """How many voxels are lesion."""
        return int(self.mask.sum())

    def shared(self, other: Layer) -> int:
        """How many voxels are lesion in both."""
        low = np.maximum(self.start, other.start)
        ends = (np.add(one.start, one.mask.shape) for one in (self, other))
        high = np.minimum(*ends)
        if (high <= low).any():
            return 0
        parts = (
            one.mask[
                tuple(slice(a, b) for a, b in zip(low - one.start, high - one.start, strict=True))
            ]
            for one in (self, other)
        )
        return int(np.logical_and(*parts).sum())

    def dice(self, other: Layer) -> float | None:
        """Dice with another; None where one of them cannot be read."""
        if self.problem or other.problem:
            return None
        total = self.voxels + other.voxels
        return 1.0 if total == 0 else 2 * self.shared(other) / total


def layers_of(
    root: Path,
    rows: list[Row],
    judged: str,
    edited: tuple[NDArray[np.bool_], Triple] | None = None,
) -> dict[str, Any]:
    """Masks of a VOI as a page draws them.

    Parameters
    ----------
    root : Path
        Folder that no file may lie outside of.
    rows : list of dict
        One for each mask of the VOI.
    judged : str
        `layer` of the row that is judged, which comes first; then by preference.
    edited : (mask, start), optional
        Mask that the judged one was edited to, and where its box starts.

    Returns
    -------
    dict
        `layers`: name, outlines and size of each; `dice`: of each pair.
    """
    rows = sorted(rows, key=lambda row: (row["layer"] != judged, -rank(row), row["layer"]))
    found = [_read(root, row) for row in rows]
    if edited is not None and rows[0]["layer"] == judged:
        found[0] = Layer(rows[0], *edited, "")
    return {
        "layers": [
            {
                "layer": one.row["layer"],
                "parent_layer": one.row["parent_layer"],
                "annotator": one.row["annotator"],
                "judged": one.row["layer"] == judged,
                "voxels": one.voxels,
                "volume_mm3": one.voxels * prod(spacing_mm(one.row)),
                "outlines": outlines(one.mask, one.start, VOI_SHAPE) if one.mask.size else [{}] * 3,
                "problem": one.problem,
            }
            for one in found
        ],
        "dice": [[one.dice(other) for other in found] for one in found],
    }


def _read(root: Path, row: Row) -> Layer:
    try:
        mask, start, _ = read_mask(root, row)
    except (CaseError, ManifestError) as error:
        return Layer(row, np.zeros((0, 0, 0), bool), (0, 0, 0), words_of(error))
    return Layer(row, mask, start, "")
