"""Fetch what a recipe pins: plan, compare with the disk, download, report."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from uls_data.errors import SourceError
from uls_data.fetching.file_download import FileDownloads
from uls_data.fetching.s5cmd import endpoint, program
from uls_data.fetching.series_download import DISK_MARGIN_BYTES, SeriesDownloads
from uls_data.fetching.wanted import Item, Outcome, chosen_items, items_of, judge
from uls_data.io import remove_temporaries
from uls_data.io.lock import LOCK, locked
from uls_data.recipe import load_recipe

# Below the raw root; builds ignore it, because its name begins with a dot.
STAGING = ".uls-data-fetch"
# What a file takes of a disk beyond its bytes, on average: half a block.
_BLOCK_BYTES = 2048


@dataclass
class FetchReport:
    """What a call of `fetch` found and did.

    Attributes
    ----------
    source : str
    items : list of Item
        Everything that the call was about, with its outcome.
    free_bytes : int
        On the disk of the raw root, before anything was fetched.
    """

    source: str
    items: list[Item]
    free_bytes: int

    def of(self, *outcomes: str, kind: str | None = None) -> list[Item]:
        """Items with one of these outcomes."""
        return [
            item
            for item in self.items
            if item.outcome in outcomes and (kind is None or item.kind == kind)
        ]

    @property
    def needed_bytes(self) -> int:
        """What the planned items take of the disk."""
        return sum(
            item.size_bytes - item.staged_bytes + item.files * _BLOCK_BYTES
            for item in self.of(Outcome.PLANNED)
        )

    @property
    def fits(self) -> bool:
        """Whether the disk holds what is planned."""
        return not self.needed_bytes or self.needed_bytes + DISK_MARGIN_BYTES <= self.free_bytes

    @property
    def complete(self) -> bool:
        """Whether nothing is missing that was asked for."""
        return not self.of(Outcome.PLANNED, Outcome.FAILED, Outcome.REFUSED)

    def outcomes(self) -> dict[tuple[str, str | None], int]:
        """Numbers of items by outcome and reason."""
        return dict(Counter((item.outcome.value, item.reason) for item in self.items))


def fetch(
    recipe: str | Path,
    raw: str | Path,
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    even_only: bool = False,
    dry_run: bool = False,
    started: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FetchReport:
    """Download what a recipe pins below a raw root.

    The same call again continues where an interrupted one stopped; what is whole is not fetched
    again. A series or file has its name below the raw root only when it is whole and checked.

    Parameters
    ----------
    recipe : str or Path
        Name of a shipped recipe, or file of your own.
    raw : path
        Folder to write.
    only : sequence of str
        Only what these cases need.
    limit : int, optional
        Only what the first cases need.
    even_only : bool
        Leave out series whose slices are not an even stack, by the IDC's checks.
    dry_run : bool
        Touch nothing; the report says what would be fetched.
    started : callable, optional
        Called once with (bytes in all, bytes that are there), before the first download.
    progress : callable, optional
        Called with (bytes that came in, things that ended) since the last call; bytes are negative
        where something came in wrong.

    Raises
    ------
    RecipeError
        The recipe pins nothing, or its list cannot be used.
    SourceError
        Before any download: the disk is too small, another run is at work, the tools are absent,
        no such case.
    """
    if limit is not None and limit < 1:
        raise SourceError(f"--limit {limit}: expected at least 1")
    loaded, raw = load_recipe(str(recipe)), Path(raw)
    items = chosen_items(items_of(loaded), only, limit)
    staging = raw / STAGING
    judge(items, raw, staging / "files", even_only)
    report = FetchReport(loaded.recipe.source, items, _free(raw))
    if dry_run or not report.of(Outcome.PLANNED):
        return report
    series = report.of(Outcome.PLANNED, kind="series")
    address = endpoint()
    if series:
        program()
    if not report.fits:
        raise SourceError(
            f"--raw {raw}: {report.needed_bytes / 1e9:.2f} GB are to be fetched, "
            f"{report.free_bytes / 1e9:.2f} GB are free. Name a larger disk, or fetch a part "
            "(--limit, --only)."
        )
    whole = sum(item.size_bytes for item in report.of(Outcome.WHOLE))
    if started is not None:
        started(whole + sum(i.size_bytes for i in report.of(Outcome.PLANNED)), whole)

    one_at_a_time = Lock()

    def told(size: int, things: int) -> None:
        if progress is not None and (size or things):
            with one_at_a_time:
                progress(size, things)

    def ended(_item: Item) -> None:
        told(0, 1)

    def moved(size: int) -> None:
        told(size, 0)

    try:
        with locked(staging / LOCK, f"--raw {raw}"):
            files = FileDownloads(raw, staging / "files", ended, moved)
            if of_files := report.of(Outcome.PLANNED, kind="file"):
                files.run(of_files)
            if series:
                SeriesDownloads(raw, staging / "series", address, ended, moved).run(series)
            _tidy(staging)
    except OSError as error:
        raise SourceError(
            f"--raw {raw}: cannot be written: {error.strerror or error}. "
            "Fix this and run the same command again; what is whole is kept."
        ) from error
    return report


def _free(raw: Path) -> int:
    """Bytes that are free where a folder is, or will be.

    Raises
    ------
    SourceError
    """
    there = next(folder for folder in (raw.absolute(), *raw.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise SourceError(f"--raw {raw}: {there} is not a folder")
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise SourceError(f"--raw {raw}: {error.strerror}") from error


def _tidy(staging: Path) -> None:
    """Remove folders in which nothing is left."""
    remove_temporaries(staging)
    for folder in (staging / "series", staging / "files"):
        try:
            folder.rmdir()
        except OSError:
            continue
