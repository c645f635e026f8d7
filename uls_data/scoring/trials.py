"""Try 2D methods on lesions that people segmented: lines from the mask, then image and lines.

Every method is blind to the human mask. Lines are those of the challenge's measure
(`uls_data.measure.axes`) on the human mask's slice, once as they are and then with noise on every
end point (Gaussian, a share of the axis that the point belongs to), which all methods see alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, ManifestError
from uls_data.ids import draw
from uls_data.manifest.by_axis import padding_by_axis
from uls_data.manifest.choice import ANNOTATED, Choice, layer_of, lesion_of
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.row import Column, Row
from uls_data.measure import axes
from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.measure.surface import surface_dice
from uls_data.outcome import Supervision
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.methods import METHODS, pseudo_mask
from uls_data.tables import Record
from uls_data.volumes import read_volume

# Always beside what is asked for: a method that does not beat these is not worth its name.
BASELINES = ("quadrilateral", "ellipse", "grabcut")
SMALLEST_PIXELS = 25
JITTER = (0.05, 0.15)
_TRIES = 50
_NEEDED = (
    *CHOICE_COLUMNS,
    *("patient_id", "voi_id", "split", "image_path", "label_path", "image_voxels_sha256"),
    *("spacing_x_mm", "spacing_y_mm"),
    *(f"pad_{side}_{axis}_vox" for side in ("before", "after") for axis in "xyz"),
)


@dataclass(frozen=True)
class Trial:
    """What is tried on each lesion.

    Attributes
    ----------
    methods : tuple of str
    slices : str
        `longest`: the slice of the long axis; `all`: every slice of 25 lesion pixels or more.
    jitter : tuple of float
        Standard deviations of the noise, as shares of the axis: 5 %, and 15 %, by which the ends
        of two readers' axes differ.
    draws : int
        Noisy repetitions at each, after the one without noise; the same noise at each, scaled.
    seed : int
    """

    methods: tuple[str, ...]
    slices: str = "longest"
    jitter: tuple[float, ...] = JITTER
    draws: int = 3
    seed: int = 0


@dataclass(frozen=True)
class LesionTask:
    """One lesion, by its first VOI that counts."""

    example: Example

    @property
    def row(self) -> Row:
        """Of the manifest: the columns that are needed here."""
        return self.example.row


def score_lesions(
    manifests: str | Path | Sequence[str | Path],
    trial: Trial,
    pool: Pool,
    *,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Record], list[Record]]:
    """Score every lesion of fully annotated manifests.

    Returns
    -------
    scores : list of dict
        One a (lesion, slice, draw, method), sorted: identity columns, `slice_voi`, `draw` (0: lines
        as they are), `jitter`, `method`, `dice`, `nsd_1mm`, `long_error_vox`, `short_error_vox` (of
        the mask against the lines that the method saw), `long_axis_vox` (of the human mask),
        `predicted_dice`.
    failed : list of dict
        Lesions and slices that could not be scored, each with `reason` and `detail`.

    Raises
    ------
    ManifestError
        No row with image and full mask.
    """
    for method in trial.methods:
        if method not in METHODS:
            raise ManifestError(f"--method {method}: expected one of {', '.join(METHODS)}")
    tasks = full_lesions(manifests)
    if started is not None:
        started(len(tasks))
    scores: list[Record] = []
    failed: list[Record] = []
    score = partial(_score_lesion, trial=trial)
    for _, rows in run_tasks(score, tasks, pool, lost=lost_lesion):
        for row in rows:
            (failed if "reason" in row else scores).append(row)
        if progress is not None:
            progress(len(rows))
    key = ("source", "case_id", "lesion_index", "slice_voi", "draw", "method")
    for table in (scores, failed):
        table.sort(key=lambda row: tuple(str(row.get(k)).rjust(9) for k in key))
    return scores, failed


def full_lesions(manifests: str | Path | Sequence[str | Path]) -> list[LesionTask]:
    """Lesions of manifests that have an image and a full mask.

    Raises
    ------
    ManifestError
        There is none.
    """
    rows = list(read_examples(manifests, _NEEDED))
    choice = Choice(example.row for example in rows)
    full = [
        example
        for example in with_images(rows)
        if choice.counts(example.row)
        and layer_of(example.row) == ANNOTATED
        and example.row["supervision"] == Supervision.FULL
        and example.row["image_path"] is not None
        and example.row["label_path"] is not None
    ]
    tasks: dict[tuple[Any, ...], LesionTask] = {}
    for example in sorted(full, key=lambda example: example.row["sample_index"] or 0):
        tasks.setdefault(lesion_of(example.row), LesionTask(example))
    if not tasks:
        raise ManifestError(
            "no lesion with an image and a full mask; give a build of a fully annotated source, "
            "made without --labels-only"
        )
    return list(tasks.values())


def _identity(row: Row) -> Record:
    names: tuple[Column, ...] = (
        *("source", "case_id", "patient_id", "lesion_index", "lesion_type", "split"),
    )
    return {name: row[name] for name in names}


def lost_lesion(task: LesionTask, detail: str) -> list[Record]:
    """Row of a lesion whose worker died."""
    return [{**_identity(task.row), "reason": "worker_lost", "detail": detail}]


def _score_lesion(task: LesionTask, trial: Trial) -> list[Record]:
    rows: list[Record] = []
    try:
        for about, key_slice, truth in seen_slices(task.example, trial):
            rows += _score_slice(about, key_slice, truth, trial)
    except CaseError as error:
        rows.append(unread_lesion(task, error))
    return rows


def unread_lesion(task: LesionTask, error: CaseError) -> Record:
    """Row of a lesion that cannot be used."""
    return {**_identity(task.row), "reason": error.reason.value, "detail": error.detail}


def seen_slices(
    example: Example, trial: Trial
) -> Iterator[tuple[Record, KeySlice, NDArray[np.bool_]]]:
    """Slices of a lesion with its lines, clean and noisy, and the human mask of each.

    Yields what a row of scores starts with (identity, `slice_voi`, `draw`, `jitter`,
    `long_axis_vox`), what methods see, and what they do not: the largest component of the mask on
    that slice.

    Raises
    ------
    CaseError
        A file of the VOI cannot be read.
    """
    row = example.row
    volumes = [read_volume(path, path.parent) for path in (example.image, example.label)]
    # The padding is no tissue: no method may see it.
    sides = [(before or 0, after or 0) for before, after in padding_by_axis(row)]
    hu, marked = (
        volume.ras[
            tuple(
                slice(before, n - after)
                for (before, after), n in zip(sides, volume.ras.shape, strict=True)
            )
        ]
        for volume in volumes
    )
    spacing_mm = (row["spacing_x_mm"] or 1.0, row["spacing_y_mm"] or 1.0)
    for z in _slices(marked != 0, trial.slices):
        truth = largest_component(marked[:, :, z] != 0)
        clean = Lines.from_mask(truth)
        if clean is None or (trial.slices == "all" and truth.sum() < SMALLEST_PIXELS):
            continue
        about = {**_identity(row), "slice_voi": z + sides[2][0], "long_axis_vox": clean.long_vox}
        names = ("source", "case_id", "lesion_index", "slice_voi")
        noise = [(share, n) for share in trial.jitter for n in range(1, trial.draws + 1)]
        for at, (share, number) in enumerate([(0.0, 0), *noise]):
            identity = (*(about[name] for name in names), number)
            lines = clean
            if number:
                random = np.random.default_rng(draw(1 << 62, trial.seed, *identity))
                lines = _redrawn(clean, random, share, truth.shape)
            key_slice = KeySlice(
                np.asarray(hu[:, :, z]),
                lines,
                spacing_mm,
                identity=identity,
                of_bone=row["lesion_type"] == "bone",
            )
            yield {**about, "draw": at, "jitter": share}, key_slice, truth


def _redrawn(
    clean: Lines, random: np.random.Generator, share: float, shape: tuple[int, ...]
) -> Lines:
    """Lines with noise, drawn again where they lead off the slice, as no reader would have them."""
    for _ in range(_TRIES):
        lines = jittered(clean, random, share)
        if lines.problem((shape[0], shape[1])) is None:
            break
    return lines


def _slices(marked: NDArray[np.bool_], which: str) -> list[int]:
    if which == "longest":
        at = axes.measure(marked).slice_index
        return [] if at is None else [at]
    counts = marked.sum(axis=(0, 1))
    return [int(z) for z in np.flatnonzero(counts >= SMALLEST_PIXELS)]


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Largest 4-connected component of a mask of shape (x, y)."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=4)
    sizes = np.bincount(labels.ravel())[1:]
    result: NDArray[np.bool_] = labels == 1 + int(sizes.argmax()) if len(sizes) else mask
    return result


def _score_slice(
    about: Record, key_slice: KeySlice, truth: NDArray[np.bool_], trial: Trial
) -> list[Record]:
    rows = []
    for method in trial.methods:
        where = {**about, "method": method}
        try:
            made = pseudo_mask(method, key_slice)
        except CaseError as error:
            rows.append({**where, "reason": error.reason.value, "detail": error.detail})
            continue
        # As the lines were drawn: a short axis may be 5 degrees off perpendicular.
        found = Lines.from_mask(made.mask)
        lengths = (found.long_vox, found.short_vox) if found is not None else (0.0, 0.0)
        rows.append(
            {
                **where,
                "dice": dice(made.mask, truth),
                "nsd_1mm": surface_dice(made.mask, truth, key_slice.spacing_mm),
                "long_error_vox": lengths[0] - key_slice.lines.long_vox,
                "short_error_vox": lengths[1] - key_slice.lines.short_vox,
                "predicted_dice": made.predicted_dice,
            }
        )
    return rows
