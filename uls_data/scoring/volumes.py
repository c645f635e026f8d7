"""The evaluation of 3-D masks: every VOI scored, every lesion's clicks compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Affine
from uls_data.io import atomic_write
from uls_data.outcome import Reason
from uls_data.scoring import aggregates, comparison
from uls_data.scoring.challenge import score
from uls_data.scoring.collection import Collection, Item, Pair, collect
from uls_data.scoring.consistency import (
    agreement,
    agreement_corrected,
    nearest_shift_of,
    offset_of,
    shift_of,
)
from uls_data.tables import Record, write_csv

Mask = NDArray[np.bool_]
_GROUPS: dict[str, Callable[[Record], str]] = {
    "all": lambda _row: "all",
    "lesion_type": lambda row: str(row["lesion_type"]),
    "source": lambda row: str(row["source"]),
}
_SAME_PLACE_VOX = 0.1


@dataclass(frozen=True)
class VolumeEvaluation:
    """Scores of one model's masks.

    Attributes
    ----------
    rows : list of dict
        One a VOI of the truth, by name: `voi_id`, `source`, `patient`, `lesion_type`, `sample`,
        `counts` (whether it is the click of its lesion that counts in the means), `status` (ok,
        missing, failed: both scored as an empty mask), `reason`, `detail`, the measures of
        `uls_data.scoring.challenge.score`, `consistency` and `consistency_corrected` (on one row
        of each lesion with several clicks, else null), `pairs` (how many were compared).
    unscored : list of dict
        VOIs whose truth cannot be read: `voi_id`, `reason`, `detail`.
    other : VolumeEvaluation or None
        Of the model to compare with.
    ellipsoid : VolumeEvaluation or None
        Of 3D pseudo-masks of measured lesions: of the ellipsoids of their lines, which are the
        least to beat. Lesions without lines, or without a spacing, are not in it.
    """

    rows: list[Record]
    unscored: list[Record]
    other: VolumeEvaluation | None = None
    ellipsoid: VolumeEvaluation | None = None

    @property
    def failed(self) -> list[Record]:
        """Rows without a readable mask, and VOIs without a readable truth."""
        return [row for row in self.rows if row["status"] != "ok"] + self.unscored

    def summary(self, by: str = "all") -> list[Record]:
        """Means by group: all, lesion_type or source (see `uls_data.scoring.aggregates`)."""
        return aggregates.summarise(self.rows, _GROUPS[by])

    def metrics(self) -> Record:
        """Return the scores in the shape of the challenge's `metrics.json`."""
        return aggregates.metrics(self.rows)

    def comparison(self, by: str = "all") -> list[Record]:
        """Differences from the other model, paired (see `uls_data.scoring.comparison`)."""
        others = [] if self.other is None else self.other.rows
        return comparison.compare(self.rows, others, _GROUPS[by])

    def gain_on_ellipsoid(self, by: str = "all") -> list[Record]:
        """Differences from the ellipsoids of the lines, paired; empty where there are none."""
        if self.ellipsoid is None:
            return []
        return comparison.compare(self.rows, self.ellipsoid.rows, _GROUPS[by])

    @cached_property
    def differences(self) -> list[Record]:
        """Sorted Dice differences from the other model; empty without one."""
        return [] if self.other is None else comparison.differences(self.rows, self.other.rows)

    def write(self, folder: Path, names: tuple[str, str] = ("this model", "the other")) -> None:
        """Write scores and means as CSV, `metrics.json`, and Figure A.11 where there are two."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"vois": self.rows, **{f"by_{name}": self.summary(name) for name in _GROUPS}}
        if self.other is not None:
            tables |= {f"comparison_by_{name}": self.comparison(name) for name in _GROUPS}
            tables["differences"] = self.differences
        if self.ellipsoid is not None:
            tables |= {"ellipsoid": self.ellipsoid.rows}
            tables |= {f"gain_on_ellipsoid_by_{by}": self.gain_on_ellipsoid(by) for by in _GROUPS}
        for name, rows in tables.items():
            write_csv(folder / f"{name}.csv", rows)
        with atomic_write(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(self.metrics(), indent=1) + "\n", encoding="utf-8")
        if self.other is not None:
            from uls_data.pictures.differences import draw_comparison

            values = [row["difference"] for row in self.differences]
            draw_comparison(values, names, folder / "comparison.png")


@dataclass(frozen=True)
class _Click:
    """One VOI of a lesion: what is true, what was found, whether it counts."""

    truth: Item
    found: Item | None
    counts: bool


@dataclass(frozen=True)
class _Task:
    """One lesion. `pairs` None: all its clicks, by their affines."""

    clicks: tuple[_Click, ...]
    pairs: tuple[Pair, ...] | None


def evaluate(
    pred: str | Path,
    truth: str | Path,
    *,
    against: str | Path | None = None,
    layer: str | None = None,
    against_layer: str | None = None,
    truth_layer: str | None = None,
    vois: Set[str] | None = None,
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> VolumeEvaluation:
    """Score 3-D masks with the challenge's measures and their corrected forms.

    Parameters
    ----------
    pred, truth, against : path
        Each a manifest, an OUT folder, a folder of NIfTI masks or the challenge's stack (see
        `uls_data.scoring.collection.collect`); matched by VOI name. A VOI of the truth without
        a mask is scored as an empty one. `against` is a second model to compare with. Where
        `pred` is a manifest of 3D pseudo-masks, the ellipsoids of its lines are scored, too.
    layer, truth_layer, against_layer : str, optional
        Of the masks, where there are several.
    vois : set of str, optional
        Only these VOIs of the truth, by name; held-out ones, for instance.
    workers : int
        Local processes; 0 for this one.

    Raises
    ------
    ManifestError, SourceError
        Nothing to score, or no VOI in common.
    """
    true = collect(truth, truth_layer)
    if vois is not None:
        true = replace(true, items={name: true.items[name] for name in true.items if name in vois})
    found = collect(pred, layer, truth=False)
    tasks = _tasks(true, found, pred)
    second = None
    if against is not None:
        second = _tasks(true, collect(against, against_layer, truth=False), against)
    drawn = {name: item for name, item in found.ellipsoids.items() if name in true.items}
    measured = replace(true, items={name: true.items[name] for name in true.items if name in drawn})
    least = _tasks(measured, Collection(drawn), pred) if drawn else None
    if started is not None:
        started(sum(len(each or ()) for each in (tasks, second, least)))
    other, ellipsoid = (
        None if each is None else VolumeEvaluation(*_scored(each, workers, progress))
        for each in (second, least)
    )
    return VolumeEvaluation(*_scored(tasks, workers, progress), other, ellipsoid)


def evaluate_ellipsoids(
    truth: str | Path, *, vois: Set[str] | None = None, workers: int = 0
) -> VolumeEvaluation:
    """Scores of the ellipsoids of lines drawn across the true masks themselves.

    What two lines say of lesions that nobody measured; a network that sees them does worse than a
    formula where it does not beat that. See `uls_data.scoring.least.across`.

    Parameters
    ----------
    truth, vois, workers
        As for `evaluate`.

    Raises
    ------
    ManifestError, SourceError
        Nothing to score.
    """
    true = collect(truth)
    names = [name for name in true.items if vois is None or name in vois]
    true = replace(true, items={name: true.items[name] for name in names})
    drawn = {name: replace(item, across=True) for name, item in true.items.items()}
    return VolumeEvaluation(*_scored(_tasks(true, Collection(drawn), truth), workers, None))


def _tasks(truth: Collection, pred: Collection, path: str | Path) -> list[_Task]:
    if not truth.items:
        raise ManifestError("none of the VOIs to score is in the truth")
    if not any(pred.partner(item) for item in truth.items.values()):
        one, other = next(iter(pred.items)), next(iter(truth.items))
        raise ManifestError(
            f"{path}: none of its masks has the name of a VOI of the truth; they are called like "
            f"{one}, the truth like {other}"
        )
    lesions: dict[Any, list[Item]] = {}
    joined: dict[str, tuple[Pair, ...]] = {}
    for pairs in truth.pairs or ():
        joined |= {voi_id: pairs for pair in pairs for voi_id in (pair.one, pair.other)}
    for item in truth.items.values():
        key = item.lesion if truth.pairs is None else joined.get(item.voi_id, item.voi_id)
        lesions.setdefault(key, []).append(item)
    tasks = []
    for items in lesions.values():
        items.sort(key=lambda item: (item.sample, item.voi_id))
        first = items[0].voi_id
        clicks = tuple(
            _Click(
                item,
                pred.partner(item),
                item.voi_id == first if truth.counted is None else item.voi_id in truth.counted,
            )
            for item in items
        )
        tasks.append(_Task(clicks, None if truth.pairs is None else joined.get(first, ())))
    return tasks


def _scored(
    tasks: list[_Task], workers: int, progress: Callable[[int], None] | None
) -> tuple[list[Record], list[Record]]:
    rows: list[Record] = []
    unscored: list[Record] = []
    for _, found in run_tasks(_score_lesion, tasks, Pool(workers), lost=_lost):
        for row in found:
            (rows if "dice" in row else unscored).append(row)
        if progress is not None:
            progress(len(found))
    return (
        sorted(rows, key=lambda row: str(row["voi_id"])),
        sorted(unscored, key=lambda row: str(row["voi_id"])),
    )


def _lost(task: _Task, detail: str) -> list[Record]:
    return [
        {"voi_id": click.truth.voi_id, "reason": Reason.WORKER_LOST.value, "detail": detail}
        for click in task.clicks
    ]


def _score_lesion(task: _Task) -> list[Record]:
    rows: list[Record] = []
    masks: dict[str, tuple[Mask | None, Affine | None]] = {}
    several = len(task.clicks) > 1
    for click in task.clicks:
        item = click.truth
        about: Record = {
            "voi_id": item.voi_id,
            "source": item.source,
            "patient": item.patient,
            "lesion_type": item.lesion_type,
            "sample": item.sample,
            "counts": click.counts,
            "status": "ok",
            "reason": None,
            "detail": None,
        }
        try:
            true, affine, true_stored = item.read()
        except CaseError as error:
            rows.append(
                {"voi_id": item.voi_id, "reason": error.reason.value, "detail": error.detail}
            )
            continue
        found = np.zeros(true.shape, bool)
        if click.found is None:
            about |= {"status": "missing", "reason": Reason.MASK_MISSING.value}
        else:
            try:
                found, true = _on_one_grid(click.found, true, affine, true_stored)
            except CaseError as error:
                about |= {
                    "status": "failed",
                    "reason": error.reason.value,
                    "detail": error.detail,
                }
        rows.append({**about, **score(found, true)})
        if several:
            masks[item.voi_id] = found if about["status"] == "ok" else None, affine
    pairs = task.pairs if task.pairs is not None else _pairs_of(masks)
    _add_consistency(rows, masks, pairs)
    return rows


def _on_one_grid(
    item: Item, true: Mask, affine: Affine | None, true_stored: Mask
) -> tuple[Mask, Mask]:
    """Both masks, voxel on voxel.

    In RAS where the headers agree on the place, or where one is a stack, which has no header
    of use; else index by index as stored, which is what the challenge compares, whatever the
    headers say.
    """
    found, own, stored = item.read()
    if found.shape == true.shape:
        if own is None or affine is None:
            return found, true
        off = geometry.affine_difference_mm(own, affine, true.shape)
        if off <= _SAME_PLACE_VOX * min(geometry.spacing_mm(affine)):
            return found, true
    if stored.shape != true_stored.shape:
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{item.path.name}: expected a mask of {true_stored.shape}, found {stored.shape}",
        )
    return stored, true_stored


def _pairs_of(masks: dict[str, tuple[Mask | None, Affine | None]]) -> Iterable[Pair]:
    for (one, (_, a)), (other, (_, b)) in combinations(masks.items(), 2):
        if a is None or b is None:
            continue
        spacing = geometry.spacing_mm(a)
        # Voxel i of a is voxel i - offset of b; both are cut from one grid, so it is whole.
        shift = [-round(float(by)) for by in geometry.offset_vox(a, b)]
        yield Pair(one, other, offset_of(shift, spacing), spacing)


def _add_consistency(
    rows: list[Record], masks: dict[str, tuple[Mask | None, Affine | None]], pairs: Iterable[Pair]
) -> None:
    """Put the mean over a lesion's pairs on the row that counts, or on the first."""
    scored = [row for row in rows if "dice" in row]
    for row in scored:
        row |= {"consistency": None, "consistency_corrected": None, "pairs": 0}
    found, right = [], []
    for pair in pairs:
        if pair.one in masks and pair.other in masks:
            (a, _), (b, _) = masks[pair.one], masks[pair.other]
            if a is None or b is None:  # no mask was predicted: nothing can agree
                found.append(0.0)
                right.append(0.0)
                continue
            found.append(agreement(a, b, shift_of(pair.offset_mm, pair.spacing_mm)))
            nearest = nearest_shift_of(pair.offset_mm, pair.spacing_mm)
            right.append(agreement_corrected(a, b, nearest))
    if found and scored:
        row = next((row for row in scored if row["counts"]), scored[0])
        row |= {
            "consistency": sum(found) / len(found),
            "consistency_corrected": sum(right) / len(right),
            "pairs": len(found),
        }
