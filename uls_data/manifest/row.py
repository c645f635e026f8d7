"""A row of a manifest, as mypy reads it: a misspelt column is an error there.

Generated from `manifests/schema/lesion.json` by `make schema` (`python -m tools.document`):
change the schema, not this file. Behind each column is what it describes; the schema says what
that means, and `uls_data.manifest.schema.columns_of` returns it.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Score(TypedDict):
    """One score of one candidate mask."""

    candidate: str
    measure: str
    value: float


class Row(TypedDict, total=False):
    """Columns of a row, or those of them that were asked for; None is null."""

    source: str  # scan
    case_id: str  # scan
    patient_id: str | None  # scan
    lesion_index: int | None  # lesion
    sample_index: int | None  # voi
    voi_id: str | None  # voi
    layer: str  # row
    parent_layer: str | None  # mask
    source_lesion_id: str | None  # lesion
    lesion_track_id: str | None  # lesion
    study_instance_uid: str | None  # scan
    series_instance_uid: str | None  # scan
    status: str  # row
    reason: str | None  # row
    detail: str | None  # row
    image_path: str | None  # voi
    label_path: str | None  # mask
    image_sha256: str | None  # voi
    label_sha256: str | None  # mask
    image_voxels_sha256: str | None  # voi
    label_voxels_sha256: str | None  # mask
    image_source: str | None  # scan
    image_source_sha256: str | None  # scan
    label_source: str | None  # lesion
    label_source_sha256: str | None  # lesion
    recipe_version: int | None  # voi
    recipe_sha256: str | None  # voi
    software_version: str | None  # voi
    profile: str | None  # voi
    seed: int | None  # voi
    model_sha256: str | None  # mask
    annotator: str | None  # mask
    agreement_level: int | None  # mask
    teacher_saw_lesion: bool | None  # mask
    teacher_prompt: str | None  # mask
    spacing_x_mm: float | None  # scan
    spacing_y_mm: float | None  # scan
    spacing_z_mm: float | None  # scan
    affine: list[float] | None  # voi
    click_x_vox: int | None  # voi
    click_y_vox: int | None  # voi
    click_z_vox: int | None  # voi
    click_source: str | None  # voi
    voi_origin_x_vox: int | None  # voi
    voi_origin_y_vox: int | None  # voi
    voi_origin_z_vox: int | None  # voi
    pad_before_x_vox: int | None  # voi
    pad_before_y_vox: int | None  # voi
    pad_before_z_vox: int | None  # voi
    pad_after_x_vox: int | None  # voi
    pad_after_y_vox: int | None  # voi
    pad_after_z_vox: int | None  # voi
    pad_value_hu: int | None  # voi
    hu_min: int | None  # voi
    hu_max: int | None  # voi
    lesion_type: str | None  # lesion
    annotation_scope: str | None  # lesion
    supervision: str | None  # lesion
    mask_voxels: int | None  # mask
    volume_mm3: float | None  # mask
    long_axis_vox: float | None  # mask
    short_axis_vox: float | None  # mask
    long_axis_mm: float | None  # mask
    short_axis_mm: float | None  # mask
    long_axis_points_vox: list[float] | None  # mask
    short_axis_points_vox: list[float] | None  # mask
    long_axis_slice_voi: int | None  # mask
    fraction_outside_voi: float | None  # mask
    recist_long_vox: float | None  # measurement
    recist_short_vox: float | None  # measurement
    key_slice_uid: str | None  # lesion
    stated_long_mm: float | None  # measurement
    stated_short_mm: float | None  # measurement
    recist_points_vox: list[float] | None  # measurement
    recist_outward_vox: float | None  # measurement
    key_slice_voi: int | None  # measurement
    key_slice_long_error_vox: float | None  # mask
    key_slice_short_error_vox: float | None  # mask
    endpoint_distance_vox: float | None  # mask
    key_slice_dice: float | None  # mask
    predicted_dice: float | None  # mask
    uncertainty: float | None  # mask
    candidate_scores: list[Score] | None  # mask
    certified: bool | None  # mask
    certificate: str | None  # mask
    patient_sex: str | None  # scan
    patient_age_years: float | None  # scan
    manufacturer: str | None  # scan
    study_year: int | None  # scan
    study_day: int | None  # scan
    split: str | None  # scan
    source_split: str | None  # scan
    fold: int | None  # scan
    licence: str | None  # scan
    redistributable: bool | None  # scan
    qc_flags: list[str]  # row


Column = Literal[
    "source",
    "case_id",
    "patient_id",
    "lesion_index",
    "sample_index",
    "voi_id",
    "layer",
    "parent_layer",
    "source_lesion_id",
    "lesion_track_id",
    "study_instance_uid",
    "series_instance_uid",
    "status",
    "reason",
    "detail",
    "image_path",
    "label_path",
    "image_sha256",
    "label_sha256",
    "image_voxels_sha256",
    "label_voxels_sha256",
    "image_source",
    "image_source_sha256",
    "label_source",
    "label_source_sha256",
    "recipe_version",
    "recipe_sha256",
    "software_version",
    "profile",
    "seed",
    "model_sha256",
    "annotator",
    "agreement_level",
    "teacher_saw_lesion",
    "teacher_prompt",
    "spacing_x_mm",
    "spacing_y_mm",
    "spacing_z_mm",
    "affine",
    "click_x_vox",
    "click_y_vox",
    "click_z_vox",
    "click_source",
    "voi_origin_x_vox",
    "voi_origin_y_vox",
    "voi_origin_z_vox",
    "pad_before_x_vox",
    "pad_before_y_vox",
    "pad_before_z_vox",
    "pad_after_x_vox",
    "pad_after_y_vox",
    "pad_after_z_vox",
    "pad_value_hu",
    "hu_min",
    "hu_max",
    "lesion_type",
    "annotation_scope",
    "supervision",
    "mask_voxels",
    "volume_mm3",
    "long_axis_vox",
    "short_axis_vox",
    "long_axis_mm",
    "short_axis_mm",
    "long_axis_points_vox",
    "short_axis_points_vox",
    "long_axis_slice_voi",
    "fraction_outside_voi",
    "recist_long_vox",
    "recist_short_vox",
    "key_slice_uid",
    "stated_long_mm",
    "stated_short_mm",
    "recist_points_vox",
    "recist_outward_vox",
    "key_slice_voi",
    "key_slice_long_error_vox",
    "key_slice_short_error_vox",
    "endpoint_distance_vox",
    "key_slice_dice",
    "predicted_dice",
    "uncertainty",
    "candidate_scores",
    "certified",
    "certificate",
    "patient_sex",
    "patient_age_years",
    "manufacturer",
    "study_year",
    "study_day",
    "split",
    "source_split",
    "fold",
    "licence",
    "redistributable",
    "qc_flags",
]
