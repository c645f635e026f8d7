"""Validation and test: which patients are in which part, drawn once and stated.

As the challenge's own (paper, 3.1.4): by patient, so that nobody is in both. The rule is here and
nowhere else, and `Parts.stated` says what it gave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uls_data.errors import ManifestError
from uls_data.ids import draw
from uls_data.manifest.patients import patient_groups, patient_key
from uls_data.manifest.row import Column, Row

VALIDATION, TEST = "validation", "test"
COLUMNS: tuple[Column, ...] = (
    *("source", "case_id", "patient_id", "lesion_type", "long_axis_mm"),
    *("image_source_sha256", "image_voxels_sha256"),
)
_DRAWS = 1000
_SIZES = ("small", "medium", "large")
RULE = (
    f"by patient; of {_DRAWS} draws the one whose shares of each source, lesion type and size "
    "(thirds of all long axes) differ least, at most, from those of all lesions"
)


@dataclass(frozen=True)
class Parts:
    """Lesions of a validation and a test part.

    Attributes
    ----------
    validation : list of bool
        Of each lesion: whether it is of the validation part, else of the test part.
    stated : dict
        Rule, seed and counts of both parts, as JSON can hold it; no patient is named.
    """

    validation: list[bool]
    stated: dict[str, Any]


def draw_parts(lesions: Sequence[Row], size: int, seed: int = 0) -> Parts:
    """Draw the patients of a validation part of about so many lesions; the others are the test.

    The same lesions give the same parts, in whatever order they come.

    Parameters
    ----------
    lesions : sequence of dict
        A row of each lesion, with `COLUMNS`.
    size : int
        Lesions wanted for validation. Patients are taken whole, so it may be some more or fewer.

    Raises
    ------
    ManifestError
        One part would be empty.
    """
    group_of = patient_groups(lesions)
    groups = [group_of[patient_key(row)] for row in lesions]
    kinds, edges = _kinds(lesions)
    names = sorted(set(groups))
    number = {name: at for at, name in enumerate(names)}
    owner = np.array([number[group] for group in groups])
    if not 0 < size < len(lesions) or len(names) < 2:
        raise ManifestError(
            f"{size} of {len(lesions)} lesions of {len(names)} patients cannot be drawn for "
            "validation: both parts need a patient"
        )
    counts = np.bincount(owner, minlength=len(names))
    # Lesions of each patient by each kind of each property.
    tables = [
        np.stack([np.bincount(owner[of == kind], minlength=len(names)) for kind in np.unique(of)])
        for of in kinds.values()
    ]
    keys = np.array([draw(1 << 64, seed, "part", name) for name in names], np.uint64)
    best, found = np.inf, np.zeros(len(names), bool)
    for attempt in range(_DRAWS):
        # An odd factor turns random keys into others, without drawing one for every patient again.
        factor = np.uint64(2 * draw(1 << 63, seed, "part", attempt) + 1)
        taken = _filled(np.argsort(keys * factor, kind="stable").tolist(), counts, size)
        far = _distance(tables, taken)
        if far < best:
            best, found = far, taken
    chosen = found[owner]
    stated = {
        "rule": RULE,
        "seed": seed,
        "wanted": size,
        "size_edges_mm": edges,
        "largest_difference": round(best, 4),
        "parts": {
            part: _stated(owner[inside], {name: of[inside] for name, of in kinds.items()})
            for part, inside in ((VALIDATION, chosen), (TEST, ~chosen))
        },
    }
    return Parts(chosen.tolist(), stated)


def _filled(order: Sequence[int], counts: Any, size: int) -> Any:
    """Patients in their order, until so many lesions are reached; who would exceed them is left."""
    taken = np.zeros(len(counts), bool)
    total = 0
    for at in order:
        if total + counts[at] <= size:
            taken[at] = True
            total += int(counts[at])
        if total == size:
            break
    if not taken.any():
        taken[min(order, key=lambda at: counts[at])] = True
    return taken


def _distance(tables: Sequence[Any], taken: Any) -> float:
    """Largest difference of a kind's share in the part from that in all lesions."""
    found = 0.0
    for table in tables:
        part, whole = table[:, taken].sum(axis=1), table.sum(axis=1)
        found = max(found, float(np.abs(part / part.sum() - whole / whole.sum()).max()))
    return found


def _kinds(lesions: Sequence[Row]) -> tuple[dict[str, Any], list[float]]:
    """Source, type and size class of each lesion, and where size classes end, in mm."""
    sizes = np.array(
        [np.nan if row["long_axis_mm"] is None else row["long_axis_mm"] for row in lesions]
    )
    known = np.isfinite(sizes)
    edges = np.quantile(sizes[known], (1 / 3, 2 / 3)) if known.any() else np.zeros(2)
    names = np.array([*_SIZES, "unknown"])
    at = np.where(known, np.searchsorted(edges, np.nan_to_num(sizes)), len(_SIZES))
    return {
        "source": np.array([row["source"] for row in lesions]),
        "lesion_type": np.array([row["lesion_type"] or "unknown" for row in lesions]),
        "size": names[at],
    }, [round(float(edge), 3) for edge in edges]


def _stated(owner: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "patients": len(np.unique(owner)),
        "lesions": len(owner),
        **{name: dict(sorted(Counter(of.tolist()).items())) for name, of in kinds.items()},
    }
