"""Calibrate the jury's predicted Dice on your own fully annotated lesions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, ManifestError
from uls_data.io import write_bytes, writing_to
from uls_data.measure.overlap import dice
from uls_data.outcome import Reason
from uls_data.pseudomask.quality import Quality, calibration_error
from uls_data.pseudomask.quality import calibrate as fitted
from uls_data.scoring.ground import Scans
from uls_data.scoring.trials import (
    LesionTask,
    Trial,
    full_lesions,
    ground_of,
    lost_lesion,
    seen_slices,
    unread_lesion,
)
from uls_data.tables import Record

_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """What a calibration learned, and how well it predicts for patients that it has not seen.

    Attributes
    ----------
    quality : Quality
        Fitted on all lesions.
    masks, patients : int
    error : float
        Expected calibration error in cross-validation by patient.
    correlation : float
        Of predicted and true Dice there.
    failed : list of dict
        Lesions and noisy lines that could not be used, each with `reason` and `detail`.
    """

    quality: Quality
    masks: int
    patients: int
    error: float
    correlation: float
    failed: list[Record]


def calibrate(
    manifests: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    slices: str = "longest",
    jitter: float = 0.05,
    draws: int = 3,
    seed: int = 0,
    scans: Scans | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Learn how good the jury's masks are, from lesions with full masks.

    Lines are derived from the masks, clean and noisy, as in `evaluate_2d`. The result is a file
    that `build --calibration` takes.

    Parameters
    ----------
    manifests : path or sequence of paths
        Of builds with images and full masks.
    out : path
        JSON to write.
    slices, jitter, draws, seed
        See `uls_data.scoring.trials.Trial`.
    scans : RawScans, optional
        Scans to measure lesions on, where VOIs cut them.
    workers, scheduler
        As for `build`.

    Raises
    ------
    ManifestError
        Too few lesions with images, or too few patients.
    """
    trial = Trial(("jury",), slices, (jitter,), draws, seed)
    tasks = [task for task in full_lesions(manifests, scans) if task.may_have_image]
    if started is not None:
        started(len(tasks))
    rows: list[Record] = []
    failed: list[Record] = []
    pool = Pool(workers, scheduler)
    measured = partial(_measured, trial=trial)
    for _, found in run_tasks(measured, tasks, pool, lost=lost_lesion):
        for row in found:
            (failed if "reason" in row else rows).append(row)
        if progress is not None:
            progress(len(found))
    rows.sort(key=lambda row: (row["patient"], row["place"]))
    patients = sorted({row["patient"] for row in rows})
    if len(patients) < _FOLDS:
        raise ManifestError(
            f"{len(patients)} patients with a usable lesion; a calibration needs {_FOLDS}"
        )
    fold_of = {patient: at % _FOLDS for at, patient in enumerate(patients)}
    predicted, true = [], []
    try:
        for fold in range(_FOLDS):
            seen = [row for row in rows if fold_of[row["patient"]] != fold]
            unseen = [row for row in rows if fold_of[row["patient"]] == fold]
            quality = _fitted(seen)
            predicted += [quality.predicted(row["measures"]) for row in unseen]
            true += [row["dice"] for row in unseen]
        quality = _fitted(rows)
    except ValueError as error:
        raise ManifestError(f"{error}: give more lesions, or --slices all") from error
    about = f"{len(rows)} masks of {len(patients)} patients; lines drawn from their human masks"
    with writing_to(out, "--out"):
        write_bytes(Path(out), quality.to_json(source=about).encode())
    return Calibration(
        quality,
        len(rows),
        len(patients),
        calibration_error(predicted, true),
        float(np.corrcoef(predicted, true)[0, 1]),
        sorted(failed, key=lambda row: (row["source"], row["case_id"], row["detail"])),
    )


def _fitted(rows: Sequence[Record]) -> Quality:
    """Fit in which every patient counts alike."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["patient"]] = counts.get(row["patient"], 0) + 1
    return fitted(
        [row["measures"] for row in rows],
        [row["dice"] for row in rows],
        [1 / counts[row["patient"]] for row in rows],
    )


def _measured(task: LesionTask, trial: Trial) -> list[Record]:
    from uls_data.pseudomask.jury import judged

    rows: list[Record] = []
    try:
        ground = ground_of(task)
        if ground.image is None:
            raise CaseError(Reason.IMAGE_MISSING, "its VOI has no image: the jury needs one")
        for seen in seen_slices(task, ground, trial):
            about, (truth,) = seen.about, seen.truths.values()
            problem = seen.key_slice.lines.problem((truth.shape[0], truth.shape[1]))
            if problem is not None:  # noise can lead a line out of the slice
                error = CaseError(Reason.DEGENERATE_LINES, problem)
                rows.append({**about, **unread_lesion(task, error)})
                continue
            verdict, mask = judged(seen.key_slice)
            patient = about["patient_id"] or about["case_id"]
            place = (about["case_id"], about["lesion_index"], about["slice_voi"], about["draw"])
            rows.append(
                {
                    "patient": f"{about['source']}/{patient}",
                    "place": place,
                    "measures": verdict.measures,
                    "dice": dice(mask, truth),
                }
            )
    except CaseError as error:
        rows.append(unread_lesion(task, error))
    return rows
