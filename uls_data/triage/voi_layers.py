"""All masks of a VOI: their outlines, and how much they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple
from uls_data.manifest.row import Row
from uls_data.triage.outline import outlines
from uls_data.triage.vois import read_mask, spacing_mm, words_of
from uls_data.voi import VOI_SHAPE


def _nothing() -> NDArray[np.bool_]:
    return np.zeros((0, 0, 0), bool)


@dataclass(frozen=True)
class Layer:
    """One mask of a VOI.

    Attributes
    ----------
    name : str
    row : dict
        Of the manifest, with the voxel size.
    mask : ndarray, bool
        The box that just holds the mask, RAS; empty where it cannot be read.
    start : tuple of 3 int
        VOI index of its first voxel.
    problem : str
        Why it cannot be read; empty where it can.
    words : str
        What the page says of it beside its size.
    offered : str or None
        Where it can be taken instead of the judged one: the curator who edited it, or empty for
        the mask that was built.
    """

    name: str
    row: Row
    mask: NDArray[np.bool_] = field(default_factory=_nothing)
    start: Triple = (0, 0, 0)
    problem: str = ""
    words: str = ""
    offered: str | None = None

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

    def shown(self, *, judged: bool) -> dict[str, Any]:
        """Return what a page draws and says of it."""
        return {
            "layer": self.name,
            "annotator": self.words or self.row["annotator"],
            "judged": judged,
            "offered": self.offered,
            "voxels": self.voxels,
            "volume_mm3": self.voxels * prod(spacing_mm(self.row)),
            "outlines": outlines(self.mask, self.start, VOI_SHAPE) if self.mask.size else [{}] * 3,
            "problem": self.problem,
        }


def read_layer(root: Path, row: Row) -> Layer:
    """Read the mask of a row.

    Parameters
    ----------
    root : Path
        Folder that no file may lie outside of.
    """
    try:
        mask, start, _ = read_mask(root, row)
    except (CaseError, ManifestError) as error:
        return Layer(row["layer"], row, problem=words_of(error))
    return Layer(row["layer"], row, mask, start)


def compared(layers: list[Layer]) -> dict[str, Any]:
    """Masks of a VOI as a page draws them, the judged one first.

    Returns
    -------
    dict
        `layers`: name, outlines and size of each; `dice`: of each pair. Both are empty where there
        is one mask alone, which is the VOI's own.
    """
    if len(layers) < 2:
        return {"layers": [], "dice": []}
    return {
        "layers": [one.shown(judged=at == 0) for at, one in enumerate(layers)],
        "dice": [[one.dice(other) for other in layers] for one in layers],
    }
