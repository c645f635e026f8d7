"""Rows of small annotation tables, read as untrusted input: bounded, typed, nothing guessed."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import atomic_write
from uls_data.outcome import Reason
from uls_data.volumes.volume import check_file

MAXIMUM_BYTES = 8 << 20
MAXIMUM_ROWS = 100_000
# Longest cell that a message shows, and only where it holds no words: in a table that was
# edited by hand, a name may stand in any column.
_SHOWN = 40
_NUMERIC = re.compile(r"[-+0-9.,eE ]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_WHOLE = re.compile(r"[0-9]{1,6}(?:\.0{1,6})?")
_REAL = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
# A line of a table that the program writes: scores, counts, curves.
Record = dict[str, Any]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    cells : dict of str to str
        By column name in lower case.
    where : str
        File and line, for messages.
    """

    cells: dict[str, str]
    where: str

    def wrong(self, what: str) -> CaseError:
        """Return the error for a row that cannot be used (`annotation_unreadable`)."""
        return CaseError(
            Reason.ANNOTATION_UNREADABLE, f"{self.where}: {what}; get the table again, unedited"
        )

    def put_once(self, into: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        """Add an entry whose key no other row may have."""
        if key in into:
            raise self.wrong(f"{key} is in the table twice")
        into[key] = value

    def whole(self, column: str, low: int, high: int) -> int:
        """Whole number within bounds, at most 999,999; `1.0` counts as 1."""
        return self._whole(self.cells[column.lower()].strip(), column, low, high)

    def wholes(self, column: str, low: int, high: int) -> tuple[int, ...]:
        """Whole numbers of a cell such as `1,2,3`."""
        parts = self.cells[column.lower()].split(",")
        return tuple(self._whole(part.strip(), column, low, high) for part in parts)

    def real(self, column: str, low: float, high: float) -> float:
        """Finite number within bounds."""
        text = self.cells[column.lower()].strip()
        number = real_of(text)
        if number is not None and low <= number <= high:
            return number
        expected = f"expected a number from {low:g} to {high:g}"
        raise self.wrong(f"{column}: {expected}, found {_shown(text)}")

    def reals(self, column: str, count: int, low: float, high: float) -> tuple[float, ...]:
        """As many finite numbers within bounds as a cell such as `1.5, 2` must hold."""
        parts = [part.strip() for part in self.cells[column.lower()].split(",")]
        found = [number for part in parts if (number := real_of(part)) is not None]
        if len(found) == len(parts) == count and all(low <= one <= high for one in found):
            return tuple(found)
        expected = f"expected {count} numbers from {low:g} to {high:g}"
        raise self.wrong(f"{column}: {expected}, found {_shown(','.join(parts))}")

    def _whole(self, text: str, column: str, low: int, high: int) -> int:
        if _WHOLE.fullmatch(text) and low <= (number := int(text.partition(".")[0])) <= high:
            return number
        expected = f"expected a whole number from {low} to {high}"
        raise self.wrong(f"{column}: {expected}, found {_shown(text)}")


def read_rows(
    path: Path,
    root: Path,
    needed: Sequence[str],
    without: Reason,
    *,
    maximum_bytes: int = MAXIMUM_BYTES,
    ragged: bool = False,
) -> Iterator[Row]:
    """Rows of a comma-separated table in UTF-8, empty ones left out.

    A byte-order mark, CRLF, quoted cells and columns that nobody asked for are accepted.

    Parameters
    ----------
    path, root : Path
        The table, and the raw root that messages name it relative to.
    needed : sequence of str
        Columns that must be there, each once; case does not matter.
    without : Reason
        Why a table that lacks one of them is refused.
    maximum_bytes : int
        Size of the largest table.
    ragged : bool
        A row with too few or too many cells is given with its first cell, the others empty, so
        that it alone is lost and not the table.

    Raises
    ------
    CaseError
        `without`; `annotation_unreadable`: no such table in form or text; `too_large`;
        `unreadable`: no file; `io_error`.
    """
    name = name_below(path, root)
    try:
        text = read_bytes(path, root, maximum_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaseError(
            Reason.ANNOTATION_UNREADABLE,
            f"{name}: byte {error.start} is not UTF-8; get the table again",
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        for column in needed:
            if (count := header.count(column.lower())) != 1:
                raise CaseError(
                    without,
                    f"{name}: expected the columns {', '.join(needed)}, separated by commas; "
                    f"found {column} {count} times",
                )
        for number, cells in enumerate(reader):
            where = f"{name}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if ragged and len(cells) != len(header):
                cells = [*cells[:1], *[""] * (len(header) - 1)]
            if len(cells) != len(header) or number >= MAXIMUM_ROWS:
                what = f"expected {len(header)} cells in each of at most {MAXIMUM_ROWS:,} rows"
                raise CaseError(
                    Reason.ANNOTATION_UNREADABLE, f"{where}: {what}, found {len(cells)} cells"
                )
            yield Row(dict(zip(header, cells, strict=True)), where)
    except csv.Error as error:
        raise CaseError(
            Reason.ANNOTATION_UNREADABLE, f"{name}, line {reader.line_num}: no CSV: {error}"
        ) from error


def read_bytes(path: Path, root: Path, maximum_bytes: int = MAXIMUM_BYTES) -> bytes:
    """Read a file that may be a table: bounded in size, never a pipe."""
    name = name_below(path, root)
    try:
        check_file(path)
        with path.open("rb") as file:
            data = file.read(maximum_bytes + 1)
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
        ) from error
    if len(data) > maximum_bytes:
        raise CaseError(
            Reason.TOO_LARGE, f"{name}: expected a table of at most {maximum_bytes:,} bytes"
        )
    return data


def name_below(path: Path, root: Path) -> str:
    """Name of a file as messages say it: relative to the raw root."""
    return readable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)


def real_of(text: str) -> float | None:
    """Finite number that a text of a table is; None for any other text."""
    number = float(text) if _REAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _shown(text: str) -> str:
    """Cell of a table as a message may show it: numbers, never words."""
    if not text:
        return "nothing"
    if len(text) <= _SHOWN and _NUMERIC.fullmatch(text):
        return repr(text)
    return f"text of {len(text)} characters"


def write_csv(path: Path, rows: Sequence[Record], names: Sequence[str] | None = None) -> None:
    """Write rows as CSV, whole or not at all; a column for every name that any row has.

    Rows whose `names` are given are looked at once. Text that a spreadsheet would run as a formula
    gets an apostrophe in front.
    """
    if names is None:
        names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)


def inert(value: Any) -> Any:
    """Return text that a spreadsheet would run as a formula with an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
