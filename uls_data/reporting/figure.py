"""One figure of a report, and the rows that figures are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from uls_data.manifest.held import HeldRows
from uls_data.manifest.row import Column
from uls_data.outcome import Status
from uls_data.pictures.plots import Drawing
from uls_data.tables import Record

Numbers = Mapping[str, float]
LESION: tuple[Column, ...] = ("source", "case_id", "lesion_index")
NAME: tuple[Column, ...] = ("source", "voi_id", "layer", "lesion_type")
UNKNOWN = "unknown"
# Of one panel.
MOST_BARS = 14
# So many values make a plot.
FEW = 2


@dataclass(frozen=True)
class Figure:
    """One plot of a page.

    Attributes
    ----------
    section : str
        `built` or `quality`.
    name : str
        Of its files.
    title, caption : str
    drawing : Drawing
    table : sequence of dict
        What was drawn.
    """

    section: str
    name: str
    title: str
    caption: str
    drawing: Drawing
    table: Sequence[Record]


def ok(rows: HeldRows) -> HeldRows:
    """Rows that are ok."""
    return rows.where(lambda row: row["status"] == Status.OK)


def values(rows: HeldRows, name: Column) -> NDArray[np.float64]:
    """Values of a column of numbers; NaN for null."""
    found = (row[name] for row in rows)
    return np.fromiter((np.nan if one is None else one for one in found), np.float64, len(rows))


class Table(Sequence[Record]):
    """Lines of a table, each made when it is looked at.

    Parameters
    ----------
    things : sequence
        What the lines are about.
    line : callable
        Returns the line of a thing.
    """

    def __init__(self, things: Sequence[Any], line: Callable[[Any], Record]) -> None:
        self._things, self._line = things, line

    def __len__(self) -> int:
        return len(self._things)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Table: ...
    def __getitem__(self, at: int | slice) -> Record | Table:
        things = self._things[at]
        return Table(things, self._line) if isinstance(at, slice) else self._line(things)


def picked(rows: HeldRows, columns: Sequence[Column]) -> Table:
    """Rows with these columns alone."""
    return Table(rows, lambda row: {name: row[name] for name in columns})


def by(rows: HeldRows, name: Column) -> dict[str, HeldRows]:
    """Rows by the text in a column, in the order of these texts."""

    def of(text: str) -> HeldRows:
        return rows.where(lambda row: str(row[name] or UNKNOWN) == text)

    return {text: of(text) for text in sorted({str(row[name] or UNKNOWN) for row in rows})}
