"""`uls-data query`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from uls_data.cli.output import json_line, json_option, plain, table

if TYPE_CHECKING:
    import pyarrow as pa

_DEFAULT_COLUMNS = "voi_id,status,reason,lesion_type,long_axis_vox,short_axis_vox,qc_flags"
_ROWS_OF_A_TABLE = 50
_STEP_COLUMNS = (
    *("lesion_track_id", "voi_after", "lesion_type", "days", "long_before_mm", "long_after_mm"),
    *("long_change_percent", "volume_change_percent", "volume_doubling_days"),
)


@click.command(
    epilog="""\b
Examples:
  uls-data query vois 'status == "failed"' --columns case_id,reason,detail
  uls-data query vois 'long_axis_mm > 30 and split == "train"' --csv > large.csv
  uls-data query vois 'flagged("cut_by_voi")' --json
  uls-data query vois 'agreement_level > 1' --sort -uncertainty --csv > disputed.csv
  uls-data query vois --growth --csv > growth.csv
`uls-data columns` lists the columns, `uls-data columns NAME` describes one.
"""
)
@click.argument(
    "manifests",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="M... [EXPRESSION]",
)
@click.option("--columns", help="Comma-separated; default: a few (table) or all (--json, --csv).")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Smallest values of this column first; largest first with a minus: -uncertainty.",
)
@click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output; lists as JSON.")
@click.option("--table", "as_table", is_flag=True, help="A plain table of every row.")
@click.option(
    "--growth", "growing", is_flag=True, help="Change of lesions from each study to the next."
)
@json_option
def command(
    manifests: tuple[Path, ...],
    columns: str | None,
    sort: str | None,
    as_csv: bool,
    as_table: bool,
    growing: bool,
    as_json: bool,
) -> int:
    """Print the rows of manifests that match an expression.

    M is a manifest, or the OUT folder of a build; EXPRESSION is a condition over
    its columns in pandas syntax. Without one, all rows are printed.
    --growth prints lesions that are followed over time instead.
    """
    import pyarrow as pa

    from uls_data.manifest.parquet import frame_of
    from uls_data.manifest.query import query, query_pieces, unknown_words

    if growing:
        return _growth(manifests, as_csv, as_json)
    *paths, last = manifests
    expression = ""
    if paths and not _is_there(last):
        expression = str(last)
    else:
        paths = list(manifests)
    if columns is None and not (as_csv or as_json):
        columns = _DEFAULT_COLUMNS
    wanted = columns.split(",") if columns else None
    if as_json or as_csv:
        for number, piece in enumerate(query_pieces(paths, expression, wanted, sort)):
            if as_json:
                for row in piece.to_pylist():
                    json_line(row)
            else:
                _csv(piece, number == 0)
        sys.stdout.flush()
        return 0
    if sort is None:
        frame = query(paths, expression, wanted)
    else:
        frame = frame_of(pa.concat_tables(query_pieces(paths, expression, wanted, sort)))
    shown = frame if as_table else frame.head(_ROWS_OF_A_TABLE)
    table(shown.itertuples(index=False, name=None), frame.columns)
    if len(shown) < len(frame):
        click.echo(f"... {len(frame) - len(shown)} more rows; --table prints all", err=True)
    click.echo(f"{len(frame)} rows", err=True)
    for hint in () if len(frame) else unknown_words(expression):
        click.echo(hint, err=True)
    return 0


def _growth(manifests: tuple[Path, ...], as_csv: bool, as_json: bool) -> int:
    """Print how followed lesions change, a row a step from one study to the next."""
    from uls_data.manifest.growth import GROWTH, growth
    from uls_data.tables import inert

    steps = growth(list(manifests))
    if as_json:
        for step in steps:
            json_line(step)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(GROWTH)
        writer.writerows([inert(step[name]) for name in GROWTH] for step in steps)
    else:
        shown = _STEP_COLUMNS
        table(([step[name] for name in shown] for step in steps), shown)
    tracks = len({(step["source"], step["lesion_track_id"]) for step in steps})
    click.echo(f"{len(steps)} steps of {tracks} lesions", err=True)
    return 0


def _is_there(path: Path) -> bool:
    """Whether an argument is a file or a folder; an expression may not be a path at all."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _csv(rows: pa.Table, header: bool) -> None:
    """Print rows as CSV: lists as JSON, and no cell that a spreadsheet would run."""
    import pyarrow as pa

    from uls_data.tables import inert

    writer = csv.writer(sys.stdout, lineterminator="\n")
    if header:
        writer.writerow(rows.column_names)
    columns = []
    for column in rows.columns:
        values = column.to_pylist()
        if pa.types.is_nested(column.type):
            values = [None if value is None else json.dumps(plain(value)) for value in values]
        elif pa.types.is_floating(column.type):
            values = [None if value != value else value for value in values]
        columns.append(map(inert, values) if pa.types.is_string(column.type) else values)
    writer.writerows(zip(*columns, strict=True))
