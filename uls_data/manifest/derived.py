"""Rows of a layer that is made from other layers: a vote, a prediction."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.ids import is_file_name
from uls_data.io import sha256_bytes, sha256_voxels, write_bytes
from uls_data.manifest.by_axis import known_spacing, scan_box
from uls_data.manifest.choice import ANNOTATED, CORRECTED, READER
from uls_data.manifest.parquet import read_table
from uls_data.manifest.row import Row
from uls_data.manifest.schema import columns_of
from uls_data.measure.label import describe_label
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import LEAKS, Flag, Reason, Supervision
from uls_data.voi import VOI_SHAPE

# Flags of the scan, of its VOI, and of the measurement, true of every mask there; and leaks, which
# lie in the lesion: a mask that a network makes of it must not train either.
_OF_THE_LESION = LEAKS | {
    *(Flag.SPACING_UNKNOWN, Flag.ORIENTATION_ASSUMED, Flag.OBLIQUE, Flag.SHEARED),
    *(Flag.HU_ROUNDED, Flag.HU_INT32, Flag.NO_AIR, Flag.HU_OFFSET_SUSPECTED),
    *(Flag.ANISOTROPIC_IN_PLANE, Flag.ARRAY_ORIGIN, Flag.REDISTRIBUTION_UNKNOWN),
    *(Flag.PER_SLICE_RESCALE, Flag.SLICES_REPAIRED, Flag.SCOUT_LEFT_OUT, Flag.SHARED_UIDS),
    *(Flag.PHASE_CHOSEN, Flag.LONE_SLICE, Flag.OUT_OF_FIELD, Flag.BURNED_IN_ANNOTATION),
    *(Flag.SLICE_GROUP_HAS_NEIGHBOURS, Flag.KEY_SLICE_NEAR_EDGE, Flag.AXES_DO_NOT_CROSS),
    *(Flag.STATED_LENGTH_DIFFERS, Flag.AXIS_ASSUMED),
}


def derived_row(parent: Row, layer: str, *, keep_image: bool, without: Collection[str] = ()) -> Row:
    """Row of a new layer of a VOI, without anything that only the parent's mask has.

    Parameters
    ----------
    parent : dict
        Row of the layer that the new one is made from.
    keep_image : bool
        Whether the new manifest lies in the parent's OUT, from which image paths count.
    without : collection of str
        Further columns of the parent that do not hold for the new mask.
    """
    lost = columns_of("row") | columns_of("mask") | set(without)
    kept = {name: value for name, value in parent.items() if name not in lost}
    row = cast(Row, kept)  # a row's columns, all of them
    flags = {Flag(flag) for flag in parent["qc_flags"] or ()} & _OF_THE_LESION
    row |= {"layer": layer, "status": "ok", "qc_flags": sorted(flags)}
    if not keep_image:
        row["image_path"] = None
    return row


def check_layer(layer: str, out: Path) -> None:
    """Refuse a new layer whose files would replace those of a build, or pass for a person's.

    Parameters
    ----------
    layer : str
        Its manifest is `manifest/<layer>.parquet`, its masks are `<source>/labels/<layer>/`.
    out : Path
        OUT folder.

    Raises
    ------
    ManifestError
        Give it another name.
    """
    if layer in (ANNOTATED, CORRECTED) or layer.startswith(READER):
        raise ManifestError(f"layer {layer}: so are masks called that people drew; give another")
    for file in sorted((out / "manifest").glob("*.parquet")):
        rows = read_table(file, ["source", "layer"])
        if file.stem == layer:
            # Made by an earlier run, it holds this layer alone.
            taken = pc.any(pc.not_equal(rows["layer"], layer)).as_py()
        else:
            built = pc.equal(rows["source"], file.stem)
            taken = pc.any(pc.and_(built, pc.equal(rows["layer"], layer))).as_py()
        if taken:
            raise ManifestError(
                f"layer {layer}: {file} holds other rows, which it would replace; give another "
                "name or another folder"
            )


def ended(row: Row, reason: Reason, detail: str) -> Row:
    """Row of a mask that there is not."""
    return {**row, "status": reason.status.value, "reason": reason.value, "detail": detail}


def with_label(row: Row, mask: NDArray[Any], out: Path) -> Row:
    """Write a mask as a label of its row's layer; returns the row with what is measured on it.

    Parameters
    ----------
    mask : ndarray, shape (256, 256, 128), bool or uint8, RAS
        At least one voxel is lesion.
    out : Path
        OUT folder: the label is `<source>/labels/<layer>/<voi_id>.nii.gz`.

    Raises
    ------
    CaseError
        `bad_affine`: the row has none. `name_not_recognised`: its names are not those of files,
        which could lead out of the folder.
    """
    for name in (row["source"], row["layer"], row["voi_id"]):
        if not is_file_name(name):
            raise CaseError(Reason.NAME_NOT_RECOGNISED, f"{name!r} cannot be the name of a file")
    if row["affine"] is None:
        raise CaseError(Reason.BAD_AFFINE, f"{row['voi_id']}: its row has no affine")
    columns, seen = describe_label(mask, known_spacing(row))
    # A mask on one slice says nothing of the slices beyond the first and the last.
    for axis in range(2 if row["supervision"] == Supervision.WEAK_2D.value else 3):
        part = scan_box(row, VOI_SHAPE)[axis]
        # Where there is padding, the scan ends in the VOI.
        edges = [part.start] * (part.start > 0) + [part.stop - 1] * (part.stop < VOI_SHAPE[axis])
        if mask.take(edges, axis).any():
            seen.add(Flag.AT_SCAN_EDGE)
    if row["supervision"] == Supervision.WEAK_2D.value:
        row = {**row, "key_slice_voi": columns["long_axis_slice_voi"]}
    path = f"{row['source']}/labels/{row['layer']}/{row['voi_id']}.nii.gz"
    label = mask.view(np.uint8)
    data = nifti_gz(label, np.array(row["affine"]).reshape(4, 4))
    write_bytes(out / path, data)
    return {
        **row,
        **columns,
        "label_path": path,
        "label_sha256": sha256_bytes(data),
        "label_voxels_sha256": sha256_voxels(label),
        "qc_flags": sorted(set(row["qc_flags"]) | {flag.value for flag in seen}),
    }
