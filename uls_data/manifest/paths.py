"""Files that a manifest's rows name, and their names in another manifest."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from uls_data.manifest.row import Row


def above(manifest: Path) -> Path:
    """Folder above that of a manifest, however it is named: `m.parquet`, `../m.parquet`."""
    return _folder_of(manifest).parent


def _folder_of(manifest: Path) -> Path:
    return Path(os.path.normpath(manifest.absolute().parent))


def voi_file(manifest: Path, relative: str) -> Path:
    """Return the file of a manifest's row: relative to its OUT, or to the manifest's own folder."""
    return _root(manifest, relative) / relative


def _root(manifest: Path, relative: str) -> Path:
    folder = _folder_of(manifest)
    # The last: a run in that folder did not see by which link it was entered.
    roots = (folder.parent, manifest.parent, _real(folder).parent)
    return next((root for root in roots if (root / relative).is_file()), folder.parent)


def with_moved_paths(row: Row, manifest: Path, to: Path) -> Row:
    """Row of a manifest as one of the manifest `to`: its paths lead to the same files."""
    if _folder_of(to) == _folder_of(manifest):
        return row

    def moved(name: str | None) -> str | None:
        if name is None:
            return None
        # Behind a link, `..` leads up from where the folder really is.
        start, root = _real(above(to)), _real(_root(manifest, name))
        return Path(os.path.relpath(root / name, start)).as_posix()

    return {
        **row,
        "image_path": moved(row["image_path"]),
        "label_path": moved(row["label_path"]),
    }


@lru_cache(maxsize=64)
def _real(folder: Path) -> Path:
    """Return an absolute folder without links; it is asked for by each row of a manifest."""
    return folder.resolve()
