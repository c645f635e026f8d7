"""One figure of a report, and the rows that figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from uls_data.manifest.row import Column, Row
from uls_data.outcome import Status
from uls_data.pictures.plots import Drawing
from uls_data.tables import Record

Numbers = Mapping[str, float]
# A row, or one with more beside its columns.
AnyRow = TypeVar("AnyRow", bound=Mapping[str, Any])
LESION: tuple[Column, ...] = ("source", "case_id", "lesion_index")
NAME: tuple[Column, ...] = ("source", "voi_id", "layer", "lesion_type")
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
    table : list of dict
        What was drawn.
    """

    section: str
    name: str
    title: str
    caption: str
    drawing: Drawing
    table: list[Record]


def ok(rows: Iterable[Row]) -> list[Row]:
    """Rows that are ok."""
    return [row for row in rows if row["status"] == Status.OK]


def first(rows: Iterable[AnyRow], by: Sequence[Column]) -> list[AnyRow]:
    """First row of every group."""
    found: dict[tuple[Any, ...], AnyRow] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), row)
    return list(found.values())


def values(rows: Iterable[Row], name: Column) -> list[Any]:
    """Values of one column."""
    return [row[name] for row in rows]


def picked(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[Record]:
    """Rows with these columns alone."""
    return [{name: row[name] for name in columns} for row in rows]


def by(rows: Iterable[AnyRow], name: Column) -> dict[str, list[AnyRow]]:
    """Rows by the text in a column, in the order of these texts."""
    found: dict[str, list[AnyRow]] = {}
    for row in rows:
        found.setdefault(str(row[name] or "unknown"), []).append(row)
    return dict(sorted(found.items()))
