"""Columns of a build's rows that need no voxel: of a case, a click, a reader's lines."""

from __future__ import annotations

from typing import cast

from uls_data._version import __version__
from uls_data.factory.layers import ANNOTATED
from uls_data.factory.options import Options, Task
from uls_data.ids import readable
from uls_data.lesions import Lesion
from uls_data.lesions.instances import Measured
from uls_data.manifest.row import Row
from uls_data.outcome import Flag, Reason, Status
from uls_data.voi import Box


def case_row(task: Task, options: Options) -> Row:
    """Columns that every row of a case shares."""
    recipe, case = options.recipe, task.case
    patient = recipe.patient_of(case.case_id)
    return {
        "source": recipe.source,
        "case_id": case.case_id,
        "patient_id": patient,
        "layer": options.masks[0] if options.masks else ANNOTATED,
        "image_source": readable(case.image.as_posix())
        if case.image and options.needs_scan
        else None,
        "label_source": _label_source(task),
        "study_instance_uid": case.study_instance_uid,
        "study_day": case.study_day,
        "series_instance_uid": case.series_instance_uid,
        "recipe_version": recipe.recipe_version,
        "recipe_sha256": options.recipe_sha256,
        "software_version": __version__,
        "profile": options.profile.name,
        "seed": options.seed,
        "lesion_type": recipe.lesion_type.value,
        "annotation_scope": recipe.annotation_scope.value,
        "supervision": recipe.supervision,
        "split": recipe.split_of(patient),
        "source_split": recipe.part_of(patient),
        "licence": recipe.licence.name,
        "redistributable": recipe.licence.redistributable,
        "qc_flags": []
        if recipe.licence.redistributable is not None
        else [Flag.REDISTRIBUTION_UNKNOWN.value],
        "lesion_index": None,
        "sample_index": None,
    }


def _label_source(task: Task) -> str | None:
    case = task.case
    if case.instances:
        return readable(case.instances[0][2].parent.as_posix())
    path = case.mask or (case.annotations[0] if case.annotations else None)
    return readable(path.as_posix()) if path is not None else None


def ended(row: Row, status: Status, reason: Reason, detail: str) -> Row:
    """Row that says why there is no VOI."""
    return {**row, "status": status.value, "reason": reason.value, "detail": readable(detail)}


def line_columns(measured: Measured, box: Box) -> Row:
    """Where a reader's lines lie in a VOI."""
    x, y, z = box.origin
    points = measured.lines.moved(-x, -y).points.ravel().tolist()
    row: Row = {
        "recist_points_vox": points,
        "recist_outward_vox": measured.outward_vox,
        "key_slice_voi": measured.slice_vox - z,
    }
    return row | stated_columns(measured)


def stated_columns(measured: Measured) -> Row:
    """Lengths as the source states them."""
    long_mm, short_mm = measured.stated_mm
    return {"stated_long_mm": long_mm, "stated_short_mm": short_mm}


def position_columns(box: Box) -> Row:
    """Where a VOI lies in its scan."""
    columns: dict[str, int] = {}
    for at, axis in enumerate("xyz"):
        columns[f"click_{axis}_vox"] = box.click[at]
        columns[f"voi_origin_{axis}_vox"] = box.origin[at]
        columns[f"pad_before_{axis}_vox"] = box.pad_before[at]
        columns[f"pad_after_{axis}_vox"] = box.pad_after[at]
    return cast(Row, columns)


def told(lesion: Lesion) -> Row:
    """Columns that the source tells of a lesion; a manifest refuses those that it does not know."""
    return cast(Row, dict(lesion.columns))
