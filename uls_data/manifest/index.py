"""An existing archive of VOIs becomes a manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data._version import __version__
from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, SourceError
from uls_data.io import sha256_file, sha256_voxels
from uls_data.manifest.archive import Entry, Name, Names, entries, read_voi
from uls_data.manifest.by_axis import spacing_columns
from uls_data.manifest.parquet import row_key, write_manifest
from uls_data.manifest.row import Row
from uls_data.measure.label import describe_label
from uls_data.outcome import Flag, Reason, Status, Supervision
from uls_data.recipe import Recipe, load_recipe
from uls_data.voi import VOI_SHAPE

_ENTRIES_A_TASK = 32


def index(
    folder: str | Path,
    out: str | Path,
    *,
    source: str = "auto",
    workers: int = 1,
    started: Callable[[int], None] | None = None,
    progress: Callable[[list[Row]], None] | None = None,
) -> list[Row]:
    """Write the manifest of an archive of VOIs, such as the published one.

    Labels (.nii.gz, or zipped .nii.gz.zip as published) with or without images.
    A row measures the label as `build` does; what only the raw scan tells (click,
    padding, share outside) stays null. Paths are relative to the folder.

    Parameters
    ----------
    folder : path
        Looked into with all folders below it.
    out : path
        Parquet file to write.
    source : str
        Shipped recipe whose published names the files follow; `auto` finds it for
        every file; any other name is a source of your own.

    Returns
    -------
    list of dict
        All rows, failed ones too.

    Raises
    ------
    SourceError
        The folder is missing or holds no VOI, or `out` cannot be written.
    """
    folder, out = Path(folder), Path(out)
    found = entries(folder)
    batches = [found[at : at + _ENTRIES_A_TASK] for at in range(0, len(found), _ENTRIES_A_TASK)]
    if started is not None:
        started(len(found))
    rows: list[Row] = []
    for _, some in run_tasks(
        partial(_rows, folder=folder.absolute(), source=source),
        batches,
        Pool(workers),
        lost=lambda batch, detail: [
            _failed(_row_of(entry), Reason.WORKER_LOST, detail) for entry in batch
        ],
    ):
        rows += some
        if progress is not None:
            progress(some)
    _settle_duplicates(rows)
    try:
        write_manifest(rows, out)
    except OSError as error:
        raise SourceError(f"--out {out}: cannot be written: {error.strerror}") from error
    return rows


def _settle_duplicates(rows: list[Row]) -> None:
    """Leave one row a key: further files of a name become rows under their path."""
    first: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: (row["voi_id"], row["label_path"] or "")):
        kept = first.setdefault(row_key(row), row)
        if kept is row:
            continue
        if row.get("label_voxels_sha256") == kept.get("label_voxels_sha256"):
            status, reason, how = Status.SKIPPED, Reason.DUPLICATE, "the same"
        else:
            status, reason, how = Status.FAILED, Reason.AMBIGUOUS_FILES, "another"
        detail = f"{kept['label_path']} has this name too, with {how} mask"
        row.update(_ended(row, status, reason, detail))
        path = str(row["label_path"])
        row.update({"case_id": path, "lesion_index": None, "sample_index": None})


def _rows(batch: list[Entry], folder: Path, source: str) -> list[Row]:
    names = Names(source)
    return [_row(entry, folder, names, source) for entry in batch]


def _row_of(entry: Entry) -> Row:
    return {
        "source": "unknown",
        "case_id": entry.voi_id,
        "lesion_index": None,
        "sample_index": None,
        "voi_id": entry.voi_id,
        "layer": entry.layer or "annotated",
        "label_path": entry.label.as_posix() if entry.label else None,
        "image_path": entry.image.as_posix() if entry.image else None,
        "software_version": __version__,
        "qc_flags": [],
    }


def _ended(row: Row, status: Status, reason: Reason, detail: str) -> Row:
    return {**row, "status": status.value, "reason": reason.value, "detail": detail}


def _failed(row: Row, reason: Reason, detail: str) -> Row:
    return _ended(row, Status.FAILED, reason, detail)


def _row(entry: Entry, folder: Path, names: Names, source: str) -> Row:
    row = _row_of(entry)
    if source != "auto":
        row["source"] = source
    try:
        name = names.read(entry.voi_id)
        row.update(_named(name, entry))
        if entry.label is None:
            raise CaseError(Reason.MASK_MISSING, f"{entry.image}: an image without a label")
        flags = {Flag(flag) for flag in row["qc_flags"]}
        columns, seen = _label_columns(folder / entry.label, name.recipe)
        row.update(columns)
        if entry.image is not None:
            row.update(_image_columns(folder, entry.image, np.array(columns["affine"])))
        row["qc_flags"] = sorted(flags | seen)
        row["status"] = Status.OK.value
    except CaseError as error:
        return _failed(row, error.reason, error.detail)
    except OSError as error:
        return _failed(row, Reason.UNREADABLE, f"{entry.label}: {error.strerror}")
    return row


def _named(name: Name, entry: Entry) -> Row:
    """Columns that the name and its recipe give."""
    columns: Row = {
        "case_id": name.case_id,
        "lesion_index": name.lesion_index,
        "sample_index": name.sample_index,
        "lesion_type": "unknown",
        "supervision": Supervision.FULL.value,
    }
    recipe = name.recipe
    if recipe is None:
        columns["patient_id"] = name.case_id
        return columns
    loaded = load_recipe(recipe.source)
    patient = recipe.patient_of(name.case_id)
    weak = recipe.supervision == Supervision.WEAK_2D.value
    columns |= {
        "source": recipe.source,
        "patient_id": patient,
        "recipe_version": recipe.recipe_version,
        "recipe_sha256": loaded.sha256,
        "lesion_type": recipe.lesion_type.value,
        "annotation_scope": recipe.annotation_scope.value,
        "supervision": recipe.supervision,
        "split": recipe.split_of(patient),
        "source_split": recipe.part_of(patient),
        "licence": recipe.licence.name,
        "redistributable": recipe.licence.redistributable,
        "layer": entry.layer or ("grabcut" if weak else "annotated"),
    }
    if recipe.licence.redistributable is None:
        columns["qc_flags"] = [Flag.REDISTRIBUTION_UNKNOWN]
    return columns


def _label_columns(path: Path, recipe: Recipe | None) -> tuple[Row, set[Flag]]:
    label = read_voi(path)
    if label.ras.shape != VOI_SHAPE:
        raise CaseError(
            Reason.VOI_SHAPE,
            f"{path.name}: expected {VOI_SHAPE} in RAS order, found {label.ras.shape}",
        )
    mask: NDArray[np.bool_] = label.ras != 0
    if not mask.any():
        raise CaseError(Reason.EMPTY_MASK, f"{path.name}: no voxel is lesion")
    if np.count_nonzero(label.ras == 1) != np.count_nonzero(mask):
        raise CaseError(Reason.MASK_NOT_INTEGER, f"{path.name}: expected values 0 and 1 only")
    spacing: tuple[float, ...] | None = geometry.spacing_mm(label.affine)
    flags = {*label.flags, *geometry.affine_flags(label.affine)}
    if recipe is not None and recipe.hides_spacing(geometry.spacing_mm(label.affine)):
        spacing = None
        flags.add(Flag.SPACING_UNKNOWN)
    measured, seen = describe_label(mask, spacing)
    columns: Row = {**measured, **spacing_columns(spacing)}
    columns["affine"] = label.affine.ravel().tolist()
    columns["label_sha256"] = sha256_file(path) if path.suffix == ".zip" else label.sha256
    columns["label_voxels_sha256"] = sha256_voxels(mask.view(np.uint8))
    return columns, flags | seen


def _image_columns(folder: Path, relative: Path, affine: NDArray[np.float64]) -> Row:
    image = read_voi(folder / relative)
    if image.ras.shape != VOI_SHAPE:
        raise CaseError(Reason.GRID_MISMATCH, f"{relative}: image has shape {image.ras.shape}")
    off = geometry.affine_difference_mm(image.affine, affine.reshape(4, 4), VOI_SHAPE)
    if off > 0.1 * min(geometry.spacing_mm(image.affine)):
        raise CaseError(
            Reason.AFFINE_MISMATCH, f"{relative}: image and label lie up to {off:.3g} mm apart"
        )
    columns: Row = {
        "image_sha256": sha256_file(folder / relative)
        if relative.suffix == ".zip"
        else image.sha256
    }
    if image.stored.dtype.kind in "iu" and image.slope == 1 and image.intercept == 0:
        columns["image_voxels_sha256"] = sha256_voxels(image.ras)
    return columns
