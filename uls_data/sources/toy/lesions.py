"""Lesions of a mask array, on voxels of the recipe's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uls_data.io import sha256_file
from uls_data.lesions.instances import find_lesions
from uls_data.recipe.reader import Toy
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes import Volume


def open_arrays(opening: Opening, reader: Toy) -> Opened:
    """Open one pair of arrays, stored RAS."""

    def volume(path: Path | None) -> Volume:
        assert path is not None
        file = opening.raw / path
        affine = np.diag([*reader.spacing_mm, 1.0])
        return Volume(np.load(file), affine, 1.0, 0.0, sha256_file(file), ())

    mask = volume(opening.case.mask)
    scan = None if opening.labels_only else volume(opening.case.image)
    lesions = find_lesions(mask, opening.recipe, "mask")
    return opening.result(scan or mask, scan, lesions, label_sha256=mask.sha256)
