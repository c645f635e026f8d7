"""A layer of majority votes, from the layers that several annotators drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.canonical import nifti_gz
from uls_data.errors import CaseError, ManifestError
from uls_data.io import sha256_bytes, sha256_voxels, write_bytes
from uls_data.manifest.table import Row, iterate_rows, manifest_files, write_manifest
from uls_data.masks.label import describe_label
from uls_data.masks.vote import Vote, majority
from uls_data.outcome import Flag, Reason, Status, Supervision
from uls_data.readers import read_volume

LAYER = "majority"
# What a row says of its own mask alone, or of the reader who drew it.
_OWN = (
    *("label_path", "label_sha256", "label_voxels_sha256", "label_source", "label_source_sha256"),
    *("annotator", "source_lesion_id", "candidate_scores", "predicted_dice", "uncertainty"),
    *("recist_long_vox", "recist_short_vox", "recist_points_vox", "key_slice_voi"),
    *("key_slice_long_error_vox", "key_slice_short_error_vox", "fraction_outside_voi"),
    *("model_sha256", "teacher_saw_lesion", "parent_layer"),
)
# Flags of the scan and its VOI, true of every mask in it.
_OF_THE_SCAN = frozenset(
    {
        *(Flag.SPACING_UNKNOWN, Flag.ORIENTATION_ASSUMED, Flag.OBLIQUE, Flag.SHEARED),
        *(Flag.HU_ROUNDED, Flag.HU_INT32, Flag.ANISOTROPIC_IN_PLANE, Flag.ARRAY_ORIGIN),
        *(Flag.REDISTRIBUTION_UNKNOWN, Flag.PER_SLICE_RESCALE, Flag.SLICES_REPAIRED),
        *(Flag.OUT_OF_FIELD, Flag.SLICE_GROUP_HAS_NEIGHBOURS, Flag.KEY_SLICE_NEAR_EDGE),
    }
)


def vote_layer(
    manifest: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    prefix: str = "reader-",
    layer: str = LAYER,
    minimum: int = 2,
) -> list[Row]:
    """Write the strict majority of every VOI's readers, and a manifest of it.

    A voxel is lesion where more than half of the VOI's readers say so; with an even number of
    them a tie is background, and the row says how many voxels were tied. The paper's truth is
    such a vote of three (section 3.1.4).

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with layers `reader-1`, ...
    out : path
        OUT folder: `<source>/labels/<layer>/` and `manifest/<layer>.parquet` are written.
        Images stay where they are: rows have no `image_path` unless `out` is their OUT.
    prefix : str
        Layers that vote.
    layer : str
        Name of the new layer.
    minimum : int
        Readers that a VOI needs; with fewer it has no row.

    Returns
    -------
    list of dict
        The rows: `agreement_level` is the number of voters, `candidate_scores` holds the tied and
        the unanimous voxels, and the Dice of each reader with the vote. A vote without any voxel
        is skipped (`no_lesion`); a mask that cannot be read makes its VOI fail.

    Raises
    ------
    ManifestError
        No VOI with as many readers.
    """
    out = Path(out)
    rows = [_row(out, root, voters, layer) for root, voters in _groups(manifest, prefix, minimum)]
    if not rows:
        raise ManifestError(f"no VOI has {minimum} layers called {prefix}...: nothing to vote on")
    write_manifest(rows, out / "manifest" / f"{layer}.parquet")
    return rows


def _groups(
    manifest: str | Path | Sequence[str | Path], prefix: str, minimum: int
) -> Iterator[tuple[Path, list[Row]]]:
    for file in manifest_files(manifest):
        groups: dict[str, list[Row]] = {}
        for row in iterate_rows(file):
            if row["status"] == Status.OK.value and (row["layer"] or "").startswith(prefix):
                groups.setdefault(row["voi_id"], []).append(row)
        for voters in groups.values():
            if len(voters) >= minimum:
                yield file.parent.parent, sorted(voters, key=lambda row: str(row["layer"]))


def _row(out: Path, root: Path, voters: list[Row], layer: str) -> Row:
    first = voters[0]
    row = {name: value for name, value in first.items() if name not in _OWN}
    flags = {Flag(flag) for flag in first["qc_flags"] or ()} & _OF_THE_SCAN
    row |= {"layer": layer, "agreement_level": len(voters), "qc_flags": sorted(flags)}
    if out.absolute() != root.absolute():
        row["image_path"] = None
    try:
        masks = [_mask(root / voter["label_path"]) for voter in voters]
        vote = majority(masks)
    except CaseError as error:
        return _ended(row, error.reason, error.detail)
    row["candidate_scores"] = _scores(voters, masks, vote)
    if not vote.mask.any():
        return _ended(row, Reason.NO_LESION, f"no voxel has a majority of {vote.voters} readers")
    spacing = tuple(first[f"spacing_{axis}_mm"] for axis in "xyz")
    columns, seen = describe_label(vote.mask, None if None in spacing else spacing)
    if first["supervision"] == Supervision.WEAK_2D.value:
        row["key_slice_voi"] = columns["long_axis_slice_voi"]
    path = f"{first['source']}/labels/{layer}/{first['voi_id']}.nii.gz"
    label = vote.mask.view(np.uint8)
    data = nifti_gz(label, np.array(first["affine"]).reshape(4, 4))
    write_bytes(out / path, data)
    return {
        **row,
        **columns,
        "label_path": path,
        "label_sha256": sha256_bytes(data),
        "label_voxels_sha256": sha256_voxels(label),
        "qc_flags": sorted(flags | seen),
    }


def _mask(path: Path) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = read_volume(path, path.parent).ras != 0
    return mask


def _ended(row: Row, reason: Reason, detail: str) -> Row:
    return {**row, "status": reason.status.value, "reason": reason.value, "detail": detail}


def _scores(voters: list[Row], masks: list[NDArray[np.bool_]], vote: Vote) -> list[Row]:
    scores: list[tuple[str, str, float]] = [
        ("majority", "tied_voxels", float(vote.tied)),
        ("majority", "unanimous_voxels", float(vote.unanimous)),
    ]
    for voter, mask in zip(voters, masks, strict=True):
        total = int(mask.sum()) + int(vote.mask.sum())
        dice = 2 * int((mask & vote.mask).sum()) / total if total else 1.0
        scores.append((str(voter["layer"]), "dice_with_majority", dice))
    names = ("candidate", "measure", "value")
    found: list[dict[str, Any]] = [dict(zip(names, score, strict=True)) for score in scores]
    return found
