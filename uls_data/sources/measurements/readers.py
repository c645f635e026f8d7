"""All that a recipe's tables and files state, and the files that state nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.outcome import Reason
from uls_data.recipe.measurements import LineColumns, LineTable, Measurements
from uls_data.recipe.part import Coordinates
from uls_data.sources.format import Search
from uls_data.sources.measurements.requests import answered
from uls_data.sources.measurements.statement import Statement
from uls_data.sources.measurements.table import read_table
from uls_data.sources.scans import Strays
from uls_data.volumes.raw_root import check_inside

# Modality of the DICOM objects of a kind.
_MODALITIES = {"sr": "SR", "presentation_states": "PR", "structure_sets": "RTSTRUCT"}
# Endings of the other files of a kind, and text that tells them from files of another kind.
_ENDINGS = {
    "markups": ((".mrk.json", ".acsv"), b""),
    "aim": ((".xml", ".json"), b"ImageAnnotation"),
}
# `module:function` beside this one: called with a file's path, the raw root and the reader, it
# returns statements.
_READERS = {
    "sr": "groups:read_report",
    "presentation_states": "graphics:read_graphics",
    "structure_sets": "contours:read_structures",
    "markups": "markups:read_markups",
    "aim": "aim:read_aim",
}
_SNIFFED_BYTES = 1 << 16


def read_all(
    search: Search, reader: Measurements, every: list[SeriesFiles]
) -> tuple[list[Statement], list[Path], list[Path], Strays]:
    """Statements of the table and of all objects; the table; copies; and what states nothing.

    Parameters
    ----------
    every : list of SeriesFiles
        All DICOM below the root.

    Raises
    ------
    SourceError
        The table is not there, or is none; or one of drawn lines is none.
    """
    root = search.raw.path
    found: list[Statement] = []
    lost: Strays = {}
    tables: list[Path] = []
    copies: list[Path] = []
    # DICOM was found already.
    other = reader.table is not None or not _MODALITIES.keys() >= set(reader.objects)
    files = sorted(search.raw.walk()) if other else []
    if reader.table is not None:
        (table, *copies) = _tables(reader.table.file, root, files)
        tables = [table]
        drawn, more = _drawn(reader, root, [path for path in files if path not in (table, *copies)])
        copies += more
        found += answered(read_table(root / table, root, reader), drawn)
        search.selected.update(tables, copies, (one.source for one in drawn))
    for kind in reader.objects:
        read = _reader(kind)
        for path in _files_of(kind, search, every, files):
            search.selected.add(path)
            try:
                check_inside(path, root)
                stated = read(path, root, reader)
            except CaseError as error:
                lost[path] = error.reason, error.detail
                continue
            except OSError as error:
                name = readable(path.as_posix())
                lost[path] = Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
                continue
            if stated:
                found += stated
            else:
                detail = f"{readable(path.as_posix())}: holds no line, point or outline"
                lost[path] = Reason.NOT_MEASURED, detail
    return found, tables, copies, lost


def _drawn(
    reader: Measurements, root: Path, files: list[Path]
) -> tuple[list[Statement], list[Path]]:
    """Lines that readers drew for the table's rows; and tables of such that add nothing."""
    if reader.drawn is None or reader.images is not None:
        return [], []
    outward_vox = reader.coordinates.outward_vox if reader.coordinates is not None else 0
    coordinates = Coordinates(shift_vox=0, outward_vox=outward_vox, evidence="drawn in triage")
    found: list[Statement] = []
    idle: list[Path] = []
    seen = set[str]()
    for path in _fitting(reader.drawn, root, files):
        own = LineTable(file=path.name, columns=LineColumns(report=None, case=None))
        told = reader.model_copy(update={"table": own, "coordinates": coordinates, "drawn": None})
        sha256 = sha256_file(root / path)
        rows = [] if sha256 in seen else read_table(root / path, root, told)
        seen.add(sha256)
        found += rows
        if not rows:
            idle.append(path)
    return found, idle


def _reader(kind: str) -> Callable[[Path, Path, Measurements], list[Statement]]:
    module, _, function = _READERS[kind].partition(":")
    loaded: Callable[[Path, Path, Measurements], list[Statement]] = getattr(
        import_module(f"uls_data.sources.measurements.{module}"), function
    )
    return loaded


def _files_of(
    kind: str, search: Search, every: list[SeriesFiles], files: list[Path]
) -> Iterator[Path]:
    """Files of a kind below the raw root, sorted."""
    if kind in _MODALITIES:
        objects = [one for one in every if one.modality == _MODALITIES[kind]]
        search.selected.update(*(one.copies for one in objects))
        yield from sorted(path for one in objects for path in one.files)
        return
    endings, telling = _ENDINGS[kind]
    for path in files:
        if path.name.lower().endswith(endings) and _could_be(path, search.raw.path, telling):
            yield path


def _could_be(path: Path, root: Path, telling: bytes) -> bool:
    """Whether a file holds a text, or cannot be read: its reader then says why."""
    try:
        check_inside(path, root)
        if (root / path).is_dir():
            return False
        with (root / path).open("rb") as opened:
            return telling in opened.read(_SNIFFED_BYTES)
    except (CaseError, OSError):
        return True


def _fitting(pattern: str, root: Path, files: list[Path]) -> list[Path]:
    """Files whose names fit a pattern, none of them a link out of the root."""
    found = [
        path
        for path in files
        if fnmatchcase(path.name.lower(), pattern.lower()) and (root / path).is_file()
    ]
    for path in found:
        try:
            check_inside(path, root)
        except CaseError as error:
            raise SourceError(f"--raw {root}: {error.detail}") from error
    return found


def _tables(pattern: str, root: Path, files: list[Path]) -> list[Path]:
    """Return the one table, and copies of it."""
    found = _fitting(pattern, root, files)
    try:
        distinct = {sha256_file(root / path): path for path in reversed(found)}
    except OSError as error:
        raise SourceError(f"--raw {root}: {pattern}: {error.strerror}") from error
    if len(distinct) == 1:
        return found
    names = ", ".join(readable(path.as_posix()) for path in sorted(distinct.values())[:3])
    what = f"found {len(distinct)} that differ: {names}" if distinct else "found none"
    raise SourceError(
        f"--raw {root}: expected one table called {pattern}, {what}.\n"
        "  Put the table of measurements below the root, or name it in the recipe's "
        "reader.table.file."
    )
