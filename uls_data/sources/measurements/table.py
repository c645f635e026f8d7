"""The table of Crowds Cure Cancer: who measured what on which slice, a row a measurement.

Names of columns are the recipe's (`reader.columns`): of the 2018 table only those of the axes
are known from code that reads it. Annotators are kept as hashes of their names, to tell them
apart, and no text of a cell reaches a message.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from uls_data.dicom.elements import is_uid
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io import sha256_bytes
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.recipe.reader import Ccc18, Ccc18Columns
from uls_data.tables import Row, name_below, read_bytes, read_rows

_EMPTY = frozenset(("", "nan", "na", "none", "null", "undefined"))
_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = _EMPTY | frozenset(("false", "f", "no", "n", "0", "0.0"))
_FARTHEST_VOX = 1e5
_LONGEST_MM = 1e4
_MOST_SLICES = 100_000
_LONGEST_ROLE = 200
_SHOWN_COLUMNS, _SHOWN_LETTERS = 60, 40
_NOWHERE = Lines((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class CrowdRow:
    """One row of the table.

    Attributes
    ----------
    number : int
        Of the row, 1-based; the header and empty lines do not count.
    series_instance_uid : str
        Empty where the row names no series.
    annotator : str
        Hash of the annotator's name.
    slice_name : str
        SOPInstanceUID of the measured slice, or its number from the feet.
    lines : Lines
        Columns and rows of the slice as the table states them; all zero where it states none.
    length_mm : tuple of 2 float or None
        Long and short axis as the table states them.
    skipped : (Reason, str) or None
        `not_a_radiologist`, `not_measured`, or `annotation_unreadable`.
    """

    number: int
    series_instance_uid: str
    annotator: str = field(repr=False)
    slice_name: str = ""
    lines: Lines = _NOWHERE
    length_mm: tuple[float | None, float | None] = (None, None)
    skipped: tuple[Reason, str] | None = None


def read_table(path: Path, root: Path, reader: Ccc18) -> list[CrowdRow]:
    """All rows of the table; one that cannot be used says why.

    Raises
    ------
    SourceError
        It is no such table: not a CSV, or a column that the recipe names is not there.
    """
    try:
        _check_columns(path, root, reader.columns)
        needed = [name for _, name in _wanted(reader.columns)]
        rows = read_rows(path, root, needed, Reason.ANNOTATION_UNREADABLE)
        return [_row(row, number, reader) for number, row in enumerate(rows, start=1)]
    except CaseError as error:
        raise SourceError(f"--raw {root}: {error.detail}") from error


def _wanted(columns: Ccc18Columns) -> Iterator[tuple[str, str]]:
    """Fields of the recipe and the columns that they name."""
    for name, value in columns:
        if isinstance(value, str):
            yield f"reader.columns.{name}", value
        elif value is not None:
            yield from ((f"reader.columns.{name}[{at}]", one) for at, one in enumerate(value))


def _check_columns(path: Path, root: Path, columns: Ccc18Columns) -> None:
    text = read_bytes(path, root).decode("utf-8-sig", errors="replace")
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error:
        header = []
    found = [cell.strip().lower() for cell in header]
    missing = [one for one in _wanted(columns) if one[1].lower() not in found]
    if not missing:
        return
    field_, column = missing[0]
    more = f" ({len(missing) - 1} others are missing too)" if len(missing) > 1 else ""
    # A first line in which few names are known may be no header, and hold anybody's name.
    known = 2 * len(missing) <= len(list(_wanted(columns)))
    names = ", ".join(readable(cell.strip())[:_SHOWN_LETTERS] for cell in header[:_SHOWN_COLUMNS])
    raise SourceError(
        f"--raw {root}: {name_below(path, root)} has no column {column!r}{more}; "
        + (f"it has: {names}" if known else "few or none of the expected are in its first line")
        + f".\n  Say in the recipe's {field_} what the column is called (null where there is "
        "none and the field allows that)."
    )


def _row(row: Row, number: int, reader: Ccc18) -> CrowdRow:
    columns = reader.columns
    series = _text(row, columns.series)
    found = CrowdRow(
        number,
        series if is_uid(series) else "",
        sha256_bytes(_text(row, columns.annotator).encode()),
    )
    try:
        return _measured(found, row, reader)
    except CaseError as error:
        return replace(found, skipped=(error.reason, error.detail))


def _measured(found: CrowdRow, row: Row, reader: Ccc18) -> CrowdRow:
    columns = reader.columns
    if columns.role is not None:
        role = _text(row, columns.role)
        if len(role) > _LONGEST_ROLE or not re.fullmatch(reader.radiologist, role):
            detail = f"{row.where}: {columns.role} does not say that this is a radiologist"
            raise CaseError(Reason.NOT_A_RADIOLOGIST, detail)
    if columns.skip is not None and (skip := _text(row, columns.skip).lower()) not in _FALSE:
        if skip not in _TRUE:
            raise row.wrong(f"{columns.skip}: expected true or false")
        raise CaseError(Reason.NOT_MEASURED, f"{row.where}: the annotator skipped it")
    empty = [name for name in (*columns.long, *columns.short) if _is_empty(row, name)]
    if empty:
        detail = f"{row.where}: {len(empty)} of 8 coordinates are missing, such as {empty[0]}"
        raise CaseError(Reason.NOT_MEASURED, detail)
    points = [
        row.real(name, -_FARTHEST_VOX, _FARTHEST_VOX) for name in (*columns.long, *columns.short)
    ]
    return replace(
        found,
        slice_name=_slice_name(row, columns),
        lines=Lines.of(points),
        length_mm=(_length(row, columns.long_length_mm), _length(row, columns.short_length_mm)),
    )


def _slice_name(row: Row, columns: Ccc18Columns) -> str:
    if columns.slice is None:
        assert columns.slice_index is not None
        return str(row.whole(columns.slice_index, 0, _MOST_SLICES))
    uid = _text(row, columns.slice)
    if not is_uid(uid):
        raise row.wrong(f"{columns.slice}: expected a UID, found text of {len(uid)} characters")
    return uid


def _length(row: Row, column: str | None) -> float | None:
    if column is None or _is_empty(row, column):
        return None
    return row.real(column, 0, _LONGEST_MM)


def _is_empty(row: Row, column: str) -> bool:
    return _text(row, column).lower() in _EMPTY


def _text(row: Row, column: str) -> str:
    return row.cells[column.lower()].strip()
