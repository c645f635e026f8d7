"""What the exports share: how a folder is refused, and how they name what failed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.ids import is_file_name
from uls_data.io import remove_temporaries
from uls_data.manifest.choice import best
from uls_data.manifest.example import Example


def failure(example: Example, error: CaseError) -> dict[str, Any]:
    """Return what an export says about a VOI that it leaves out: `voi_id`, `reason`, `detail`."""
    return {
        "voi_id": example.row["voi_id"],
        "reason": error.reason.value,
        "detail": error.detail,
    }


def check_name(name: str | None, what: str) -> None:
    """Refuse a name of a manifest that no file can have; `what` it names.

    Raises
    ------
    ManifestError
    """
    if not is_file_name(name):
        raise ManifestError(f"{name!r} is not a valid name of a {what}")


def best_of(masks: list[Example]) -> Example:
    """Preferred mask of a VOI, see `manifest.choice.best`."""
    chosen = best([mask.row for mask in masks])
    return next(mask for mask in masks if mask.row is chosen)


def refuse_others(folder: Path, pattern: str, names: Collection[str]) -> None:
    """Refuse files of another export, which would be read as part of this one.

    Raises
    ------
    SourceError
    """
    remove_temporaries(folder)
    for path in folder.glob(pattern) if folder.is_dir() else ():
        if path.name not in names:
            raise SourceError(f"{path} does not belong to this export; name another folder")
