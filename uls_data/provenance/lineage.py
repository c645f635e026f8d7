"""Rows of one VOI, from the layer that was cut to those that were made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import ManifestError, did_you_mean
from uls_data.manifest.choice import CORRECTED, best, counted
from uls_data.manifest.parquet import manifest_files, read_table
from uls_data.manifest.row import Row

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Found:
    """One row, and the manifest that holds it."""

    manifest: Path
    row: Row


def rows_of(voi_id: str, manifest: Paths) -> list[Found]:
    """Rows of a VOI in the order in which their layers were made from each other.

    Raises
    ------
    ManifestError
        No manifest holds it; the message suggests the nearest name.
    """
    files = manifest_files(manifest)
    found: list[Found] = []
    for file in files:
        rows: list[Row] = read_table(file, None, [("voi_id", "=", voi_id)]).to_pylist()
        for row in rows:
            if all(row != other.row for other in found):
                found.append(Found(file, row))
    if not found:
        names = {name for file in files for name in read_table(file, ["voi_id"])[0].to_pylist()}
        hint = did_you_mean(voi_id, (name for name in names if name is not None))
        raise ManifestError(f"no row of VOI {voi_id!r}.{hint}")
    sources = sorted({one.row["source"] for one in found})
    if len(sources) > 1:
        raise ManifestError(f"{voi_id} is a VOI of {' and of '.join(sources)}: name one manifest")
    parents = {one.row["layer"]: one.row["parent_layer"] for one in found}
    return sorted(found, key=lambda one: _depth(one.row["layer"], parents))


def _depth(layer: str | None, parents: Mapping[str, str | None]) -> int:
    depth = 0
    seen: set[str | None] = set()
    while layer is not None and layer not in seen:
        seen.add(layer)
        layer = parents.get(layer)
        depth += 1
    return depth


def lineage(found: Sequence[Found], layer: str | None) -> list[Found]:
    """Return the rows behind one mask: the one that was cut first, the mask itself last.

    Raises
    ------
    ManifestError
        No such layer, several to choose from, or two rows of one.
    """
    layers = [one.row["layer"] for one in found]
    names = ", ".join(sorted(map(str, set(layers))))
    if layer is None:
        rows_of_voi = [one.row for one in found]
        # Of a VOI that counts nowhere, the row that says why.
        meant = counted(rows_of_voi) or [r for r in rows_of_voi if r["layer"] == CORRECTED]
        layer = best(meant or rows_of_voi)["layer"]
    if layer not in layers:
        raise ManifestError(f"the VOI has no layer {layer!r}, only {names}")
    line: list[Found] = []
    while layer is not None and layer not in {one.row["layer"] for one in line}:
        rows = [one for one in found if one.row["layer"] == layer]
        if len(rows) > 1:
            raise ManifestError(
                f"{' and '.join(str(one.manifest) for one in rows)} hold layer {layer} of it: "
                "name one of them"
            )
        if not rows:
            break
        line.append(rows[0])
        layer = rows[0].row["parent_layer"]
    return line[::-1]
