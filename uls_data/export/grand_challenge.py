"""The challenge's format: stacks of VOIs as its algorithm containers read them, and their truth.

One job of the challenge is one stack of at most 100 VOIs. For each job:

    job-001/input/images/stacked-3d-ct-lesion-volumes/job-001.mha   int16 HU, z = 128 N
    job-001/input/stacked-3d-volumetric-spacings.json               [[x, y, z], ...] in mm
    job-001/ground-truth/job-001.mha                                masks, uint8, same order
    job-001/ground-truth/stacked_spacing.json                       the spacings again
    job-001/ground-truth/single_sample.json                         first click of each lesion
    job-001/ground-truth/multi_sample.json                          pairs of clicks of each lesion
    job-001/ground-truth/vois.json                                  VOI names in order (ours)

With parts, jobs are in a folder for each `source_split`, such as `validation` and `test`.

`input` is what a container sees as /input; it answers with
/output/images/ct-binary-uls/job-001.mha. `multi_sample.json` holds, lesion by lesion, all pairs
[a, b, [x, y, z]] with the translation from click a to click b in mm (LPS), a last bit larger
where the challenge's floor would otherwise lose a voxel. It is empty without a second click.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError, ManifestError
from uls_data.export.common import best_of, failure
from uls_data.io import writing_to
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.choice import Choice, is_of, lesion_of, voi_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.parquet import row_key
from uls_data.manifest.row import Row
from uls_data.outcome import Flag, Reason
from uls_data.scoring.collection import MULTI, SINGLE, STACKED_SPACINGS, VOI_NAMES
from uls_data.scoring.consistency import offset_of
from uls_data.scoring.job import IMAGES, SPACINGS, write_json, writing
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import read_volume

STACK_SIZE = 100
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COLUMNS = tuple(
    dict.fromkeys(
        (
            *CHOICE_COLUMNS,
            *("voi_id", "affine", "image_path", "label_path", "image_voxels_sha256", "qc_flags"),
            "source_split",
        )
    )
)


@dataclass(frozen=True)
class ChallengeExport:
    """What was written.

    Attributes
    ----------
    jobs : list of Path
        Folder of each job.
    vois, lesions : int
    failed : list of dict
        VOIs that are in no stack: `voi_id`, `reason`, `detail`.
    with_truth : int
        Jobs with masks; a job has them if all its VOIs do.
    """

    jobs: list[Path]
    vois: int
    lesions: int
    failed: list[dict[str, Any]]
    with_truth: int


def export_grand_challenge(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    layer: str | None = None,
    stack_size: int = STACK_SIZE,
    parts: bool = False,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ChallengeExport:
    """Write VOIs as the stacks of the ULS23 challenge.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        Folder; jobs are `job-001`, ... in it, lesions in the order of the manifest's key, all
        clicks of a lesion in one job.
    layer : str, optional
        Of the masks; default: the preferred one of each VOI.
    stack_size : int
        VOIs of a job, at most.
    parts : bool
        Whether jobs lie in a folder for each `source_split`, as `uls-data split` draws them.

    Raises
    ------
    ManifestError, SourceError
        No VOI with an image, a lesion in no part, or the folder cannot be written.
    """
    lesions = _lesions(manifest, layer)
    largest = max(map(len, lesions))
    if largest > stack_size:
        raise ManifestError(
            f"a lesion has {largest} clicks, which must share a stack: --stack-size is {stack_size}"
        )
    if started is not None:
        started(sum(map(len, lesions)))
    jobs, failed = [], []
    vois = count = with_truth = 0
    with writing_to(to):
        for job, some in _jobs(Path(to), lesions, stack_size, parts):
            indices, bad, truth = _write_job(job, some, progress)
            failed += bad
            if indices:
                with_truth += truth
                vois += sum(map(len, indices))
                count += len(indices)
                jobs.append(job)
    return ChallengeExport(jobs, vois, count, failed, with_truth)


def _lesions(manifest: str | Path | Sequence[str | Path], layer: str | None) -> list[list[Example]]:
    """Masks lesion by lesion, one a VOI."""
    rows = list(read_examples(manifest, _COLUMNS))
    choice = Choice(example.row for example in rows)
    vois: dict[tuple[Any, ...], list[Example]] = {}
    for example in with_images(rows):
        row = example.row
        if not choice.counts(row) or row["image_path"] is None:
            continue
        if layer is None or is_of(row, [layer]):
            vois.setdefault(voi_of(row), []).append(example)
    if not vois:
        of = f" of layer {layer!r}" if layer is not None else ""
        raise ManifestError(f"no VOI{of} with an image; was it built with --labels-only?")
    lesions: dict[tuple[Any, ...], list[Example]] = {}
    for example in sorted(map(best_of, vois.values()), key=lambda example: row_key(example.row)):
        lesions.setdefault(lesion_of(example.row), []).append(example)
    return list(lesions.values())


def _jobs(
    to: Path, lesions: list[list[Example]], stack_size: int, parts: bool
) -> Iterator[tuple[Path, list[list[Example]]]]:
    """Folder and lesions of each job, part by part."""
    folders = {to: lesions}
    if parts:
        folders = {}
        for lesion in lesions:
            folders.setdefault(to / _part_of(lesion[0].row), []).append(lesion)
    for folder in sorted(folders):
        for number, batch in enumerate(_batches(folders[folder], stack_size), 1):
            yield folder / f"job-{number:03d}", batch


def _part_of(row: Row) -> str:
    part = row["source_split"]
    if part is None:
        raise ManifestError(
            f"{row['voi_id']} is in no part of the set (source_split): "
            "draw parts with `uls-data split`, a --rest among them, and build again"
        )
    if not _PART.fullmatch(part):
        raise ManifestError(f"{row['voi_id']}: source_split {part!r} is not a folder name")
    return str(part)


def _batches(lesions: list[list[Example]], size: int) -> Iterator[list[list[Example]]]:
    batch: list[list[Example]] = []
    for lesion in lesions:
        if batch and sum(map(len, batch)) + len(lesion) > size:
            yield batch
            batch = []
        batch.append(lesion)
    yield batch


def _write_job(
    job: Path, lesions: list[list[Example]], progress: Callable[[int], None] | None
) -> tuple[list[list[int]], list[dict[str, Any]], bool]:
    """Write one job; returns the stack indices of each lesion, what failed, and if it has truth."""
    rows = [example.row for lesion in lesions for example in lesion]
    wide = any(Flag.HU_INT32 in (row["qc_flags"] or ()) for row in rows)
    images = job / "input" / IMAGES / f"{job.name}.mha"
    masks = job / "ground-truth" / f"{job.name}.mha"
    has_truth = all(row["label_path"] is not None for row in rows)
    written: list[list[tuple[int, Row]]] = []
    failed: list[dict[str, Any]] = []
    with (
        writing(images, "int32" if wide else "int16") as image_stack,
        writing(masks, "uint8") as mask_stack,
    ):
        for lesion in lesions:
            found = []
            for example in lesion:
                row = example.row
                try:
                    hu = _voxels(example.image)
                    mask = (_voxels(example.label) != 0).astype(np.uint8) if has_truth else None
                    image_stack.put(hu)
                    if mask is not None:
                        mask_stack.put(mask)
                except CaseError as error:
                    failed.append(failure(example, error))
                else:
                    found.append((image_stack.count - 1, row))
                if progress is not None:
                    progress(1)
            if found:
                written.append(found)
    if not has_truth or not written:
        masks.unlink()
    if written:
        _write_lists(job, written)
    else:
        images.unlink()
    return [[at for at, _ in lesion] for lesion in written], failed, has_truth


def _voxels(path: Path) -> NDArray[Any]:
    volume = read_volume(path, path.parent)
    if volume.ras.shape != VOI_SHAPE or (volume.slope, volume.intercept) != (1.0, 0.0):
        raise CaseError(Reason.VOI_SHAPE, f"{path.name}: expected an unscaled VOI of {VOI_SHAPE}")
    return volume.ras


def _write_lists(job: Path, lesions: list[list[tuple[int, Row]]]) -> None:
    rows = [row for lesion in lesions for _, row in lesion]
    affines = [np.array(row["affine"], np.float64).reshape(4, 4) for row in rows]
    spacings = [geometry.spacing_mm(affine) for affine in affines]
    pairs = []
    for lesion in lesions:
        some = []
        for (a, _), (b, _) in combinations(lesion, 2):
            # Voxel i of VOI a is voxel i - offset of VOI b.
            shift = [-round(float(by)) for by in geometry.offset_vox(affines[a], affines[b])]
            some.append([a, b, list(offset_of(shift, spacings[a]))])
        if some:
            pairs.append(some)
    truth = job / "ground-truth"
    write_json(job / "input" / SPACINGS, spacings)
    write_json(truth / STACKED_SPACINGS, spacings)
    write_json(truth / SINGLE, [lesion[0][0] for lesion in lesions])
    write_json(truth / MULTI, pairs)
    write_json(truth / VOI_NAMES, [row["voi_id"] for row in rows])
