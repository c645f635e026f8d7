"""A layer of majority votes, from the layers that several annotators drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.manifest.derived import derived_row, ended, with_label
from uls_data.manifest.table import Row, iterate_rows, manifest_files, write_manifest
from uls_data.masks.overlap import dice
from uls_data.masks.vote import Vote, majority
from uls_data.outcome import Reason, Status
from uls_data.readers import read_volume

LAYER = "majority"
# What a reader's row says of the reader's mask and measurement alone.
_OWN = (
    *("label_source", "label_source_sha256", "source_lesion_id", "key_slice_voi"),
    *("recist_long_vox", "recist_short_vox", "recist_points_vox"),
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
    same_out = out.absolute() == root.absolute()
    row = derived_row(first, layer, keep_image=same_out, without=_OWN)
    row["agreement_level"] = len(voters)
    try:
        masks = [_mask(root / voter["label_path"]) for voter in voters]
        vote = majority(masks)
    except CaseError as error:
        return ended(row, error.reason, error.detail)
    row["candidate_scores"] = _scores(voters, masks, vote)
    if not vote.mask.any():
        return ended(row, Reason.NO_LESION, f"no voxel has a majority of {vote.voters} readers")
    try:
        return with_label(row, vote.mask, out)
    except CaseError as error:
        return ended(row, error.reason, error.detail)


def _mask(path: Path) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = read_volume(path, path.parent).ras != 0
    return mask


def _scores(voters: list[Row], masks: list[NDArray[np.bool_]], vote: Vote) -> list[Row]:
    scores: list[tuple[str, str, float]] = [
        ("majority", "tied_voxels", float(vote.tied)),
        ("majority", "unanimous_voxels", float(vote.unanimous)),
    ]
    for voter, mask in zip(voters, masks, strict=True):
        scores.append((str(voter["layer"]), "dice_with_majority", dice(mask, vote.mask)))
    names = ("candidate", "measure", "value")
    found: list[dict[str, Any]] = [dict(zip(names, score, strict=True)) for score in scores]
    return found
