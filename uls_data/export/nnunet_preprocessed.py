"""nnU-Net v2's preprocessed dataset, from which `nnUNetv2_train` starts.

DatasetNNN_NAME/PLAN.json, dataset.json, dataset_fingerprint.json, splits_final.json
DatasetNNN_NAME/PLAN_3d_fullres/<voi_id>.b2nd, <voi_id>_seg.b2nd, <voi_id>.pkl
DatasetNNN_NAME/gt_segmentations/<voi_id>.nii.gz
DatasetNNN_NAME/uls-data.jsonl                  what each VOI was made of
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, SourceError
from uls_data.export.common import failure, refuse_others
from uls_data.export.dataset import Dataset
from uls_data.export.nnunet_case import pickled, preprocessed, shape_of
from uls_data.export.nnunet_files import (
    ENDING,
    dataset_json,
    image_of,
    label_of,
    put_label,
    splits_json,
    voxel_size,
    write_json,
)
from uls_data.export.sample import affine_of
from uls_data.geometry import Triple
from uls_data.ids import hash_of
from uls_data.io import sha256_voxels, write_bytes
from uls_data.io.journal import Journal
from uls_data.manifest.example import Example
from uls_data.manifest.opened import validity
from uls_data.network.nnunet_model import CONFIGURATION, nnunet_plans
from uls_data.network.plan import Intensities, Plan
from uls_data.network.voxels import Fingerprint
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE
from uls_data.volumes.b2nd import SUFFIX, check_blosc2, packed_channels

RECORD, TRUTH = "uls-data.jsonl", "gt_segmentations"
_DATASET, _SPLITS, _FINGERPRINT = _JSON = ("dataset", "splits_final", "dataset_fingerprint")
_FORMAT = "uls-data nnunet 1"
_INT16 = np.iinfo(np.int16)
# HU as the file has them, as int64 where they are scaled, as float32; label, seg; the packed data.
_BYTES_PER_VOXEL = 32


@dataclass(frozen=True)
class _Task:
    """One VOI to measure or to write."""

    example: Example
    folder: Path
    cases: str
    weak: str
    link: bool
    intensities: Intensities | None = None

    @property
    def name(self) -> str:
        return str(self.example.row["voi_id"])

    def files(self) -> dict[str, Path]:
        """Path of each file of the VOI, by its path in the dataset's folder."""
        names = [f"{self.cases}/{self.name}{end}" for end in (SUFFIX, f"_seg{SUFFIX}", ".pkl")]
        names.append(f"{TRUTH}/{self.name}{ENDING}")
        return {name: self.folder / name for name in names}


@dataclass(frozen=True)
class _Measured:
    """What all VOIs must be asked for before one can be written; or why one cannot be read."""

    voxels: str = ""
    spacing: list[float] = field(default_factory=list)
    shape: Triple = (0, 0, 0)
    hu: NDArray[np.int16] | None = None
    counts: NDArray[np.int32] | None = None
    failed: dict[str, Any] | None = None


def export_preprocessed(
    dataset: Dataset,
    folder: Path,
    plan: Plan,
    *,
    weak: str,
    link: bool,
    workers: int,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> tuple[list[Example], list[dict[str, Any]]]:
    """Write the VOIs to train on; see `export_nnunet`.

    Returns
    -------
    written : list of Example
    failed : list of dict
        `voi_id`, `reason`, `detail`.
    """
    _check(plan, dataset)
    check_blosc2()
    cases = f"{plan.name}_{CONFIGURATION}"
    tasks = [_Task(example, folder, cases, weak, link) for example in dataset.train]
    _refuse_others(tasks, folder, cases)
    measured = _measure(tasks, Pool(workers), started, progress)
    failed = [one.failed for one in measured.values() if one.failed is not None]
    readable = [task for task in tasks if measured[task.name].failed is None]
    if not readable:
        return [], _sorted(failed)
    fingerprint = _fingerprint([measured[task.name] for task in readable])
    intensities = fingerprint if plan.intensities == "fingerprint" else plan.intensities
    readable = [replace(task, intensities=intensities) for task in readable]
    journal = Journal(folder / RECORD)
    lines = {}
    for task, line in _cases(readable, journal, measured, Pool(workers), started, progress):
        if "inputs" in line:
            lines[task.name] = line
        else:
            failed.append(line)
    for task in tasks:
        if task.name not in lines:
            # nnU-Net takes every case that it finds.
            for path in task.files().values():
                path.unlink(missing_ok=True)
    written = [task for task in readable if task.name in lines]
    examples = [task.example for task in written]
    of_written = [measured[task.name] for task in written]
    contents = {
        _SPLITS: splits_json(dataset, examples),
        _DATASET: dataset_json(folder.name.partition("_")[2], weak, len(written)),
        _FINGERPRINT: _fingerprint_json(of_written, fingerprint),
        plan.name: _plans(plan, intensities, folder.name, of_written),
    }
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
    journal.rewrite(lines[task.name] for task in written)
    return examples, _sorted(failed)


def _sorted(failed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(failed, key=lambda one: str(one["voi_id"]))


def _check(plan: Plan, dataset: Dataset) -> None:
    """Refuse what nnU-Net has no form for."""
    if plan.prompt is not None:
        raise SourceError(
            f"--plan {plan.name}: its network is given more than the image, which nnU-Net cannot "
            "do; take a plan without a prompt"
        )
    if plan.name in _JSON:
        raise SourceError(f"--plan: {plan.name}.json is another file of nnU-Net; rename the plan")
    for example in dataset.train:
        name = str(example.row["voi_id"])
        if name.endswith("_seg"):
            raise SourceError(f"{name}: nnU-Net takes names that end with _seg for labels")


def _refuse_others(tasks: Sequence[_Task], folder: Path, cases: str) -> None:
    names = {path.name for task in tasks for path in task.files().values()}
    for part in (cases, TRUTH):
        refuse_others(folder / part, "*", names)


def _measure(
    tasks: Sequence[_Task],
    pool: Pool,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> dict[str, _Measured]:
    if started is not None:
        started(len(tasks))
    found = {}
    for task, one in run_tasks(_look, tasks, pool, lost=_lost_look, need_bytes=_need_bytes):
        found[task.name] = one
        if progress is not None:
            progress(1)
    return found


def _cases(
    tasks: Sequence[_Task],
    journal: Journal,
    measured: dict[str, _Measured],
    pool: Pool,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> Iterator[tuple[_Task, dict[str, Any]]]:
    """Write what is not there yet; yields the journal's line of each VOI, or why it failed."""
    inputs = {task.name: _inputs(task, measured[task.name]) for task in tasks}
    kept = _written(tasks, journal, inputs)
    missing = [task for task in tasks if task.name not in kept]
    yield from ((task, kept[task.name]) for task in tasks if task.name in kept)
    if started is not None:
        started(len(missing))
    for task, failed in run_tasks(_write, missing, pool, lost=_lost, need_bytes=_need_bytes):
        if failed is None:
            sizes = {name: path.stat().st_size for name, path in task.files().items()}
            line = {"voi": task.name, "inputs": inputs[task.name], "files": sizes}
            journal.add(line)
            yield task, line
        else:
            yield task, failed
        if progress is not None:
            progress(1)


def _look(task: _Task) -> _Measured:
    example = task.example
    try:
        hu, label = image_of(example), label_of(example, task.weak)
        affine = affine_of(example)
    except CaseError as error:
        return _Measured(failed=failure(example, error))
    of_lesion = hu[(label == 1) & validity(hu, example.row)]
    values, counts = np.unique(np.clip(of_lesion, _INT16.min, _INT16.max), return_counts=True)
    voxels = [sha256_voxels(hu), sha256_voxels(label), repr(affine.tolist())]
    return _Measured(
        hash_of(voxels),
        voxel_size(affine),
        shape_of(hu),
        values.astype(np.int16),
        counts.astype(np.int32),
    )


def _write(task: _Task) -> dict[str, Any] | None:
    """Write the files of a VOI; returns why not."""
    example = task.example
    assert task.intensities is not None
    try:
        case = preprocessed(
            image_of(example),
            label_of(example, task.weak),
            affine_of(example),
            task.intensities,
            ignores=task.weak == "ignore",
        )
        data, seg, properties, truth = task.files().values()
        put_label(example, truth, task.weak, task.link)
    except CaseError as error:
        return failure(example, error)
    write_bytes(data, packed_channels(case.data))
    write_bytes(seg, packed_channels(case.seg))
    write_bytes(properties, pickled(case.properties))
    return None


def _lost(task: _Task, why: str) -> dict[str, Any]:
    return failure(task.example, CaseError(Reason.WORKER_LOST, why))


def _lost_look(task: _Task, why: str) -> _Measured:
    return _Measured(failed=_lost(task, why))


def _need_bytes(_task: _Task) -> int:
    return _BYTES_PER_VOXEL * prod(VOI_SHAPE)


def _inputs(task: _Task, measured: _Measured) -> str:
    """Hash of all that the bytes of a VOI's files depend on."""
    assert task.intensities is not None
    return hash_of([_FORMAT, task.weak, task.intensities.model_dump_json(), measured.voxels])


def _written(
    tasks: Sequence[_Task], journal: Journal, inputs: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Lines of the VOIs that are there, whole, and hold what they should."""
    by_name = {task.name: task for task in tasks}
    kept: dict[str, dict[str, Any]] = {}
    for _, line in journal.lines():
        try:
            name = line["voi"]
            files = by_name[name].files()
            if line["inputs"] == inputs[name] and line["files"].keys() == files.keys():
                kept[name] = line
            else:
                kept.pop(name, None)
        except (KeyError, TypeError, AttributeError):
            continue
    return {
        name: line
        for name, line in kept.items()
        if all(
            path.is_file() and path.stat().st_size == line["files"][file]
            for file, path in by_name[name].files().items()
        )
    }


def _fingerprint(measured: Sequence[_Measured]) -> Intensities:
    fingerprint = Fingerprint()
    for one in measured:
        assert one.hu is not None and one.counts is not None
        fingerprint.add_counts(one.hu, one.counts)
    try:
        return fingerprint.intensities()
    except CaseError as error:
        raise SourceError(f"{error.detail}: nothing to train on") from error


def _fingerprint_json(measured: Sequence[_Measured], intensities: Intensities) -> dict[str, Any]:
    return {
        "spacings": [one.spacing for one in measured],
        "shapes_after_crop": [list(one.shape) for one in measured],
        "foreground_intensity_properties_per_channel": {"0": intensities.model_dump()},
        "median_relative_size_after_cropping": median(
            prod(one.shape) / prod(VOI_SHAPE) for one in measured
        ),
    }


def _plans(
    plan: Plan, intensities: Intensities, dataset: str, measured: Sequence[_Measured]
) -> dict[str, Any]:
    """Content of the plans file: that of a model folder, and what nnU-Net says of a dataset."""
    spacings, shapes = (
        [median(axis) for axis in zip(*found, strict=True)]
        for found in ([one.spacing for one in measured], [one.shape for one in measured])
    )
    plans = {
        **nnunet_plans(plan, intensities),
        "dataset_name": dataset,
        "original_median_spacing_after_transp": spacings,
        "original_median_shape_after_transp": [round(size) for size in shapes],
    }
    plans["configurations"][CONFIGURATION]["median_image_size_in_voxels"] = shapes
    return plans
