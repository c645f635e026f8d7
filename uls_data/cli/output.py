"""Output shared by commands: JSON lines, CSV and plain tables."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])
SHOWN_FAILURES = 20
_GAP = 2
# All but the end of a line; and what turns the direction of writing.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Columns are not made narrower than this.
_LEAST = 8
# This column is the longest where it says anything.
_LONG = "detail"


workers_option = click.option(
    "--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Worker processes."
)


def json_option(function: F) -> F:
    """Add `--json`, which is the same on every command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object per line on standard output."
    )(function)


def shown(text: str) -> str:
    """Text of others, such as a name in their manifest, without what would control a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN and NA as null, arrays as lists."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if str(value) in ("<NA>", "NaT") else str(value)


def json_line(record: Mapping[str, Any]) -> None:
    """Print one record as one line of JSON."""
    click.echo(json.dumps({key: plain(value) for key, value in record.items()}, allow_nan=False))


def json_lines(frame: pd.DataFrame) -> None:
    """Print a frame, one JSON object a row."""
    for record in frame.to_dict("records"):
        json_line({str(key): value for key, value in record.items()})


def table(rows: Iterable[Iterable[Any]], header: Iterable[str]) -> None:
    """Print an aligned plain-text table, numbers to the right.

    On a terminal the longest words are cut until the lines fit it, but `detail`, which says what
    went wrong, stands whole beneath its line; a file gets all.
    """
    lines = [[str(cell) for cell in header]]
    cells = [list(row) for row in rows]
    lines += [[_cell(value) for value in row] for row in cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    numeric = [
        bool(cells) and all(row[at] is None or isinstance(row[at], int | float) for row in cells)
        for at in range(len(widths))
    ]
    beneath = None
    if sys.stdout.isatty():
        if sum(widths) + _GAP * (len(widths) - 1) > _terminal_width() and _LONG in lines[0]:
            beneath = lines[0].index(_LONG)
        _narrow(widths, numeric, beneath)
    for row, line in enumerate(lines):
        padded = [
            cell.rjust(width) if number else _cut(cell, width).ljust(width)
            for at, (cell, width, number) in enumerate(zip(line, widths, numeric, strict=True))
            if at != beneath
        ]
        click.echo("  ".join(padded).rstrip())
        if beneath is not None and row and line[beneath] != "-":
            prose(line[beneath], "    ")


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def _narrow(widths: list[int], numeric: list[bool], left_out: int | None) -> None:
    """Narrow the widest columns of words until a line fits the terminal, or none can give more."""
    shown = [at for at in range(len(widths)) if at != left_out]
    spare = sum(widths[at] + _GAP for at in shown) - _GAP - _terminal_width()
    while spare > 0:
        words = [at for at in shown if not numeric[at] and widths[at] > _LEAST]
        if not words:
            return
        widest = max(words, key=lambda at: widths[at])
        widths[widest] -= 1
        spare -= 1


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def prose(text: str, indent: str = "", first: str | None = None, *, err: bool = False) -> None:
    """Print a text; on a terminal its lines end between words.

    Parameters
    ----------
    text : str
    indent : str
        Before every line.
    first : str, optional
        Before the first line instead.
    err : bool
        Print on standard error.
    """
    if first is None:
        first = indent
    if not (sys.stderr if err else sys.stdout).isatty():
        click.echo(first + text, err=err)
        return
    width = max(_terminal_width(), len(indent) + 2 * _LEAST)
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines) or first, err=err)


def quoted(path: object) -> str:
    """Path or name as one word of a command that can be copied to a shell."""
    return shlex.quote(str(path))


def next_step(words: str) -> None:
    """Say where to look next: the last line of a command that took long."""
    click.echo(f"Next: {words}")


def failures(
    rows: Sequence[Mapping[str, Any]], name: str = "voi_id", total: int | None = None
) -> None:
    """Name what failed, and why, on standard error.

    Parameters
    ----------
    rows : sequence of dict
        Of a manifest.
    name : str
        Column that tells them apart.
    total : int, optional
        Rows that failed, where not all are given.
    """
    for row in rows[:SHOWN_FAILURES]:
        click.echo(shown(f"  {row[name]}: {row['reason']}: {row['detail'] or '-'}"), err=True)
    more = (len(rows) if total is None else total) - SHOWN_FAILURES
    if more > 0:
        click.echo(f"  ... and {more} more", err=True)


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return shown(str(value).replace("\n", " "))
