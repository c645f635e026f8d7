"""What a call of `fetch` is about: all that a recipe pins, and what became of each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from uls_data.errors import RecipeError, SourceError, did_you_mean
from uls_data.fetching.series_list import Series, read_series
from uls_data.io import sha256_bytes, sha256_file
from uls_data.io.journal import Journal
from uls_data.recipe.catalogue import LoadedRecipe
from uls_data.recipe.pinned import ByHand, PinnedFile

RIGHT_FILES = "right.jsonl"
# Terms that let anybody download without a word; others are for a person to read and accept.
_OPEN = re.compile(r"(CC-BY|CC0|PDDL|ODC-BY|ODBL|APACHE-2|MIT$|BSD-)", re.IGNORECASE)


class Outcome(StrEnum):
    """What became of a thing that a recipe pins."""

    PLANNED = "planned"
    WHOLE = "whole"
    """It was there already."""
    FETCHED = "fetched"
    LEFT_OUT = "left_out"
    """By `even_only`."""
    REFUSED = "refused"
    FAILED = "failed"


class Why(StrEnum):
    """Why something was refused, left out or failed."""

    LICENCE = "licence"
    BY_HAND = "by_hand"
    UNEVEN = "uneven"
    MISSING = "missing"
    DIFFERENT = "different"
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"
    DISK_FULL = "disk_full"
    IN_THE_WAY = "in_the_way"
    UNWRITABLE = "unwritable"
    NOT_TRIED = "not_tried"


@dataclass
class Item:
    """One thing that a recipe pins.

    Attributes
    ----------
    kind : str
        `series`, `file` or `by_hand`.
    path : str
        Where it comes to lie below the raw root; empty where that is not known.
    case : str or None
        The case that needs it; None if all do.
    staged_bytes : int
        Of these, what an earlier run left on the disk.
    even : bool or None
        As `Series.even`.
    """

    pinned: Series | PinnedFile | ByHand
    kind: str
    path: str
    case: str | None
    licence: str
    files: int = 0
    size_bytes: int = 0
    staged_bytes: int = 0
    even: bool | None = None
    outcome: Outcome = Outcome.PLANNED
    reason: Why | None = None
    detail: str | None = None

    def end(self, outcome: Outcome, reason: Why | None = None, detail: str | None = None) -> None:
        """Say what became of it."""
        self.outcome, self.reason, self.detail = outcome, reason, detail


def items_of(loaded: LoadedRecipe) -> list[Item]:
    """Everything that a recipe pins, in the order of cases.

    Raises
    ------
    RecipeError
        It pins nothing, or its list cannot be used.
    """
    recipe = loaded.recipe
    if recipe.fetch is None:
        steps = "\n".join(f"  {n}. {' '.join(s.split())}" for n, s in enumerate(recipe.access, 1))
        raise RecipeError(
            f"{recipe.source} pins nothing that could be fetched. How to get it:\n{steps}"
        )
    items = [
        Item(one, "by_hand", one.path or "", None, recipe.licence.name)
        for one in recipe.fetch.by_hand
    ]
    items += [
        Item(one, "file", one.path, one.case, one.licence or recipe.licence.name, 1, one.size_bytes)
        for one in recipe.fetch.files
    ]
    if recipe.fetch.idc is not None:
        pinned = recipe.fetch.idc
        items += [
            Item(
                *(one, "series", one.path, one.patient_id, one.licence),
                files=one.files,
                size_bytes=one.size_bytes,
                even=one.even,
            )
            for one in read_series(loaded.path.parent / pinned.series, pinned.index)
        ]
    return sorted(items, key=lambda item: (item.case or "", item.path))


def list_problems(loaded: LoadedRecipe) -> list[str]:
    """Say what is wrong with the list of series that a recipe pins; empty without one."""
    if loaded.recipe.fetch is None:
        return []
    try:
        items_of(loaded)
    except RecipeError as error:
        return [str(error)]
    return []


def chosen_items(items: list[Item], only: Sequence[str], limit: int | None) -> list[Item]:
    """Items of the cases that a call asks for, and those that all cases need.

    Raises
    ------
    SourceError
        There is no such case; the message suggests the nearest.
    """
    cases = sorted({item.case for item in items if item.case is not None})
    for wanted in only:
        if wanted not in cases:
            like = f"Cases are called like {cases[0]}." if cases else "Its files are for all cases."
            hint = did_you_mean(wanted, cases) or f" {like}"
            raise SourceError(f"--only {wanted}: no such case is pinned.{hint}")
    kept = set([case for case in cases if not only or case in only][:limit])
    return [item for item in items if item.case is None or item.case in kept]


def judge(items: list[Item], raw: Path, files: Path, even_only: bool) -> None:
    """Settle what needs no download: what is there, what may not be fetched, what is not wanted.

    Parameters
    ----------
    files : Path
        Folder where earlier runs left halves of files, and a list of those that they found right.
    """
    known = right_files(files)
    for item in items:
        pinned = item.pinned
        if isinstance(pinned, ByHand):
            if pinned.path is not None and (raw / pinned.path).exists():
                item.end(Outcome.WHOLE)
            else:
                detail = f"{pinned.what}: {pinned.why}; go to {pinned.url}"
                item.end(Outcome.REFUSED, Why.BY_HAND, detail)
        elif isinstance(pinned, Series) and contents(raw / item.path) == (
            pinned.files,
            pinned.size_bytes,
        ):
            item.end(Outcome.WHOLE)
        elif isinstance(pinned, PinnedFile) and os.path.lexists(raw / pinned.path):
            problem = _problem(pinned, raw / pinned.path, known)
            if problem is None:
                item.end(Outcome.WHOLE)
            else:
                item.end(Outcome.FAILED, Why.IN_THE_WAY, f"{raw / pinned.path} {problem}")
        elif not _OPEN.match(item.licence.replace(" ", "-")):
            item.end(
                *(Outcome.REFUSED, Why.LICENCE),
                f"its licence is {item.licence!r}, which is not an open one: read its terms, "
                "and get it yourself where they allow it (`uls-data recipe show` says where)",
            )
        elif even_only and item.even is False and isinstance(pinned, Series):
            item.end(Outcome.LEFT_OUT, Why.UNEVEN, pinned.uneven_because)
        elif isinstance(pinned, PinnedFile):
            with suppress(OSError):
                item.staged_bytes = part_of(files, pinned).stat().st_size


def contents(folder: Path) -> tuple[int, int]:
    """Count files and bytes of a folder; (-1, 0) if it holds anything else, or does not exist."""
    files = size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    return -1, 0
                files += 1
                size += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return -1, 0
    return files, size


def part_of(files: Path, pinned: PinnedFile) -> Path:
    """Where the bytes of a file are until they are all there."""
    path = sha256_bytes(pinned.path.encode())  # several may hold the same
    return files / f"{pinned.sha256[:16]}-{path[:16]}.part"


def right_files(files: Path) -> set[tuple[str, str, int, int]]:
    """Files that got their names by an earlier run, as `right_file` writes them down."""
    lines = Journal(files / RIGHT_FILES).lines()
    return {tuple(content) for _, content in lines if isinstance(content, list)}


def right_file(pinned: PinnedFile, place: Path) -> tuple[str, str, int, int]:
    """Return what is written down of a file whose hash is right: path, hash, bytes, time in ns."""
    at = place.stat()
    return (pinned.path, pinned.sha256, at.st_size, at.st_mtime_ns)


def _problem(pinned: PinnedFile, place: Path, known: set[tuple[str, str, int, int]]) -> str | None:
    """Say what is wrong with a file that is there; it is never overwritten."""
    try:
        if not place.is_file():
            return "is not a file; move it away"
        if right_file(pinned, place) in known:
            return None
        size = place.stat().st_size
        if size != pinned.size_bytes:
            return f"has {size} bytes, expected {pinned.size_bytes}; move it away"
        digest = sha256_file(place)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if digest != pinned.sha256:
        return f"has the SHA-256 {digest}, expected {pinned.sha256}; move it away"
    return None
