"""Rows of a table of any kind as text by column: CSV, Parquet, XLSX; bounded, never executed."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.outcome import Reason
from uls_data.tables import MAXIMUM_ROWS, Row, name_below, read_bytes, read_rows

MAXIMUM_BYTES = 32 << 20
_MOST_COLUMNS = 500
_MOST_UNPACKED = 256 << 20
_LONGEST_CELL = 1 << 12


def header_of(path: Path, root: Path) -> list[str]:
    """Names of a table's columns, as they are in it.

    Raises
    ------
    CaseError
        It is not a table, or too large.
    SourceError
        It is an XLSX, and openpyxl is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".xlsx"):
        return [str(name) for name in next(_packed(path, root), [])]
    text = read_bytes(path, root, MAXIMUM_BYTES).decode("utf-8-sig", errors="replace")
    try:
        return next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error:
        return []


def rows_of(path: Path, root: Path, needed: Sequence[str]) -> Iterator[Row]:
    """Rows of a table, empty ones left out; see `uls_data.tables.read_rows` for CSV.

    Raises
    ------
    CaseError, SourceError
        As `header_of`; `annotation_unreadable`: a needed column is not there once.
    """
    if path.suffix.lower() not in (".parquet", ".xlsx"):
        without = Reason.ANNOTATION_UNREADABLE
        yield from read_rows(path, root, needed, without, maximum_bytes=MAXIMUM_BYTES)
        return
    name = name_below(path, root)
    lines = _packed(path, root)
    header = [str(cell).strip().lower() for cell in next(lines, [])]
    for column in needed:
        if (count := header.count(column.lower())) != 1:
            raise CaseError(
                Reason.ANNOTATION_UNREADABLE,
                f"{name}: expected the column {column} once, found it {count} times",
            )
    for number, cells in enumerate(lines, start=2):
        if number > MAXIMUM_ROWS:
            detail = f"{name}: expected at most {MAXIMUM_ROWS:,} rows"
            raise CaseError(Reason.ANNOTATION_UNREADABLE, detail)
        texts = [_text(cell) for cell in cells]
        if any(texts):
            texts += [""] * (len(header) - len(texts))
            yield Row(dict(zip(header, texts, strict=False)), f"{name}, row {number}")


def _packed(path: Path, root: Path) -> Iterator[Iterable[Any]]:
    """Lines of a Parquet or XLSX table, its header first."""
    name = name_below(path, root)
    data = io.BytesIO(read_bytes(path, root, MAXIMUM_BYTES))
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet(data, name)
        else:
            yield from _xlsx(data, name)
    except (CaseError, SourceError, MemoryError):
        raise
    except Exception as error:
        # Whatever the libraries raise on damaged data; their words may quote a cell.
        detail = f"{name}: no {path.suffix[1:]} table ({type(error).__name__}); save it again"
        raise CaseError(Reason.ANNOTATION_UNREADABLE, detail) from None


def _parquet(data: io.BytesIO, name: str) -> Iterator[Iterable[Any]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(data)
    about = file.metadata
    unpacked = sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))
    _check_size(about.num_columns, about.num_rows, unpacked, name)
    yield file.schema_arrow.names
    for batch in file.iter_batches(batch_size=1024):
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True)


def _xlsx(data: io.BytesIO, name: str) -> Iterator[Iterable[Any]]:
    try:
        import openpyxl
    except ImportError:
        raise SourceError(
            f"{name}: reading .xlsx needs openpyxl: pip install 'uls-data[xlsx]', or save the "
            "table as CSV"
        ) from None
    with zipfile.ZipFile(data) as packed:
        _check_size(1, 0, sum(one.file_size for one in packed.infolist()), name)
    book = openpyxl.load_workbook(data, read_only=True, data_only=True, keep_links=False)
    sheet = book.worksheets[0]
    for cells in sheet.iter_rows(max_col=_MOST_COLUMNS, values_only=True):
        yield ["" if cell is None else cell for cell in cells]


def _check_size(columns: int, rows: int, unpacked: int, name: str) -> None:
    if columns > _MOST_COLUMNS or rows > MAXIMUM_ROWS or unpacked > _MOST_UNPACKED:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: {columns:,} columns, {rows:,} rows and {unpacked:,} bytes unpacked; at most "
            f"{_MOST_COLUMNS}, {MAXIMUM_ROWS:,} and {_MOST_UNPACKED:,} are read",
        )


def _text(cell: Any) -> str:
    """Cell as a CSV would hold it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, str | int):
        return str(cell)[:_LONGEST_CELL].strip()
    return ""
