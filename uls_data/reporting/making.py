"""Make the report of a build."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.io import atomic_write, remove_folder, write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.choice import Choice
from uls_data.manifest.parquet import iterate_rows, manifest_files
from uls_data.manifest.paths import voi_file
from uls_data.manifest.row import Row
from uls_data.manifest.schema import column_names
from uls_data.manifest.stats import stats
from uls_data.outcome import Reason, Status
from uls_data.pictures.thumbnail import SUFFIX, thumbnail_numbers, thumbnail_path
from uls_data.pictures.thumbnails import Subject, make_thumbnail
from uls_data.reporting.figures import figures
from uls_data.reporting.outcomes import built, flags, reasons
from uls_data.reporting.outliers import rankings
from uls_data.reporting.page import Page, outlier_table, render
from uls_data.reporting.ranking import Ranking
from uls_data.scoring.collection import Item
from uls_data.tables import Record, write_csv
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import read_volume

Numbers = dict[str, float]
MOST_EMBEDDED = 2000
_LONGEST_BYTES = 1 << 20
_CAPTIONS = ("layer", "lesion_type", "long_axis_mm", "short_axis_mm", "predicted_dice")
# Lists of numbers say nothing to an eye, and nobody sorts by them.
_HIDDEN = ("affine", "candidate_scores")
_POINTS = "_points_vox"


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
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write one page about a build: what was built, how good it is, what to look at first.

    The page is one HTML file without any reference to a network. Up to 2,000 masks it holds
    all pictures; beyond, they lie in the folder beside it, `<name>-files`, which also holds
    every plot as SVG, PNG and CSV. Pictures that `build` made are used as they are; others
    are drawn from the VOIs, once, and kept in that folder.

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
    started, progress : callable, optional
        Called with the number of rows to look at, and after each with 1 if it has a picture.

    Raises
    ------
    ManifestError, SourceError
        No manifest there, an unknown column, or the page cannot be written; or another process
        is writing it.
    """
    files = manifest_files(out)
    if top < 1:
        raise SourceError(f"--top {top}: expected at least 1")
    for name in columns or ():
        if name not in column_names():
            raise ManifestError(f"--columns: no column {name!r} in a manifest")
    page = _page_of(Path(out), Path(to) if to is not None else None, files)
    made = Report(page, page.with_name(f"{page.stem}-files"))
    rows, roots = _rows(files)
    if started is not None:
        started(len(rows))
    embedded = sum(row["status"] == Status.OK for row in rows) <= MOST_EMBEDDED
    try:
        with locked(made.files / LOCK, f"--to {page}"):
            pictures, numbers = _pictures(rows, roots, made, embedded, progress)
            _write(rows, pictures, numbers, made, files, embedded, list(columns or _CAPTIONS), top)
    except OSError as error:
        raise SourceError(f"--to {page}: cannot be written: {error.strerror or error}") from error
    return made


def _page_of(out: Path, to: Path | None, files: Sequence[Path]) -> Path:
    if to is None:
        to = out if out.is_dir() else files[0].absolute().parent.parent
    return to if to.suffix.lower() in (".html", ".htm") else to / "report.html"


def _rows(files: Sequence[Path]) -> tuple[list[Row], list[Path]]:
    """Rows of manifests, those that are ok first, and the manifest of each.

    Of those that are ok, the ones that count (`uls_data.manifest.choice`).
    """
    found = [(row, file) for file in files for row in iterate_rows(file)]
    choice = Choice(row for row, _ in found)
    found = [(row, file) for row, file in found if row["status"] != "ok" or choice.counts(row)]
    found.sort(key=lambda pair: pair[0]["status"] != Status.OK)
    return [row for row, _ in found], [file for _, file in found]


def _pictures(
    rows: Sequence[Row],
    manifests: Sequence[Path],
    made: Report,
    embedded: bool,
    progress: Callable[[int], None] | None,
) -> tuple[list[str | None], list[Numbers]]:
    pictures: list[str | None] = []
    numbers: list[Numbers] = []
    folder = made.files / "thumbnails"
    for row, manifest in zip(rows, manifests, strict=True):
        shown: str | None = None
        measured: Numbers = {}
        if row["status"] == Status.OK and row["label_path"] is not None:
            try:
                path, data, measured = _thumbnail(row, manifest, folder, made)
                made.pictures += 1
                if embedded:
                    shown = base64.b64encode(data).decode()
                else:
                    shown = _beside(path, data, folder, made.page)
            except CaseError as error:
                made.missing.append((str(row["voi_id"]), error.detail))
        pictures.append(shown)
        numbers.append(measured)
        if progress is not None:
            progress(int(shown is not None))
    return pictures, numbers


def _thumbnail(row: Row, manifest: Path, folder: Path, made: Report) -> tuple[Path, bytes, Numbers]:
    """Return the thumbnail of a row: the build's, one that was drawn before, or a new one."""
    name = str(row["label_path"])
    label = voi_file(manifest, name)
    kept = folder / f"{_key(row, label)}{SUFFIX}"
    for path in (voi_file(manifest, thumbnail_path(name)), kept):
        if not path.is_file() or path.stat().st_size > _LONGEST_BYTES:
            continue
        data = path.read_bytes()
        numbers = thumbnail_numbers(data)
        # One of another mask of this name is drawn anew.
        if numbers is not None and numbers.get("voxels") == (
            row["mask_voxels"] or numbers.get("voxels")
        ):
            return path, data, numbers
    data, numbers = _drawn(row, manifest, label)
    write_bytes(kept, data)
    made.made += 1
    return kept, data, numbers


def _key(row: Row, label: Path) -> str:
    """Name of a thumbnail that was drawn late: another one as soon as the mask is another."""
    try:
        state = label.stat()
        when = [state.st_size, state.st_mtime_ns]
    except OSError:
        when = []
    identity = [row["source"], row["case_id"], row["lesion_index"], row["sample_index"]]
    text = json.dumps([*identity, row["layer"], row["label_sha256"], row["image_sha256"], when])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _drawn(row: Row, manifest: Path, label: Path) -> tuple[bytes, Numbers]:
    mask, _, _ = Item(str(row["voi_id"]), (), 0, label).read()
    if mask.shape != VOI_SHAPE:
        raise CaseError(Reason.VOI_SHAPE, f"{label.name}: shape {mask.shape}")
    if not mask.any():
        raise CaseError(Reason.EMPTY_MASK, f"{label.name}: no voxel is lesion")
    hu = None
    if row["image_path"] is not None:
        image = voi_file(manifest, row["image_path"])
        volume = read_volume(image, image.parent)
        if volume.ras.shape != VOI_SHAPE:
            raise CaseError(Reason.VOI_SHAPE, f"{image.name}: shape {volume.ras.shape}")
        hu = np.asarray(volume.ras)
    return make_thumbnail(Subject.of(mask), row, hu, row["pad_value_hu"])


def _beside(path: Path, data: bytes, folder: Path, page: Path) -> str:
    """Name of a picture beside the page; the build's own is linked, or copied."""
    if path.parent != folder:
        own = folder / f"{hashlib.sha256(data).hexdigest()[:32]}{SUFFIX}"
        if not own.is_file():
            with atomic_write(own) as temporary:
                try:
                    os.link(path, temporary)
                except OSError:
                    shutil.copyfile(path, temporary)
        path = own
    return path.relative_to(page.parent).as_posix()


def _write(
    rows: list[Row],
    pictures: list[str | None],
    numbers: list[Numbers],
    made: Report,
    files: list[Path],
    embedded: bool,
    captions: list[str],
    top: int,
) -> None:
    ok = [row for row in rows if row["status"] == Status.OK]
    made.rows, made.vois = len(rows), len({(row["source"], row["voi_id"]) for row in ok})
    made.skipped = sum(row["status"] == Status.SKIPPED for row in rows)
    made.failed = sum(row["status"] == Status.FAILED for row in rows)
    made.rankings = rankings(ok, numbers[: len(ok)], top)
    made.outliers = outlier_table(made.rankings, rows)
    plots = made.files / "plots"
    remove_folder(plots)  # an earlier report may have had others
    drawn = list(figures(rows, numbers))
    for figure in drawn:
        write_bytes(plots / f"{figure.name}.svg", figure.drawing.svg.encode())
        write_bytes(plots / f"{figure.name}.png", figure.drawing.png)
        write_csv(plots / f"{figure.name}.csv", figure.table)
    write_csv(made.files / "outliers.csv", made.outliers)
    write_csv(made.files / "built.csv", built(rows))
    lesions = {(row["source"], row["case_id"], row["lesion_index"]) for row in ok}
    versions = sorted({str(row["software_version"]) for row in rows if row["software_version"]})
    page = Page(
        title=f"Report of {files[0].absolute().parent.parent.name}",
        about=f"{len(files)} manifests; made with uls-data {', '.join(versions) or '(not known)'}",
        numbers=[
            ("VOIs", made.vois),
            ("lesions", len(lesions)),
            ("scans", len({lesion[:2] for lesion in lesions})),
            ("masks", len(ok)),
            ("skipped rows", made.skipped),
            ("failed rows", made.failed),
        ],
        built=built(rows),
        reasons=reasons(rows),
        flags=flags(rows),
        stats=[{str(k): v for k, v in row.items()} for row in stats(files).to_dict("records")],
        figures=drawn,
        rankings=made.rankings,
        columns=_columns(rows, numbers),
        pictures=pictures,
        embedded=embedded,
        captions=captions,
        files=made.files.name,
    )
    write_bytes(made.page, render(page).encode())


def _columns(rows: Sequence[Row], numbers: Sequence[Numbers]) -> dict[str, list[Any]]:
    """Manifest columns of any value, and what was measured on the masks."""
    found: dict[str, list[Any]] = {}
    any_rows: Sequence[Mapping[str, Any]] = rows
    for name in column_names():
        if name in _HIDDEN or name.endswith(_POINTS):
            continue
        values = [row[name] for row in any_rows]
        if any(value not in (None, []) for value in values) or name == "voi_id":
            found[name] = values
    for name in sorted({name for measured in numbers for name in measured}):
        found.setdefault(f"mask_{name}", [measured.get(name) for measured in numbers])
    return found
