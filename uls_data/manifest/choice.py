"""Which masks of which lesions count: decided here, for everything that reads manifests.

A lesion that a correction drops is nowhere, whichever of its VOIs or layers the correction
names; a correction that wants another click takes its VOI away. A corrected mask stands in for
the one it was made from, and belongs to its layer. A verdict that changes nothing adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errors import ManifestError
from uls_data.manifest.parquet import manifest_files, read_rows, read_table
from uls_data.manifest.row import Column, Row
from uls_data.outcome import Reason, Status

ANNOTATED, CORRECTED = "annotated", "corrected"
# Drawn in 3D from two lines alone: the least that any other 3D mask must beat.
ELLIPSOID = "ellipsoid"
# Why a mask that is there does not count.
WITHDRAWN = "withdrawn by a correction"
REPLACED = "replaced by a correction"
UNCHANGED = "a correction that changes nothing"
# Why one that counts does not train.
UNNAMED = "ellipsoids of lines, which train only where their layer is named"
UNCERTIFIED = "pseudo-masks that no certificate keeps"
# Columns of a row that the choice depends on.
COLUMNS: tuple[Column, ...] = (
    *("source", "case_id", "lesion_index", "sample_index", "layer", "parent_layer", "status"),
    *("reason", "label_voxels_sha256", "lesion_type", "supervision", "source_lesion_id"),
)
_SAYING: tuple[Column, ...] = ("status", "reason", "layer")
_LESION: tuple[Column, ...] = ("source", "case_id", "lesion_index")
# What a correction can change.
_CHANGEABLE: tuple[Column, ...] = (
    *("label_voxels_sha256", "lesion_type", "supervision", "source_lesion_id"),
)
_PSEUDO_3D = re.compile(r"pseudo3d-r(\d+)")
# Layers on one slice, the best first; below these no one can say.
_FLAT = ("jury", "grabcut", "quarter_ellipses", "ellipse", "quadrilateral")
_BEST = 1 << 30
READER = "reader-"


def lesion_of(row: Row) -> tuple[Any, ...]:
    """Identity of a row's lesion."""
    return tuple(row[name] for name in _LESION)


def voi_of(row: Row) -> tuple[Any, ...]:
    """Identity of a row's VOI."""
    return *lesion_of(row), row["sample_index"]


def layer_of(row: Row) -> str:
    """Layer that a mask belongs to: a corrected one to that of its parent."""
    layer = row["parent_layer"] if row["layer"] == CORRECTED else row["layer"]
    return layer or row["layer"] or ""


def is_of(row: Row, layers: Collection[str]) -> bool:
    """Whether a mask belongs to one of these layers, by its own name or by its parent's."""
    if isinstance(layers, str):
        layers = (layers,)  # else pseudo3d-r1 would be in pseudo3d-r10
    return row["layer"] in layers or layer_of(row) in layers


def is_reader(row: Row) -> bool:
    """Whether a mask is one reader's of several: drawn by that reader, or made from their lines."""
    return layer_of(row).startswith(READER)


def is_ellipsoid(row: Row) -> bool:
    """Whether a mask is an ellipsoid of two lines: the layer, or one reader's of several."""
    reader = (row["layer"] or "").startswith(READER) and row["parent_layer"] == ELLIPSOID
    return reader or layer_of(row) == ELLIPSOID


class Choice:
    """What corrections say of the rows of some manifests.

    Parameters
    ----------
    rows : iterable of dict
        All rows of all manifests that are read together, with `COLUMNS`.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._dropped = {
            lesion_of(row) for row in rows if row["reason"] == Reason.ERRATUM_DROP.value
        }
        self._reclicked = {
            voi_of(row) for row in rows if row["reason"] == Reason.ERRATUM_RECLICK.value
        }
        corrected = {
            (voi_of(row), row["parent_layer"]): row
            for row in rows
            if row["layer"] == CORRECTED and row["status"] == Status.OK
        }
        parents = {
            key: row
            for row in (rows if corrected else ())
            if row["status"] == Status.OK and (key := (voi_of(row), row["layer"])) in corrected
        }
        self._unchanged = {
            key for key, parent in parents.items() if _changes_nothing(corrected[key], parent)
        }
        self._replaced = corrected.keys() - self._unchanged

    def why_not(self, row: Row) -> str | None:
        """Why the mask of a row does not count; None where it does, if its row is ok."""
        voi = voi_of(row)
        if lesion_of(row) in self._dropped or voi in self._reclicked:
            return WITHDRAWN
        if row["layer"] == CORRECTED:
            return UNCHANGED if (voi, row["parent_layer"]) in self._unchanged else None
        return REPLACED if (voi, row["layer"]) in self._replaced else None

    def counts(self, row: Row) -> bool:
        """Whether a row has a mask that counts."""
        return row["status"] == Status.OK and self.why_not(row) is None


def _changes_nothing(corrected: Row, parent: Row) -> bool:
    return corrected["label_voxels_sha256"] is not None and all(
        corrected[name] == parent[name] for name in _CHANGEABLE
    )


def counted(rows: Sequence[Row]) -> list[Row]:
    """Rows whose masks count."""
    choice = Choice(rows)
    return [row for row in rows if choice.counts(row)]


def counting(paths: str | Path | Sequence[str | Path]) -> NDArray[np.bool_]:
    """Whether each row of manifests has a mask that counts.

    Parameters
    ----------
    paths : path or sequence of paths
        All manifests that are read together.

    Returns
    -------
    ndarray of bool, one a row, in the order of `read_table`

    Raises
    ------
    ManifestError
    """
    files = manifest_files(paths)
    status, reason, layer = (read_table(files, [name])[name] for name in _SAYING)
    counts: NDArray[np.bool_] = _true(pc.equal(status, Status.OK.value))
    ends = pa.array([Reason.ERRATUM_DROP.value, Reason.ERRATUM_RECLICK.value])
    corrections = _true(pc.is_in(reason, value_set=ends)) | _true(pc.equal(layer, CORRECTED))
    if not corrections.any():
        return counts
    # Few cases are corrected: only their rows are looked at one by one.
    cases = read_table(files, ["case_id"])["case_id"]
    at = np.flatnonzero(
        pc.is_in(cases, value_set=pc.unique(cases.filter(pa.array(corrections)))).to_numpy()
    )
    rows: list[Row] = read_rows(files, at.tolist(), COLUMNS).to_pylist()
    choice = Choice(rows)
    lost = [choice.why_not(row) is not None for row in rows]
    counts[at[lost]] = False
    return counts


def _true(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Array of a column of bool; null is False."""
    return np.array(column.fill_null(False).to_numpy(), dtype=bool)


def rank(row: Row) -> int:
    """Preference of a mask among those of its VOI, higher is better; negative: nobody can say.

    `annotated`, the latest `pseudo3d-rN`, `jury`, `grabcut`, other masks on one slice; then
    those of which nobody can say; an ellipsoid comes last.
    """
    layer = layer_of(row)
    if is_ellipsoid(row):
        return -2 if layer == ELLIPSOID else -3
    if layer == ANNOTATED:
        return _BEST
    if pseudo := _PSEUDO_3D.fullmatch(layer):
        return len(_FLAT) + int(pseudo[1])
    return len(_FLAT) - 1 - _FLAT.index(layer) if layer in _FLAT else -1


def best(rows: Sequence[Row]) -> Row:
    """Preferred mask among those of one VOI that count.

    Raises
    ------
    ManifestError
        Several, and nobody can say which.
    """
    first = max(rows, key=rank)
    equal = [row for row in rows if rank(row) == rank(first)]
    if len(equal) > 1 and rank(first) < 0:
        names = ", ".join(str(row["layer"]) for row in rows)
        raise ManifestError(
            f"{first['voi_id']} has the layers {names}: say --layer (predict, selftrain: --parent)"
        )
    return first
