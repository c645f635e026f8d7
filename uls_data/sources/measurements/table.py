"""A table of measurements: who measured what on which slice, a row a measurement.

Names of columns are the recipe's (`reader.table.columns`), or the usual ones where it names none.
Readers and lesions are kept as hashes of what the table calls them, to tell them apart, and no
text of a cell reaches a message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from uls_data.dicom.elements import is_uid
from uls_data.errors import CaseError, SourceError
from uls_data.ids import REQUEST, readable, request_name
from uls_data.io import sha256_bytes
from uls_data.lesions.drawn_lines import NotDrawn
from uls_data.mining.mined import NotTaken
from uls_data.outcome import LesionType, Reason, Status
from uls_data.recipe.measurements import LineTable, Measurements
from uls_data.sources.days import day_of
from uls_data.sources.measurements.cells import header_of, rows_of
from uls_data.sources.measurements.statement import Kind, Place, Point, Shape, Statement
from uls_data.tables import Row, name_below

_EMPTY = frozenset(("", "nan", "na", "none", "null", "undefined"))
_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = _EMPTY | frozenset(("false", "f", "no", "n", "0", "0.0"))
_FARTHEST = 1e5
_LONGEST_MM = 1e4
_MOST_SLICES = 100_000
_LARGEST_NUMBER = 999_999
_LONGEST_ROLE, _LONGEST_PATH = 200, 1000
_SHOWN_COLUMNS, _SHOWN_LETTERS = 60, 40
_TURNED = {"lps_mm": (-1.0, -1.0, 1.0), "ras_mm": (1.0, 1.0, 1.0)}


def read_table(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """All rows of the table; one that cannot be used says why.

    Raises
    ------
    SourceError
        It is no such table, or a column that the recipe names is not there.
    """
    assert reader.table is not None
    try:
        layout = _Layout.of(path, root, reader)
        rows = rows_of(path, root, sorted(layout.used))
        return [layout.statement(row, number) for number, row in enumerate(rows, start=1)]
    except CaseError as error:
        raise SourceError(f"--raw {root}: {error.detail}") from error


@dataclass(frozen=True)
class _Layout:
    """Which columns of a table are used, and how its rows are read."""

    source: Path
    table: LineTable
    shift_vox: float
    has: frozenset[str]
    case_pattern: str
    asks: bool

    @classmethod
    def of(cls, path: Path, root: Path, reader: Measurements) -> _Layout:
        """Look at the header of a table.

        Raises
        ------
        SourceError
            A column that the recipe names is not there, or none that tells scan or lines.
        """
        assert reader.table is not None
        header = header_of(path, root)
        has = frozenset(cell.strip().lower() for cell in header)
        shift = reader.coordinates.shift_vox if reader.coordinates is not None else 0.0
        asks = reader.images is None and reader.drawn is not None
        found = cls(path.relative_to(root), reader.table, shift, has, reader.case, asks)
        found._check(header, path, root, reader)
        return found

    @cached_property
    def used(self) -> frozenset[str]:
        """Columns that are read."""
        columns = self.table.columns
        names = {value for _, value in columns if isinstance(value, str)}
        names |= {*self.table.ends("long"), *self.table.ends("short"), *self.table.ends("point")}
        return frozenset(name for name in names if name.lower() in self.has)

    def _check(self, header: Sequence[str], path: Path, root: Path, reader: Measurements) -> None:
        wanted = list(self.table.demanded())
        missing = [one for one in wanted if not self._has_any(one[1])] or self._lacking(reader)
        if not missing:
            return
        field, column = missing[0]
        more = f" ({len(missing) - 1} others are missing too)" if len(missing) > 1 else ""
        # A first line in which few names are known may not be a header, and hold anybody's name.
        known = 2 * len(missing) <= len(wanted) or (not wanted and bool(self.used))
        shown = (readable(cell.strip())[:_SHOWN_LETTERS] for cell in header[:_SHOWN_COLUMNS])
        raise SourceError(
            f"--raw {root}: {name_below(path, root)} has no column {column!r}{more}; "
            + (
                f"it has: {', '.join(shown)}"
                if known
                else "few or none of the expected are in its first line"
            )
            + f".\n  Say in the recipe's {field} what the column is called (null where there is "
            "none and the field allows that)."
        )

    def _lacking(self, reader: Measurements) -> list[tuple[str, str]]:
        """Field and columns of what must be told in some way, where the table tells it in none."""
        columns = self.table.columns
        ends = self.table.ends("long")
        if not self._has_any(*ends, columns.long_length_mm, columns.short_length_mm):
            return [("reader.table.columns.long", ", ".join(ends))]
        if self._has_any(columns.case, columns.series_number, columns.report):
            return []
        if reader.images:
            return [("reader.table.columns.case", f"{columns.case}")]
        if self._has_any(columns.series, columns.slice):
            return []
        return [("reader.table.columns.series", f"{columns.series}")]

    def _has_any(self, *names: str | None) -> bool:
        return any(name is not None and name.lower() in self.has for name in names)

    def statement(self, row: Row, number: int) -> Statement:
        """Statement of a row; one that cannot be used says why."""
        columns = self.table.columns
        series = self._text(row, columns.series)
        study = self._text(row, columns.study)
        made = Statement(
            number=number,
            source_lesion_id=f"row-{number}",
            source=self.source,
            place=Place(
                series=series if is_uid(series) else "",
                study=study if is_uid(study) else "",
                **self._case(row),
            ),
            drawn_by=self._hash(row, columns.annotator),
            lesion=self._hash(row, columns.lesion),
            named=self._hash(row, columns.track),
        )
        word = self._text(row, columns.lesion)
        if REQUEST.fullmatch(word):
            made = replace(made, request=word)
        try:
            of_series = self._number(row, columns.series_number)
            made = replace(made, place=replace(made.place, series_number=of_series))
            made = replace(made, day=self._day(row))
            made = self._measured(made, row)
        except CaseError as error:
            made = replace(made, skipped=(error.reason, error.detail))
        if "series" in columns.model_fields_set and columns.series and not made.place.series:
            why = Reason.ANNOTATION_UNREADABLE, f"{row.where}: names no series"
            return replace(made, place=Place(), skipped=made.skipped or why)
        known = made.place.case or made.place.series or made.place.study or made.place.slice_name
        if self.of_reports and not known:
            # The number of a series alone would be that of anybody's.
            detail = f"{row.where}: no part of its report's name fits the recipe's `case`"
            why = Reason.IMAGE_MISSING, detail
            return replace(made, place=Place(), skipped=made.skipped or why)
        return made

    def _measured(self, made: Statement, row: Row) -> Statement:
        columns = self.table.columns
        if columns.role is not None:
            role = self._text(row, columns.role)
            if len(role) > _LONGEST_ROLE or not re.fullmatch(self.table.radiologist, role):
                detail = f"{row.where}: {columns.role} does not say that this is a radiologist"
                raise CaseError(Reason.NOT_A_RADIOLOGIST, detail)
        if self.of_reports and (why := self._not_taken(row)):
            raise CaseError(Reason.NOT_MEASURED, f"{row.where}: no lesion of now: {why}")
        skip = self._text(row, columns.skip).lower()
        if skip not in _FALSE:
            if skip not in _TRUE:
                raise row.wrong(f"{columns.skip}: expected true or false")
            why = self._text(row, columns.skip_reason)
            more = f": {why}" if why in set(NotDrawn) else ""
            raise CaseError(Reason.NOT_MEASURED, f"{row.where}: the annotator skipped it{more}")
        made = replace(
            made,
            stated_mm=(
                self._length(row, columns.long_length_mm),
                self._length(row, columns.short_length_mm),
            ),
            lesion_type=self._lesion_type(row),
        )
        shapes = self._lines(row, made)
        if not shapes and self._names_no_slice(row):
            detail = f"{row.where}: sizes, and nothing that tells the slice"
            raise CaseError(Reason.NOT_MEASURED, detail)
        made = replace(made, shapes=shapes, place=self._slice(row, made.place))
        return made if shapes else self._asking(made)

    def _lines(self, row: Row, made: Statement) -> tuple[Shape, ...]:
        """Axes of a row: both, or the long one alone where all of the short one is empty.

        None where the row states lengths alone: readers are asked for the lines.
        """
        ends = {axis: self.table.ends(axis) for axis in ("long", "short")}
        empty = {
            axis: [one for one in names if self._is_empty(row, one)] for axis, names in ends.items()
        }
        names = [*ends["long"], *ends["short"]]
        none = [*empty["long"], *empty["short"]]
        point = self._point(row)
        if point and len(none) == len(names) and made.stated_mm[0] is not None:
            return point
        if self.asks and len(none) == len(names) and made.stated_mm != (None, None):
            return ()
        alone = not empty["long"] and len(empty["short"]) == len(ends["short"])
        if none and not alone:
            what = f"{len(none)} of {len(names)} coordinates are missing, such as {none[0]}"
            if len(none) == len(names) and self.of_reports:
                what += "; readers can draw them if the recipe says reader.drawn"
            raise CaseError(Reason.NOT_MEASURED, f"{row.where}: {what}")
        axes = ("long",) if alone else ("long", "short")
        return point + tuple(
            Shape(Kind.LINE, self._points(row, ends[axis]), axis, stated_mm=stated)
            for axis, stated in zip(axes, made.stated_mm, strict=False)
        )

    def _point(self, row: Row) -> tuple[Shape, ...]:
        """Return the point of a row; none where the row has none, or a part of one."""
        names = self.table.ends("point")
        if any(self._is_empty(row, name) for name in names):
            return ()
        return (Shape(Kind.POINT, self._points(row, names)),)

    def _points(self, row: Row, names: Sequence[str]) -> tuple[Point, ...]:
        numbers = [row.real(name, -_FARTHEST, _FARTHEST) for name in names]
        if self.table.unit == "pixels":
            numbers = [number + self.shift_vox for number in numbers]
            return tuple(zip(numbers[::2], numbers[1::2], strict=True))
        x, y, z = _TURNED[self.table.unit]
        return tuple(
            (x * a, y * b, z * c)
            for a, b, c in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
        )

    def _slice(self, row: Row, place: Place) -> Place:
        """Place with the slice, by the first way of the recipe that the row fills in."""
        columns = self.table.columns
        uid = self._text(row, columns.slice)
        if uid.lower() not in _EMPTY:
            if not is_uid(uid):
                raise row.wrong(
                    f"{columns.slice}: expected a UID, found text of {len(uid)} characters"
                )
            return replace(place, slice_name=uid)
        number = self._number(row, columns.image_number)
        if number is not None:
            return replace(place, image_number=number)
        if not self._is_empty(row, columns.slice_index):
            assert columns.slice_index is not None
            return replace(place, slice_index=row.whole(columns.slice_index, 0, _MOST_SLICES))
        if not self._is_empty(row, columns.slice_mm):
            assert columns.slice_mm is not None
            return replace(place, slice_mm=row.real(columns.slice_mm, -_FARTHEST, _FARTHEST))
        if self.table.unit != "pixels":
            return place
        raise row.wrong("nothing tells the slice")

    @cached_property
    def of_reports(self) -> bool:
        """Whether it is a table of `mine`, whose rows say whether they are lesions."""
        columns = self.table.columns
        return self._has_any(columns.report) and self._has_any(columns.status)

    def _not_taken(self, row: Row) -> str:
        """Why `mine` took a row for no lesion; empty where it is one."""
        status = self._text(row, self.table.columns.status)
        if status == Status.OK:
            return ""
        if status not in set(Status):
            raise row.wrong(f"{self.table.columns.status}: expected one of {', '.join(Status)}")
        reason = row.cells.get("reason", "")
        return reason if reason in {*NotTaken, *Reason} else status

    def _case(self, row: Row) -> dict[str, Any]:
        """Name of a row's case, and other names that its report lies under."""
        columns = self.table.columns
        case = self._text(row, columns.case)[:_LONGEST_ROLE]
        if case:
            return {"case": case}
        report = PurePosixPath(self._text(row, columns.report).replace("\\", "/")[:_LONGEST_PATH])
        names = [report.with_suffix("").name if report.name else "", *report.parts[-2::-1]]
        case = next((name for name in names if re.fullmatch(self.case_pattern, name)), "")
        return {"case": case, "names": tuple(name for name in names if name not in ("", case))}

    def _asking(self, made: Statement) -> Statement:
        """Statement of lengths alone, for which readers are asked to draw lines."""
        place = replace(made.place, names=())
        request = made.request or request_name([repr((place, made.stated_mm, made.lesion))])
        return replace(made, source_lesion_id=request, request=request, asked=made.place)

    def _names_no_slice(self, row: Row) -> bool:
        columns = self.table.columns
        ways = (columns.slice, columns.image_number, columns.slice_index, columns.slice_mm)
        return all(self._is_empty(row, way) for way in ways)

    def _lesion_type(self, row: Row) -> LesionType | None:
        column = self.table.columns.lesion_type
        text = self._text(row, column).lower().replace(" ", "_")
        if text in _EMPTY:
            return None
        if text not in set(LesionType):
            known = ", ".join(LesionType)
            raise row.wrong(f"{column}: expected one of {known}")
        return LesionType(text)

    def _day(self, row: Row) -> int | None:
        column = self.table.columns.study_date
        if self._is_empty(row, column):
            return None
        day = day_of(self._text(row, column))
        if day is None:
            raise row.wrong(f"{column}: expected a day as YYYY-MM-DD or YYYYMMDD")
        return day

    def _number(self, row: Row, column: str | None) -> int | None:
        if column is None or self._is_empty(row, column):
            return None
        return row.whole(column, 0, _LARGEST_NUMBER)

    def _length(self, row: Row, column: str | None) -> float | None:
        if column is None or self._is_empty(row, column):
            return None
        return row.real(column, 0, _LONGEST_MM)

    def _hash(self, row: Row, column: str | None) -> str:
        text = self._text(row, column)
        return sha256_bytes(text.encode()) if text.lower() not in _EMPTY else ""

    def _is_empty(self, row: Row, column: str | None) -> bool:
        return self._text(row, column).lower() in _EMPTY

    @staticmethod
    def _text(row: Row, column: str | None) -> str:
        return row.cells.get(column.lower(), "").strip() if column is not None else ""
