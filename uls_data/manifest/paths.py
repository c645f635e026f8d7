"""Files that a manifest's rows name, and their names in another manifest."""

from __future__ import annotations

import os
from pathlib import Path

from uls_data.manifest.row import Row


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

    def moved(name: str | None) -> str | None:
        if name is None:
            return None
        return Path(os.path.relpath(voi_file(manifest, name), to.parent.parent)).as_posix()

    return {
        **row,
        "image_path": moved(row["image_path"]),
        "label_path": moved(row["label_path"]),
    }
