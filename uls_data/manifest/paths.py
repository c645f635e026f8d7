"""Files that a manifest's rows name, and their names in another manifest."""

from __future__ import annotations

import os
from pathlib import Path

from uls_data.manifest.parquet import Row


def voi_file(manifest: Path, relative: str) -> Path:
    """Return the file of a manifest's row: relative to its OUT, or to the manifest's own folder."""
    for root in (manifest.parent.parent, manifest.parent):
        if (root / relative).is_file():
            return root / relative
    return manifest.parent.parent / relative


def with_moved_paths(row: Row, manifest: Path, to: Path) -> Row:
    """Row of a manifest as one of the manifest `to`: its paths lead to the same files."""
    manifest, to = manifest.absolute(), to.absolute()
    if to.parent == manifest.parent:
        return row
    moved = {
        name: Path(os.path.relpath(voi_file(manifest, row[name]), to.parent.parent)).as_posix()
        for name in ("image_path", "label_path")
        if row[name] is not None
    }
    return row | moved
