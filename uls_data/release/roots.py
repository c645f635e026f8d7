"""Two hashes of a set of rows: of the data themselves, and of all that is said about them.

A leaf is the SHA-256 of one row as canonical JSON; a source's root is the hash of its sorted
leaves; a release's root is the hash of its sources' roots. Numbers are written with six
decimals, so that the last bits of a float, which may differ between machines, do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from uls_data.ids import hash_of
from uls_data.io import sha256_bytes
from uls_data.manifest.row import Row
from uls_data.manifest.schema import column_names
from uls_data.outcome import Status

# What the payload root covers, of rows that are ok. A later schema changes nothing here:
# the list is part of the definition, and `release.json` repeats it.
PAYLOAD_COLUMNS = (
    *("source", "case_id", "patient_id", "lesion_index", "sample_index", "voi_id", "layer"),
    *("parent_layer", "source_lesion_id", "study_instance_uid", "series_instance_uid"),
    *("image_voxels_sha256", "label_voxels_sha256"),
    *("annotator", "agreement_level", "teacher_saw_lesion"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "affine"),
    *("click_x_vox", "click_y_vox", "click_z_vox"),
    *("voi_origin_x_vox", "voi_origin_y_vox", "voi_origin_z_vox"),
    *("pad_before_x_vox", "pad_before_y_vox", "pad_before_z_vox"),
    *("pad_after_x_vox", "pad_after_y_vox", "pad_after_z_vox"),
    *("pad_value_hu", "hu_min", "hu_max", "lesion_type", "supervision", "mask_voxels"),
    *("volume_mm3", "long_axis_vox", "short_axis_vox", "long_axis_mm", "short_axis_mm"),
    *("long_axis_points_vox", "short_axis_points_vox", "long_axis_slice_voi"),
    *("fraction_outside_voi", "recist_long_vox", "recist_short_vox", "recist_points_vox"),
    *("key_slice_voi", "key_slice_long_error_vox", "key_slice_short_error_vox"),
    *("endpoint_distance_vox", "key_slice_dice", "predicted_dice", "uncertainty"),
    *("patient_sex", "patient_age_years", "manufacturer", "study_year"),
    *("split", "source_split", "fold"),
)


def payload_root(rows: Iterable[Row]) -> str:
    """Root over voxels, geometry and scientific columns of one source's rows that are ok.

    Equal for equal data, whatever software wrote them: file hashes, paths, versions, details in
    words, quality flags, scores of candidates and licence terms are left out.
    """
    return _root((row for row in rows if row["status"] == Status.OK.value), PAYLOAD_COLUMNS)


def provenance_root(rows: Iterable[Row]) -> str:
    """Root over every column of every row of one source."""
    return _root(rows, column_names())


def root_of(roots: Mapping[str, str]) -> str:
    """Root of a release, from the roots of its sources."""
    return hash_of(f"{source} {root}" for source, root in sorted(roots.items()))


def _root(rows: Iterable[Row], columns: Iterable[str]) -> str:
    names = sorted(columns)
    return hash_of(sorted(_leaf(row, names) for row in rows))


def _leaf(row: Mapping[str, Any], names: list[str]) -> str:
    values = {name: _value(row[name]) for name in names if row.get(name) is not None}
    return sha256_bytes(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:z.6f}"
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return value
