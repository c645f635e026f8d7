"""Files of series while they wait for their place: what is there, whether it is right."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from uls_data.fetching.disk import disk_reason
from uls_data.fetching.s5cmd import Listed, Object
from uls_data.fetching.series_list import Series
from uls_data.fetching.wanted import Why


def reason_of(message: str, series: Series) -> tuple[Why, str]:
    """Why something failed, by what s5cmd said."""
    where = f"{series.url}/"
    said = " ".join(message.split())[:300]
    lower = said.lower()
    if (of_disk := disk_reason(said)) is not None:
        return of_disk, said
    if any(
        words in lower for words in ("no object found", "nosuchkey", "notfound", "nosuchbucket")
    ):
        return Why.MISSING, f"{where} is not there ({said}); the IDC may have moved it"
    if "expected files of plain names" in said:
        return Why.DIFFERENT, f"{where} {said}"
    return Why.UNREACHABLE, f"{where}: {said}"


def take_stock(folder: Path, listed: Listed) -> set[str]:
    """Names of the files that a folder lacks; what else is there, such as halves, is removed.

    Raises
    ------
    OSError
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = set(listed.objects)
    with os.scandir(folder) as entries:
        for entry in entries:
            expected = listed.objects.get(entry.name)
            if (
                expected is not None
                and entry.is_file(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_size == expected.size
            ):
                missing.discard(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
    return missing


def difference_of(path: Path, expected: Object) -> str | None:
    """Say what a file is instead of what it should be; None if it is right, and out on the disk.

    Sizes are compared, and MD5 sums where the store tells them. A wrong file is removed.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if size != expected.size:
                wrong = f"arrived with {size} bytes, expected {expected.size}"
            elif expected.md5 is not None and digest.hexdigest() != expected.md5:
                wrong = f"arrived with the MD5 {digest.hexdigest()}, expected {expected.md5}"
            else:
                os.fsync(file.fileno())
                return None
    except FileNotFoundError:
        return "did not arrive"
    path.unlink()
    return wrong


def give_place(folder: Path, listed: Listed, place: Path) -> str | None:
    """Give a series whose files are right its place; say what is wrong with it otherwise."""
    strangers = {entry.name for entry in os.scandir(folder)} - listed.objects.keys()
    if strangers:
        return f"holds {min(strangers)!r}, which was not listed"
    _sync(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place)
    _sync(place.parent)
    return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
