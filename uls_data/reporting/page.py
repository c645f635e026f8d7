"""The page itself: one HTML file that needs no network and runs no script but its own.

Whatever comes from a manifest is hostile until escaped: the template (`assets/report.html`)
escapes all text, data for the script is JSON in a block that no browser executes, and the
policy in the head allows the page's own script and style alone, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from uls_data.manifest.row import Row
from uls_data.reporting.figure import Figure
from uls_data.reporting.promises import Promised
from uls_data.reporting.ranking import Ranking
from uls_data.tables import Record

_DIGITS = 6
# Columns of a row that follow the address of triage, behind a #, separated by slashes.
TRIAGE_LINK = ("source", "voi_id", "layer")


@dataclass(frozen=True)
class Part:
    """One of the pages that hold all rows, where there are too many for one.

    Attributes
    ----------
    path : str
        Relative to the main page.
    first, rows : int
        Number of its first row, from 1, and how many it has.
    cases : dict of str to (str, str)
        By source: the first and the last case by name.
    """

    path: str
    first: int
    rows: int
    cases: dict[str, tuple[str, str]]


@dataclass
class Page:
    """What a page shows.

    Attributes
    ----------
    title, about : str
    files : str
        Folder of plots and tables, relative to the page.
    numbers : list of (str, int)
        Headline: what, how many.
    built, reasons, flags, stats : list of dict
        As `uls_data.reporting.outcomes` and `uls_data.manifest.stats` give them.
    duplicates : list of dict
        As `uls_data.reporting.duplicates` gives them.
    promises : list of Promised
        Certificates that rows name, or that were given.
    figures : list of Figure
    rankings : list of Ranking
        Their rows are those of `columns`.
    columns : mapping of str to list
        The rows listed, by column; text, number, bool or null.
    pictures : list of str or None
        Of each row: base64 of a JPEG, or a path relative to the page.
    embedded : bool
        Which of the two.
    captions : list of str
        Columns written below a picture.
    parts : list of Part
        Pages that hold all rows; empty where this one does.
    steps : list of dict
        Lesions that are followed, from study to study, as `uls_data.manifest.growth` gives them:
        those that changed most.
    followed : int
        How many steps there are in all.
    home : str
        Of one of those: the main page, relative to it; it shows rows alone.
    """

    title: str
    about: str
    files: str
    numbers: list[tuple[str, int]] = field(default_factory=list)
    built: list[Record] = field(default_factory=list)
    reasons: list[Record] = field(default_factory=list)
    flags: list[Record] = field(default_factory=list)
    stats: list[Record] = field(default_factory=list)
    duplicates: list[Record] = field(default_factory=list)
    promises: list[Promised] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    pictures: Sequence[str | None] = ()
    embedded: bool = False
    captions: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    steps: list[Record] = field(default_factory=list)
    followed: int = 0
    home: str = ""


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = _environment()
    style, script = (_source(environment, name) for name in ("report.css", "report.js"))
    images = "data:" if page.embedded else "data: 'self' file:"
    policy = "; ".join(
        (
            "default-src 'none'",
            f"img-src {images}",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    data = {
        "embedded": page.embedded,
        "captions": page.captions,
        "columns": [_column(name, values) for name, values in page.columns.items()],
        "pictures": list(page.pictures),
        "parts": [{"path": part.path, "cases": part.cases} for part in page.parts],
        "part": bool(page.home),
        "triage": TRIAGE_LINK,
    }
    template = environment.get_template("report.html")
    return template.render(page=page, policy=policy, style=style, script=script, data=data)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("uls_data.reporting", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "base64": _base64,
        "cell": _cell,
        "numeric": _numeric,
        "percent": _percent,
        "text": _text,
        "with_axes": _with_axes,
    }
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _source(environment: Environment, name: str) -> str:
    """Text of an asset that is not a template."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _column(name: str, values: Sequence[Any]) -> Record:
    """One column as the script reads it: numbers, or texts and which of them each row has."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return {"name": name, "numbers": [_number(value) for value in values]}
    texts: dict[str, int] = {}
    codes = [
        -1 if value is None else texts.setdefault(_text(value), len(texts)) for value in values
    ]
    return {"name": name, "texts": list(texts), "codes": codes}


def _number(value: Any) -> Any:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _with_axes(row: Record) -> Record:
    """Return a row of Table 1 with its axes as mean ± standard deviation."""
    return {**row, "long": _mean_std(row, "long"), "short": _mean_std(row, "short")}


def _mean_std(row: Record, axis: str) -> str | None:
    mean, std = row[f"{axis}_mean"], row[f"{axis}_std"]
    if mean != mean:
        return None
    return f"{mean:.2f}" + (f" ± {std:.2f}" if std == std else "")


def _numeric(rows: Sequence[Record], columns: Iterable[str]) -> set[str]:
    """Columns that are aligned right: those without text, the axes of Table 1, percentages."""

    def is_word(value: Any) -> bool:
        return isinstance(value, str) and not value.endswith("%")

    return {
        name
        for name in columns
        if name in ("long", "short") or not any(is_word(row.get(name)) for row in rows)
    }


def _percent(rows: Iterable[Record], columns: Iterable[str]) -> list[Record]:
    """Rows whose shares are written as percentages."""
    return [
        {**row, **{name: f"{row[name]:.1%}" for name in columns if row.get(name) is not None}}
        for row in rows
    ]


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def outlier_table(rankings: Iterable[Ranking], rows: Sequence[Row]) -> list[Record]:
    """Rankings as rows of a table: rule, rank, score, words, and which lesion."""
    return [
        {
            "rule": ranking.name,
            "rank": number,
            **{
                name: rows[suspect.row][name]
                for name in ("source", "case_id", "lesion_index", "voi_id", "layer")
            },
            "score": round(suspect.score, 4),
            "words": suspect.words,
        }
        for ranking in rankings
        for number, suspect in enumerate(ranking.suspects, 1)
    ]
