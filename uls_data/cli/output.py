"""Output shared by commands: JSON lines, CSV, plain tables, and progress."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json`, which is the same on every command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object per line on standard output."
    )(function)


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


def json_line(record: dict[str, Any]) -> None:
    """Print one record as one line of JSON."""
    click.echo(json.dumps({key: plain(value) for key, value in record.items()}, allow_nan=False))


def json_lines(frame: pd.DataFrame) -> None:
    """Print a frame, one JSON object a row."""
    for record in frame.to_dict("records"):
        json_line({str(key): value for key, value in record.items()})


def table(rows: Iterable[Iterable[Any]], header: Iterable[str]) -> None:
    """Print an aligned plain-text table; numbers to the right."""
    lines = [[str(cell) for cell in header]]
    cells = [list(row) for row in rows]
    lines += [[_cell(value) for value in row] for row in cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    numeric = [
        bool(cells) and all(row[at] is None or isinstance(row[at], int | float) for row in cells)
        for at in range(len(widths))
    ]
    for line in lines:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value).replace("\n", " ")


class Progress:
    """A bar on a terminal; elsewhere one plain line every half minute and at the end.

    Parameters
    ----------
    unit : str
        What is made, such as `lesions`.
    steps : str
        What is worked through, such as `cases`.
    """

    def __init__(self, unit: str, steps: str = "cases") -> None:
        self.unit, self.steps = unit, steps
        self.things = 0
        self.cases = self.before = self.total = 0
        self.start = self.said = time.monotonic()
        self._bar: Any = None

    def begin(self, total: int, done: int = 0) -> None:
        """Start with `total` cases, of which `done` were finished before."""
        self.total, self.cases, self.before = total, done, done
        self.start = self.said = time.monotonic()
        if sys.stderr.isatty() and total > done:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit=f" {self.steps}", file=sys.stderr, leave=False
            )

    def step(self, cases: int, things: int) -> None:
        """Count finished cases and things."""
        self.cases += cases
        self.things += things
        seconds = max(time.monotonic() - self.start, 1e-6)
        rate = f"{self.things / seconds:.1f} {self.unit}/s"
        if self._bar is not None:
            self._bar.set_postfix_str(rate, refresh=False)
            self._bar.update(cases)
        elif time.monotonic() - self.said > 30:
            self.said = time.monotonic()
            done = self.cases - self.before
            left = seconds / done * (self.total - self.cases)
            click.echo(
                f"{self.cases} of {self.total} {self.steps}, {rate}, {left / 60:.0f} min left",
                err=True,
            )

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
