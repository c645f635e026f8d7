"""Which VOIs go into another program's dataset, and into which part and fold of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError
from uls_data.ids import draw
from uls_data.manifest.example import Example
from uls_data.manifest.patients import patient_key
from uls_data.network.examples import find_examples
from uls_data.outcome import Supervision

FOLDS = 5


@dataclass(frozen=True)
class Dataset:
    """VOIs to export, each with one mask.

    Attributes
    ----------
    train, heldout : list of Example
        Sorted by the manifest's key.
    folds : int
        Of cross-validation.
    left_out : Counter
        Rows that are neither, by reason.
    """

    train: list[Example]
    heldout: list[Example]
    folds: int
    left_out: Counter[str]

    def fold(self, example: Example) -> int:
        """Fold of a VOI: a function of its patient alone, whatever else is in the dataset."""
        return draw(self.folds, "fold", patient_key(example.row))


@dataclass(frozen=True)
class DatasetExport:
    """What was written.

    Attributes
    ----------
    path : Path
        The dataset's folder, or its list.
    train, heldout : int
        VOIs.
    failed : list of dict
        VOIs that are not in it: `voi_id`, `reason`, `detail`.
    left_out : Counter
        Rows that were not asked for, by reason.
    """

    path: Path
    train: int
    heldout: int
    failed: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def choose(
    manifests: str | Path | Sequence[str | Path],
    *,
    layers: Collection[str] = (),
    weak: bool = False,
    folds: int = FOLDS,
) -> Dataset:
    """Choose the VOIs to export, as training chooses them; held-out patients apart.

    Parameters
    ----------
    layers : collection of str
        Layers to take the mask from. Default: the best of each VOI.
    weak : bool
        Whether masks of one slice are taken.

    Raises
    ------
    ManifestError
        Nothing to train on, two VOIs of one name, or a fold without a patient.
    """
    found = find_examples(manifests, layers=layers)
    left_out = Counter(found.left_out)
    parts: list[list[Example]] = []
    for part in (found.train, found.heldout):
        full = [e for e in part if weak or e.row["supervision"] != Supervision.WEAK_2D]
        if len(full) < len(part):
            left_out["of one slice only (see --weak)"] += len(part) - len(full)
        parts.append(full)
    dataset = Dataset(parts[0], parts[1], folds, left_out)
    names = Counter(example.row["voi_id"] for part in parts for example in part)
    name, count = max(names.items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise ManifestError(f"{count} rows are called {name}: say --layer, or export them apart")
    if not dataset.train:
        raise ManifestError("no VOI to train on; masks of one slice are taken with --weak")
    filled = {dataset.fold(example) for example in dataset.train}
    if len(filled) < folds:
        raise ManifestError(
            f"{len({patient_key(e.row) for e in dataset.train})} patients leave "
            f"{folds - len(filled)} of {folds} folds empty; take fewer --folds"
        )
    return dataset
