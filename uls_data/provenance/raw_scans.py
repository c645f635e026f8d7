"""Scans that VOIs were cut from, with the whole lesion on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.choice import ANNOTATED
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe
from uls_data.scoring.ground import Ground, Opener
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import find_cases
from uls_data.sources.open import open_case
from uls_data.sources.opening import Opened
from uls_data.voi import box_at, cut_label, hounsfield


class RawScans:
    """Raw archives, for what measures lesions on their scans (`evaluate_2d`, `calibrate`).

    Parameters
    ----------
    raw : mapping of str to path
        Folder of the raw data, by the recipe (name or file) that the VOIs were built with.

    Raises
    ------
    RecipeError, SourceError
        No such recipe, or nothing of its source in the folder.
    """

    def __init__(self, raw: Mapping[str, str | Path]) -> None:
        self._sources: dict[str, tuple[str, Path, dict[str, CaseFiles]]] = {}
        for name, folder in raw.items():
            recipe, root = load_recipe(name).recipe, Path(folder).absolute()
            cases = find_cases(recipe, root, need_images=False)
            self._sources[recipe.source] = name, root, {c.case_id: c for c in cases}

    def __call__(self, row: Row) -> Opener | None:
        """Return what opens the scan of a row's lesion; None where it is not below a root.

        A corrected mask belongs to its VOI only, and so does one whose place in the scan the row
        does not tell.
        """
        recipe, root, cases = self._sources.get(row["source"], ("", Path(), {}))
        case, origin = cases.get(row["case_id"]), origin_of(row)
        x, y, z = origin
        if case is None or x is None or y is None or z is None or row["layer"] != ANNOTATED:
            return None
        wanted = row["lesion_index"], row["image_source_sha256"], (x, y, z)
        return partial(_ground, recipe, root, case, wanted)


def _ground(
    recipe: str,
    root: Path,
    case: CaseFiles,
    wanted: tuple[int | None, str | None, Triple],
    label: NDArray[Any],
) -> Ground:
    lesion_index, image_sha256, origin = wanted
    opened = _opened(recipe, root, case)
    if None not in (there := {opened.image_sha256, image_sha256}) and len(there) > 1:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{case.image} is another file than the one that the VOI was cut from; give --raw the "
            "folder that the VOIs were built from",
        )
    shape = opened.reference.ras.shape
    lesion = next((found for found in opened.lesions if found.index == lesion_index), None)
    if lesion is None or not np.array_equal(
        cut_label(lesion.voxels, box_at(origin, shape)) != 0, label != 0
    ):
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"lesion {lesion_index} of the raw data is not the mask of its VOI; give --raw the "
            "folder and the recipe that the VOIs were built from",
        )
    layers = {ANNOTATED: lesion.voxels, **dict(lesion.readers)}
    heights = np.concatenate([voxels[:, 2] for voxels in layers.values()])
    low, high = int(heights.min()), int(heights.max()) + 1
    masks = {}
    for name, voxels in layers.items():
        masks[name] = np.zeros((shape[0], shape[1], high - low), bool)
        masks[name][voxels[:, 0], voxels[:, 1], voxels[:, 2] - low] = True
    image = None if opened.scan is None else partial(_hu, opened, low)
    return Ground(masks, low - origin[2], on_scan=True, image=image)


def _hu(opened: Opened, first: int, slice_index: int) -> NDArray[np.integer]:
    assert opened.scan is not None
    stored = opened.scan.ras[:, :, first + slice_index]
    return hounsfield(stored, opened.scan.slope, opened.scan.intercept)[0]


# Lesions of one case follow each other.
@lru_cache(maxsize=1)
def _opened(recipe: str, root: Path, case: CaseFiles) -> Opened:
    if case.problem is not None:
        raise CaseError(*case.problem)
    return open_case(case, load_recipe(recipe).recipe, root, labels_only=False)
