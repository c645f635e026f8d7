"""Lesions of a pair of image and mask."""

from __future__ import annotations

from uls_data.recipe.reader import VolumePairs
from uls_data.sources.masks import open_masks
from uls_data.sources.opening import Opened, Opening


def open_pair(opening: Opening, reader: VolumePairs) -> Opened:
    """Open one pair; see `open_masks`."""
    return open_masks(opening, opening.image(), reader.segments)
