"""The table of lines that readers draw, each written before the call that draws it returns."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from uls_data.errata.overlay import Author
from uls_data.errors import CaseError, SourceError
from uls_data.io.shared import SharedFile
from uls_data.lesions.drawn_lines import COLUMNS, ENDS, NotDrawn
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.tables import read_rows, real_of, write_csv

_MAXIMUM_BYTES = 32 << 20
# Of a pixel: a hundredth, which recipes round to.
_DIGITS = 2
_NUMBERS = frozenset((*ENDS, "long_axis_mm", "short_axis_mm"))
_Cells = dict[str, str | float]


class DrawnTable:
    """What readers drew: one row for each reader and lesion, a newer one in the place of an older.

    Rows of other readers stay as they are. A kill at any instant leaves the old file or the new
    one. Not safe for several threads; several processes may write to one file.

    Parameters
    ----------
    path : Path
        CSV; made with the first lines that are drawn if it is not there.
    reader : str
        Name or handle that tells readers apart; no address.

    Raises
    ------
    SourceError
        The file is no such table, or the name cannot be one.
    """

    def __init__(self, path: Path, reader: str) -> None:
        self.path, self.reader = path, reader
        try:
            TypeAdapter(Author).validate_python(reader)
        except ValidationError as error:
            words = error.errors(include_url=False, include_input=False)[0]["msg"]
            words = words.removeprefix("Value error, ")
            raise SourceError(f"--author {reader}: {words}; it tells readers apart") from error
        self._rows: list[_Cells] = []
        self._names: list[str] = list(COLUMNS)
        self._file = SharedFile(path, self._take)
        self._file.read()
        # After a crash, what was drawn before it can still be taken back.
        self._done: list[tuple[str, _Cells | None]] = [
            (str(row["lesion"]), None) for row in self._rows if self._is_mine(row)
        ]

    def of(self, lesion: str) -> _Cells | None:
        """Return the row of this reader for a lesion, if there is one."""
        rows = (row for row in self._rows if row["lesion"] == lesion)
        return next((row for row in rows if self._is_mine(row)), None)

    def draw(
        self, lesion: str, series: str, sop: str, lines: Lines, lengths_mm: tuple[float, float]
    ) -> None:
        """Put lines down for a lesion.

        Parameters
        ----------
        lesion : str
            Its name.
        series, sop : str
            UIDs of the series, and of the slice that the lines are on.
        lines : Lines
            In the stored slice: column and row, zero-based, pixel centres at whole numbers.
        lengths_mm : tuple of 2 float
        """
        points = [round(float(number), _DIGITS) for number in lines.points.ravel()]
        lengths = [round(length, _DIGITS) for length in lengths_mm]
        self._change(
            lesion,
            {
                **self._named(lesion, series, sop),
                **dict(zip(ENDS, points, strict=True)),
                "long_axis_mm": lengths[0],
                "short_axis_mm": lengths[1],
            },
        )

    def skip(self, lesion: str, series: str, sop: str, reason: NotDrawn) -> None:
        """Say why no lines are drawn for a lesion; `sop` is the slice that was asked for."""
        why = {"skip": "true", "skip_reason": reason.value}
        self._change(lesion, {**self._named(lesion, series, sop), **why})

    def clear(self, lesion: str) -> None:
        """Take away what this reader said about a lesion."""
        if self.of(lesion) is not None:
            self._change(lesion, None)

    def undo(self) -> str | None:
        """Take back the last change; returns the lesion, None where none is left."""
        if not self._done:
            return None
        lesion, before = self._done[-1]
        self._write(lesion, before)
        self._done.pop()
        return lesion

    def _named(self, lesion: str, series: str, sop: str) -> _Cells:
        named = (lesion, self.reader, series, sop)
        return {**dict.fromkeys(self._names, ""), **dict(zip(COLUMNS, named, strict=False))}

    def _is_mine(self, row: _Cells) -> bool:
        return row["reader"] == self.reader

    def _change(self, lesion: str, row: _Cells | None) -> None:
        self._done.append((lesion, self._write(lesion, row)))

    def _write(self, lesion: str, row: _Cells | None) -> _Cells | None:
        """Replace this reader's row of a lesion; returns the one before."""
        try:
            with self._file.replacing():
                before = self.of(lesion)
                kept = [other for other in self._rows if other is not before]
                if row is not None:
                    kept.append(row)
                write_csv(self.path, kept, self._names)
                self._rows = kept
                return before
        except OSError as error:
            raise SourceError(
                f"{self.path}: cannot be written: {error.strerror}; name another file with --lines"
            ) from error

    def _take(self) -> None:
        if not self.path.exists():
            self._rows, self._names = [], list(COLUMNS)
            return
        try:
            rows = list(
                read_rows(
                    self.path,
                    self.path.parent,
                    COLUMNS,
                    Reason.ANNOTATION_UNREADABLE,
                    maximum_bytes=_MAXIMUM_BYTES,
                )
            )
        except CaseError as error:
            raise SourceError(f"{self.path}: no table of drawn lines: {error.detail}") from error
        self._rows = [{name: _cell(name, text) for name, text in row.cells.items()} for row in rows]
        self._names = list(dict.fromkeys((*COLUMNS, *(name for row in rows for name in row.cells))))


def _cell(name: str, text: str) -> str | float:
    number = real_of(text.strip()) if name in _NUMBERS else None
    return text if number is None else number
