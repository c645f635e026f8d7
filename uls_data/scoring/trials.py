"""Try 2D methods on lesions that people segmented: lines from the mask, then image and lines.

Every method is blind to the human mask. Lines are those that a reader draws across it
(`Lines.from_mask`), once as they are and then with noise on every end point (Gaussian, a share of
the axis that the point belongs to), which all methods see alike. Where several readers outlined a
lesion, lines across one's mask can be scored on the others' instead: noise as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, ManifestError
from uls_data.ids import draw
from uls_data.manifest.choice import ANNOTATED, Choice, is_reader, layer_of, lesion_of, voi_of
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.row import Column, Row
from uls_data.measure import axes
from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.measure.surface import surface_dice
from uls_data.outcome import Reason, Supervision
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.methods import METHODS, NEEDS_IMAGE, pseudo_mask
from uls_data.scoring.ground import Ground, Opener, Scans, voi_ground
from uls_data.tables import Record
from uls_data.volumes import read_volume

# Always beside what is asked for: a method that does not beat these is not worth its name.
BASELINES = ("quadrilateral", "ellipse", "grabcut")
# What a reader's own mask is called beside the methods: no mask can be expected to agree better.
READER = "reader"
SMALLEST_PIXELS = 25
JITTER = (0.05, 0.15)
_TRIES = 50
_NEEDED = (
    *CHOICE_COLUMNS,
    *("patient_id", "voi_id", "split", "image_path", "label_path", "image_voxels_sha256"),
    *("image_source_sha256", "spacing_x_mm", "spacing_y_mm", "long_axis_vox"),
    *("fraction_outside_voi", *(f"voi_origin_{axis}_vox" for axis in "xyz")),
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
    readers : bool
        Whether lines are drawn across each reader's mask and scored on it and on the others', in
        place of noise.
    """

    methods: tuple[str, ...]
    slices: str = "longest"
    jitter: tuple[float, ...] = JITTER
    draws: int = 3
    seed: int = 0
    readers: bool = False


@dataclass(frozen=True)
class LesionTask:
    """One lesion, by its first VOI that counts.

    Attributes
    ----------
    example : Example
        Of the annotated mask.
    readers : tuple of Example
        Of the masks of single readers, where they are wanted.
    opener : Opener or None
        Opens the scan; None where the VOI must do.
    """

    example: Example
    readers: tuple[Example, ...] = ()
    opener: Opener | None = None

    @property
    def row(self) -> Row:
        """Of the manifest: the columns that are needed here."""
        return self.example.row

    @property
    def may_have_image(self) -> bool:
        """Whether its VOI has an image, or its scan may have one."""
        return self.row["image_path"] is not None or self.opener is not None


def score_lesions(
    manifests: str | Path | Sequence[str | Path],
    trial: Trial,
    pool: Pool,
    *,
    scans: Scans | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Record], list[Record]]:
    """Score every lesion of fully annotated manifests.

    Where a lesion has no image, methods that need one are left out.

    Returns
    -------
    scores : list of dict
        One a (lesion, slice, draw, method, mask that scores), sorted: identity columns,
        `measured_on` (`scan` or `voi`), `fraction_outside_voi` (of the lesion),
        `long_axis_in_voi_vox`, `slice_voi`, `draw` (0: lines as they are), `jitter`, `drawn_by` and
        `scored_on` (layers of the mask that gave the lines, and of the one that scores), `method`,
        `dice`, `nsd_1mm`, `long_error_vox`, `short_error_vox` (of the mask against the lines that
        the method saw), `long_axis_vox` (of the mask that gave the lines), `predicted_dice`.
    failed : list of dict
        Lesions and slices that could not be scored, each with `reason` and `detail`.

    Raises
    ------
    ManifestError
        No row with a full mask, or no lesion with masks of two readers.
    """
    for method in trial.methods:
        if method not in METHODS:
            raise ManifestError(f"--method {method}: expected one of {', '.join(METHODS)}")
    tasks = full_lesions(manifests, scans, readers=trial.readers)
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
    key = (
        *("source", "case_id", "lesion_index", "slice_voi", "draw", "drawn_by", "scored_on"),
        "method",
    )
    for table in (scores, failed):
        table.sort(key=lambda row: tuple(str(row.get(k)).rjust(9) for k in key))
    return scores, failed


def full_lesions(
    manifests: str | Path | Sequence[str | Path],
    scans: Scans | None = None,
    *,
    readers: bool = False,
) -> list[LesionTask]:
    """Lesions of manifests that have a full mask; with `readers`, masks of two readers or more.

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
        and example.row["supervision"] == Supervision.FULL
        and example.row["label_path"] is not None
    ]
    by_voi: dict[tuple[Any, ...], tuple[Example, ...]] = {}
    for example in full if readers else ():
        if is_reader(example.row):
            voi = voi_of(example.row)
            by_voi[voi] = (*by_voi.get(voi, ()), example)
    tasks: dict[tuple[Any, ...], LesionTask] = {}
    for example in sorted(full, key=lambda example: example.row["sample_index"] or 0):
        several = by_voi.get(voi_of(example.row), ())
        if layer_of(example.row) != ANNOTATED or (readers and len(several) < 2):
            continue
        opener = scans(example.row) if scans is not None else None
        tasks.setdefault(lesion_of(example.row), LesionTask(example, several, opener))
    if not tasks:
        what = "masks of two readers" if readers else "a full mask"
        raise ManifestError(f"no lesion with {what}; give a build of a fully annotated source")
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
        ground = ground_of(task)
        methods = [m for m in trial.methods if ground.image is not None or m not in NEEDS_IMAGE]
        for seen in seen_slices(task, ground, trial):
            rows += seen.absent
            rows += _score_slice(seen, methods)
    except CaseError as error:
        rows.append(unread_lesion(task, error))
    return rows


def unread_lesion(task: LesionTask, error: CaseError) -> Record:
    """Row of a lesion that cannot be used."""
    return {**_identity(task.row), "reason": error.reason.value, "detail": error.detail}


def ground_of(task: LesionTask) -> Ground:
    """Lesion with its masks on its scan where that is available, else on its VOI.

    Raises
    ------
    CaseError
        A file cannot be read, or the scan is another.
    """
    layers = {layer_of(example.row): example for example in (task.example, *task.readers)}
    if task.opener is None:
        return voi_ground(task.example, layers)
    label = task.example.label
    ground = task.opener(read_volume(label, label.parent).ras)
    return replace(ground, masks={name: ground.masks[name] for name in layers})


@dataclass(frozen=True)
class Seen:
    """One slice of a lesion with its lines.

    Attributes
    ----------
    about : dict
        What a row of scores starts with.
    key_slice : KeySlice
        What methods see.
    truths : dict of ndarray, shape (x, y), bool
        What they do not: masks that score, by layer; of each the largest component on the slice.
    absent : list of dict
        Rows of layers that have nothing on the slice.
    """

    about: Record
    key_slice: KeySlice
    truths: dict[str, NDArray[np.bool_]]
    absent: list[Record]


def seen_slices(task: LesionTask, ground: Ground, trial: Trial) -> Iterator[Seen]:
    """Slices of a lesion with lines across its mask, clean and noisy, or across each reader's.

    Raises `below_minimum_size` after all slices if one of the masks has none.
    """
    row = task.row
    spacing_mm = (row["spacing_x_mm"] or 1.0, row["spacing_y_mm"] or 1.0)
    fixed = {
        **_identity(row),
        "measured_on": "scan" if ground.on_scan else "voi",
        "fraction_outside_voi": row["fraction_outside_voi"],
        "long_axis_in_voi_vox": row["long_axis_vox"],
    }
    layers = [name for name in ground.masks if not trial.readers or name != ANNOTATED]
    noise = [(share, n) for share in trial.jitter for n in range(1, trial.draws + 1)]
    without: list[str] = []
    for layer in layers:
        drawn = False
        for z in _slices(ground.masks[layer], trial.slices):
            marked = {name: ground.masks[name][:, :, z] for name in layers}
            truths = {name: largest_component(m) for name, m in marked.items() if m.any()}
            clean = Lines.from_mask(truths[layer])
            if clean is None or (trial.slices == "all" and truths[layer].sum() < SMALLEST_PIXELS):
                continue
            drawn = True
            about = {
                **fixed,
                "slice_voi": z + ground.first_slice_voi,
                "long_axis_vox": clean.long_vox,
                "drawn_by": layer,
            }
            absent = [
                {
                    **about,
                    "scored_on": name,
                    "reason": Reason.NO_LESION.value,
                    "detail": f"{name} marks nothing on the slice that {layer} measured",
                }
                for name in layers
                if name not in truths
            ]
            places = ("source", "case_id", "lesion_index", "slice_voi")
            for at, (share, number) in enumerate([(0.0, 0), *(() if trial.readers else noise)]):
                identity = (*(about[name] for name in places), number)
                lines = clean
                if number:
                    random = np.random.default_rng(draw(1 << 62, trial.seed, *identity))
                    lines = _redrawn(clean, random, share, truths[layer].shape)
                key_slice = KeySlice(
                    ground.hu(z),
                    lines,
                    spacing_mm,
                    identity=identity,
                    of_bone=row["lesion_type"] == "bone",
                )
                yield Seen({**about, "draw": at, "jitter": share}, key_slice, truths, absent)
        if not drawn:
            without.append(layer)
    if without:
        least = f"{SMALLEST_PIXELS} pixels" if trial.slices == "all" else "a long and a short axis"
        raise CaseError(Reason.BELOW_MINIMUM_SIZE, f"no slice of {', '.join(without)} has {least}")


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


def _score_slice(seen: Seen, methods: Sequence[str]) -> list[Record]:
    rows: list[Record] = []
    for method in methods:
        where = {**seen.about, "method": method}
        try:
            made = pseudo_mask(method, seen.key_slice)
        except CaseError as error:
            rows.append({**where, "reason": error.reason.value, "detail": error.detail})
            continue
        rows += _rows_of(where, made, seen, seen.truths)
    if len(seen.truths) > 1:
        # How well the readers agree: nothing made of one's lines should agree better.
        own = seen.about["drawn_by"]
        others = {name: truth for name, truth in seen.truths.items() if name != own}
        where = {**seen.about, "method": READER}
        rows += _rows_of(where, PseudoMask(seen.truths[own]), seen, others)
    return rows


def _rows_of(
    where: Record, made: PseudoMask, seen: Seen, truths: dict[str, NDArray[np.bool_]]
) -> list[Record]:
    # As the lines were drawn: a short axis may be 5 degrees off perpendicular.
    found = Lines.from_mask(made.mask)
    lengths = (found.long_vox, found.short_vox) if found is not None else (0.0, 0.0)
    lines = seen.key_slice.lines
    return [
        {
            **where,
            "scored_on": name,
            "dice": dice(made.mask, truth),
            "nsd_1mm": surface_dice(made.mask, truth, seen.key_slice.spacing_mm),
            "long_error_vox": lengths[0] - lines.long_vox,
            "short_error_vox": lengths[1] - lines.short_vox,
            "predicted_dice": made.predicted_dice,
        }
        for name, truth in truths.items()
    ]
