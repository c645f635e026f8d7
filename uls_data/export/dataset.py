"""Which VOIs go into another program's dataset, and into which part and fold of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError, SourceError
from uls_data.export.common import check_name
from uls_data.ids import draw
from uls_data.manifest.example import Example
from uls_data.manifest.patients import patient_groups, patient_key
from uls_data.manifest.row import Row
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
    fold_of : dict of str to int
        Fold of each patient; patients who share a scan are in one.
    """

    train: list[Example]
    heldout: list[Example]
    folds: int
    left_out: Counter[str]
    fold_of: dict[str, int]

    def fold(self, example: Example) -> int:
        """Fold of a VOI, by its patient."""
        return self.fold_of[patient_key(example.row)]


def deal(patients: Iterable[Row], folds: int) -> dict[str, int]:
    """Fold of each patient: drawn by who they are alone, or dealt evenly where few are.

    Patients who share a scan get one fold (`patient_groups`).

    Raises
    ------
    ManifestError
        Fewer groups of patients than folds.
    """
    group_of = patient_groups(patients)
    groups = sorted(set(group_of.values()))
    drawn = {group: draw(folds, "fold", group) for group in groups}
    if len(groups) < folds:
        raise ManifestError(
            f"{len(groups)} patients (who share no scan) leave {folds - len(groups)} of {folds} "
            "folds empty; take fewer --folds"
        )
    if len(set(drawn.values())) < folds:
        shuffled = sorted(groups, key=lambda group: (draw(1 << 64, "deal", group), group))
        drawn = {group: at % folds for at, group in enumerate(shuffled)}
    return {patient: drawn[group] for patient, group in group_of.items()}


def priors(examples: Sequence[Example]) -> dict[tuple[Any, ...], Example]:
    """Previous study of each lesion that is followed, by `Example.identity` of the later one.

    Of one click, the first study before: of two of one day, the first case by name.
    """
    tracks: dict[tuple[Any, ...], dict[int, list[Example]]] = {}
    for example in examples:
        row = example.row
        if row["lesion_track_id"] is not None and row["study_day"] is not None:
            key = row["lesion_track_id"], row["sample_index"]
            tracks.setdefault(key, {}).setdefault(row["study_day"], []).append(example)
    return {
        later.identity: by_day[before][0]
        for by_day in tracks.values()
        for before, now in pairwise(sorted(by_day))
        for later in by_day[now]
    }


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
    certified: bool = False,
    weak: bool = False,
    folds: int = FOLDS,
) -> Dataset:
    """Choose the VOIs to export, as training chooses them; held-out patients apart.

    Parameters
    ----------
    layers : collection of str
        Layers to take the mask from. Default: the best of each VOI.
    certified : bool
        Of pseudo-masks take only those that a certificate keeps (`certify --manifest-out`).
    weak : bool
        Whether masks of one slice are taken.

    Raises
    ------
    ManifestError
        Nothing to train on, two VOIs of one name, a name that no file can have, or a fold without
        a patient.
    SourceError
        Fewer than two folds.
    """
    if folds < 2:
        raise SourceError(f"--folds {folds}: expected 2 or more")
    found = find_examples(manifests, layers=layers, certified=certified)
    left_out = Counter(found.left_out)
    parts: list[list[Example]] = []
    for part in (found.train, found.heldout):
        full = [e for e in part if weak or e.row["supervision"] != Supervision.WEAK_2D]
        if len(full) < len(part):
            left_out["of one slice only (see --weak)"] += len(part) - len(full)
        parts.append(full)
    names = Counter(example.row["voi_id"] for part in parts for example in part)
    for name in names:
        check_name(name, "VOI")
    name, count = max(names.items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise ManifestError(f"{count} rows are called {name}: say --layer, or export them apart")
    if not parts[0]:
        raise ManifestError("no VOI to train on; masks of one slice are taken with --weak")
    fold_of = deal((example.row for example in parts[0]), folds)
    return Dataset(parts[0], parts[1], folds, left_out, fold_of)
