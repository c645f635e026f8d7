"""Make the report of a build."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.certificates.certificate import Certificate, read_certificate
from uls_data.errors import ManifestError, SourceError, did_you_mean
from uls_data.io import remove_folder, write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.choice import counting
from uls_data.manifest.growth import growth
from uls_data.manifest.held import HeldRows
from uls_data.manifest.parquet import count_rows, manifest_files, read_rows, read_table
from uls_data.manifest.schema import column_names
from uls_data.manifest.stats import stats
from uls_data.outcome import Status
from uls_data.reporting.duplicates import duplicates
from uls_data.reporting.figure import LESION
from uls_data.reporting.figures import figures, winner_alone
from uls_data.reporting.mask_numbers import Measured
from uls_data.reporting.outcomes import built, flags, reasons
from uls_data.reporting.outliers import rankings
from uls_data.reporting.page import Page, Part, outlier_table, render
from uls_data.reporting.page_pictures import StoredNumbers, Thumbnails
from uls_data.reporting.promises import promises, risk_figures
from uls_data.reporting.ranking import Ranking
from uls_data.tables import Record, write_csv

MOST_EMBEDDED = 2000
# Of more rows a page shows some; all lie on pages of their own beside it.
MOST_ROWS = 50_000
ROWS_OF_A_PART = 20_000
# Of lesions that are followed over time a page shows those that changed most.
_STEPS = 100
_CAPTIONS = ("layer", "lesion_type", "long_axis_mm", "short_axis_mm", "predicted_dice")
# Lists of numbers say nothing to an eye, and nobody sorts by them.
_HIDDEN = ("affine", "candidate_scores")
_POINTS = "_points_vox"
# Nor do hashes, of which a million rows have some 500 MB.
_HASHES = ("_sha256", "_uid")


@dataclass
class Report:
    """What a report shows, and where it is.

    Attributes
    ----------
    page : Path
        HTML.
    files : Path
        Folder of its plots and tables.
    rows, vois, skipped, failed : int
    pictures, made : int
        VOIs with a picture, and how many of those had to be drawn now.
    missing : list of (str, str)
        VOIs whose picture could not be drawn, and why.
    rankings : list of Ranking
    outliers : list of dict
        The same as rows, see `uls_data.reporting.page.outlier_table`.
    """

    page: Path
    files: Path
    rows: int = 0
    vois: int = 0
    skipped: int = 0
    failed: int = 0
    pictures: int = 0
    made: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    outliers: list[Record] = field(default_factory=list)


def report(
    out: str | Path,
    to: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    top: int = 10,
    certificates: Sequence[str | Path] = (),
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write one page about a build: what was built, how good it is, what to look at first.

    The page is one HTML file without any reference to a network. Up to 2,000 masks it holds
    all pictures; beyond, they lie in the folder beside it, `<name>-files`, which also holds
    every plot as SVG, PNG and CSV. Pictures that `build` made are used as they are; others
    are drawn from the VOIs, once, and kept in that folder.

    Of more than 50,000 rows the page lists, with pictures, the outliers, 200 rows of each reason
    and 2,000 of the masks at equal distances; all rows lie in that folder, on pages of 20,000,
    without pictures. Outliers are looked for among all; those that are measured on voxels, among
    the masks with a picture of the build.

    Parameters
    ----------
    out : path
        OUT folder of a build, or a manifest.
    to : path, optional
        HTML file, or folder to write `report.html` into; default: OUT, or the OUT folder of the
        manifest.
    columns : sequence of str, optional
        Manifest columns that are written below each picture.
    top : int
        Entries of a ranking.
    certificates : sequence of path
        What `certify` wrote: the page shows what they promise, what was found on their
        calibration, and what they keep here.
    started, progress : callable, optional
        Called with the number of rows to look at, and after each with 1 if it has a picture.

    Raises
    ------
    ManifestError, SourceError
        No manifest there, an unknown column, or the page cannot be written; or another process
        is writing it.
    """
    files = manifest_files(out)
    promised = [read_certificate(path) for path in certificates]
    if top < 1:
        raise SourceError(f"--top {top}: expected at least 1")
    for name in columns or ():
        if name not in column_names():
            hint = did_you_mean(name, column_names())
            raise ManifestError(f"--columns: no column {name!r} in a manifest.{hint}")
    page = _page_of(Path(out), Path(to) if to is not None else None, files)
    rows = _Rows(files)
    if started is not None:
        started(len(rows.held))
    made = Report(page, page.with_name(f"{page.stem}-files"))
    try:
        with locked(made.files / LOCK, f"--to {page}"):
            told = progress or (lambda _: None)
            _write(rows, made, list(columns or _CAPTIONS), top, promised, told)
    except OSError as error:
        raise SourceError(f"--to {page}: cannot be written: {error.strerror or error}") from error
    return made


def _page_of(out: Path, to: Path | None, files: Sequence[Path]) -> Path:
    if to is None:
        to = out if out.is_dir() else files[0].absolute().parent.parent
    return to if to.suffix.lower() in (".html", ".htm") else to / "report.html"


class _Rows:
    """Rows of a report: those that are ok first, and of those the ones that count.

    Attributes
    ----------
    files : list of Path
        Manifests.
    held : HeldRows
    masks : int
        How many are ok.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self._starts = [0, *accumulate(map(count_rows, files))]
        ok = np.flatnonzero(counting(files))
        status = read_table(files, ["status"])["status"]
        others = np.flatnonzero(pc.not_equal(status, Status.OK.value).to_numpy())
        self.masks = len(ok)
        self._numbers = np.concatenate([ok, others])
        self.held = HeldRows(files, self._numbers, {"candidate_scores": winner_alone})

    def manifest(self, at: int) -> Path:
        """Manifest of a row."""
        return self.files[bisect_right(self._starts, self._numbers[at]) - 1]

    def table(self, at: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Read some rows, in this order."""
        numbers = self._numbers[at]
        ascending = np.sort(numbers)
        table = read_rows(self.files, ascending.tolist(), columns)
        return table.take(ascending.searchsorted(numbers))


def _write(
    rows: _Rows,
    made: Report,
    captions: list[str],
    top: int,
    certificates: list[Certificate],
    progress: Callable[[int], None],
) -> None:
    held, masks = rows.held, rows.held[: rows.masks]
    made.rows = len(held)
    # First, while no column is held: it takes as much memory as they do.
    table_1 = stats(rows.files).to_dict("records")
    large = len(held) > MOST_ROWS
    embedded = not large and len(masks) <= MOST_EMBEDDED
    pictures = Thumbnails(made.page, made.files / "thumbnails", embedded)
    stored, numbers = StoredNumbers(), Measured(len(held))
    shown: dict[int, str | None] = {}
    for at, row in enumerate(held):
        if large:
            numbers.put(at, stored.of(row, rows.manifest(at)))
            progress(int(bool(numbers[at])))
        else:
            shown[at], found = pictures.of(row, rows.manifest(at))
            numbers.put(at, found)
            progress(int(shown[at] is not None))
    held.forget("label_path")
    made.rankings = rankings(masks, numbers[: len(masks)], top)
    made.outliers = outlier_table(made.rankings, held)
    held.forget("label_voxels_sha256")
    groups = reasons(held)
    if large:
        some = _some(made.rankings, groups, len(masks))
        # Read for themselves: their paths and hashes are of no use for all.
        listed = rows.table(np.array(some, np.int64), column_names()).to_pylist()
        for at, row in zip(some, listed, strict=True):
            shown[at], _ = pictures.of(row, rows.manifest(at))
    made.pictures, made.made, made.missing = pictures.found, pictures.drawn, pictures.missing
    places = {at: place for place, at in enumerate(shown)}
    page = _summary(rows, numbers, made, groups, certificates)
    page.stats = [{str(name): value for name, value in row.items()} for row in table_1]
    page.rankings = [ranking.moved(places) for ranking in made.rankings]
    held.forget(*column_names())
    page.columns = _columns(rows, np.array([*shown], np.int64), numbers)
    page.pictures, page.embedded, page.captions = [*shown.values()], embedded, captions
    remove_folder(made.files / "rows")
    if large:
        page.parts = list(_parts(rows, numbers, page, made))
    write_bytes(made.page, render(page).encode())


def _some(rankings: list[Ranking], groups: list[Record], masks: int) -> list[int]:
    """Rows that a page of too many rows lists, ascending."""
    suspects = {suspect.row for ranking in rankings for suspect in ranking.suspects}
    spread = np.linspace(0, masks, min(masks, MOST_EMBEDDED), endpoint=False).astype(int).tolist()
    return sorted(suspects.union(spread, *(group["at"] for group in groups)))


def _summary(
    rows: _Rows,
    numbers: Measured,
    made: Report,
    groups: list[Record],
    certificates: list[Certificate],
) -> Page:
    """Page without its rows; writes the tables and plots that are beside it."""
    held, files = rows.held, rows.files
    made.skipped, made.failed = (
        sum(group["count"] for group in groups if group["status"] == status)
        for status in (Status.SKIPPED, Status.FAILED)
    )
    masks = held[: rows.masks]
    made.vois = len(masks.one_each("source", "voi_id"))
    plots = made.files / "plots"
    remove_folder(plots)  # an earlier report may have had others
    drawn = []
    promised = promises(held, certificates)
    for figure in [*figures(held, numbers), *risk_figures(promised)]:
        write_bytes(plots / f"{figure.name}.svg", figure.drawing.svg.encode())
        write_bytes(plots / f"{figure.name}.png", figure.drawing.png)
        # Its lines are made when they are looked at, and all have the columns of the first.
        write_csv(plots / f"{figure.name}.csv", figure.table, list(figure.table[0]))
        drawn.append(replace(figure, table=[]))  # of a million rows one is enough
    held.forget(*column_names())
    write_csv(made.files / "outliers.csv", made.outliers)
    twice = duplicates(held)
    held.forget(*column_names())
    sources = built(held)
    write_csv(made.files / "built.csv", sources)
    steps = growth(files)
    if steps:
        write_csv(made.files / "growth.csv", steps)
    else:
        (made.files / "growth.csv").unlink(missing_ok=True)
    versions = sorted({str(row["software_version"]) for row in held if row["software_version"]})
    return Page(
        title=f"Report of {files[0].absolute().parent.parent.name}",
        about=f"{len(files)} manifests; made with uls-data {', '.join(versions) or '(not known)'}",
        files=made.files.name,
        numbers=[
            ("VOIs", made.vois),
            ("lesions", len(masks.one_each(*LESION))),
            ("scans", len(masks.one_each(*LESION[:2]))),
            ("masks", rows.masks),
            ("skipped rows", made.skipped),
            ("failed rows", made.failed),
        ],
        built=sources,
        reasons=groups,
        flags=flags(held),
        duplicates=twice,
        promises=promised,
        figures=drawn,
        steps=sorted(steps, key=_most_changed)[:_STEPS],
        followed=len(steps),
    )


def _most_changed(step: Record) -> float:
    changes = step["long_change_percent"] or 0.0, step["volume_change_percent"] or 0.0
    return float(-max(map(abs, changes)))


def _parts(rows: _Rows, numbers: Measured, page: Page, made: Report) -> Iterator[Part]:
    """All rows, on pages of their own."""
    total = len(rows.held)
    # What is not ok begins a page of its own: cases go from first to last again.
    starts = [*range(0, rows.masks, ROWS_OF_A_PART), *range(rows.masks, total, ROWS_OF_A_PART)]
    for number, (start, stop) in enumerate(pairwise([*starts, total]), 1):
        at = np.arange(start, stop)
        columns = _columns(rows, at, numbers, without=_HASHES)
        cases: dict[str, tuple[str, str]] = {}
        for source, case in zip(columns["source"], columns["case_id"], strict=True):
            first, last = cases.get(source, (case, case))
            cases[source] = min(first, case), max(last, case)
        part = Part(f"{made.files.name}/rows/{number:04d}.html", start + 1, len(at), cases)
        made_page = Page(
            title=page.title,
            about=f"Rows {part.first:,} to {start + part.rows:,} of {total:,}",
            files=page.files,
            home=f"../../{made.page.name}",
            columns=columns,
            pictures=[None] * len(at),
            captions=page.captions,
        )
        write_bytes(made.page.parent / part.path, render(made_page).encode())
        yield part


def _columns(
    rows: _Rows, at: NDArray[np.int64], numbers: Measured, without: tuple[str, ...] = ()
) -> dict[str, list[Any]]:
    """Of some rows: manifest columns of any value, and what was measured on the masks."""
    hidden = (_POINTS, *without)
    names = [name for name in column_names() if name not in _HIDDEN and not name.endswith(hidden)]
    table = rows.table(at, names)
    found: dict[str, list[Any]] = {}
    for name in names:
        values = table[name].to_pylist()
        if any(value not in (None, []) for value in values) or name == "voi_id":
            found[name] = values
    for name, column in sorted(numbers.columns().items()):
        values = [None if value != value else value for value in column[at].tolist()]
        if any(value is not None for value in values):
            found.setdefault(f"mask_{name}", values)
    return found
