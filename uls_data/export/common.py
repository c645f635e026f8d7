"""What the exports share: how a folder is refused, and how they name what failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uls_data import io
from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.ids import is_file_name
from uls_data.io import remove_temporaries, remove_temporaries_of, write_bytes
from uls_data.io.lock import LOCK, locked
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


@contextmanager
def writing_to(to: str | Path, folder: Path | None = None) -> Iterator[None]:
    """Be the only run that writes there; say of which option a folder is that cannot be written.

    Parameters
    ----------
    folder : Path, optional
        Below `to`, where others may write at the same time.

    Raises
    ------
    SourceError
    """
    where = folder or to
    with io.writing_to(to), locked(Path(where) / LOCK, f"--to {where}"):
        yield


def put(path: Path, data: bytes) -> None:
    """Write a file whole, and remove what a killed run left of it."""
    remove_temporaries_of(path)
    write_bytes(path, data)


def refuse_others(folder: Path, pattern: str, names: Collection[str]) -> None:
    """Refuse files of another export, which would be read as part of this one.

    Parameters
    ----------
    pattern : str
        Of such files, relative to the folder.
    names : collection of str
        Those of this export, likewise.

    Raises
    ------
    SourceError
    """
    remove_temporaries(folder)
    for path in folder.glob(pattern) if folder.is_dir() else ():
        if path.relative_to(folder).as_posix() not in names:
            raise SourceError(f"{path} does not belong to this export; name another folder")
