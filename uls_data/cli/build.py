"""`uls-data build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import (
    SHOWN_FAILURES,
    failures,
    json_line,
    json_option,
    next_step,
    quoted,
    table,
    workers_option,
)
from uls_data.cli.progress_bar import Progress
from uls_data.manifest.row import Row
from uls_data.outcome import Reason, Status

_JSON_COLUMNS = (
    "source",
    "case_id",
    "lesion_index",
    "sample_index",
    "voi_id",
    "status",
    "reason",
    "detail",
    "image_path",
    "label_path",
    "mask_voxels",
    "long_axis_vox",
    "short_axis_vox",
    "qc_flags",
)


@click.command(
    epilog="""\b
Examples:
  uls-data build kits21 --raw /data/kits21 --out vois --workers 4
  uls-data build deeplesion --raw DeepLesion --out vois --masks jury --masks grabcut
  uls-data build my_source.yaml --raw . --out vois --limit 3 --dry-run
  uls-data build kits21 --raw kits23 --out labels --labels-only --replay published.parquet
"""
)
@click.argument("recipe", metavar="NAME|FILE")
@click.option("--raw", required=True, type=click.Path(path_type=Path), help="Folder of raw data.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@workers_option
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="A running dask scheduler to use instead of local workers.",
)
@click.option(
    "--profile",
    type=click.Choice(["paper", "published"]),
    default="paper",
    show_default=True,
    help="published: reproduce what the published archive did where that differs.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed for the clicks.")
@click.option(
    "--clicks", default=1, show_default=True, help="VOIs per lesion, each with its own click."
)
@click.option("--limit", type=int, help="Build only the first N cases.")
@click.option(
    "--only", multiple=True, metavar="CASE", help="Build only this case; may be repeated."
)
@click.option("--labels-only", is_flag=True, help="Write masks only, no images.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="MANIFEST",
    help="Take positions from a manifest instead of drawing clicks.",
)
@click.option(
    "--masks",
    multiple=True,
    metavar="METHOD",
    help="For measured lesions: jury (default), grabcut, ellipse, ...; in 3D jury_3d, or ellipsoid "
    "(only from the lines). May be repeated; each gives a layer.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that `uls-data calibrate` wrote, for predicted_dice.",
)
@click.option(
    "--case-timeout",
    type=click.FloatRange(min=1),
    metavar="S",
    help="Give up on a case after S seconds (a disk may hang); the same command tries it "
    "again.  [default: an hour, more for large cases]",
)
@click.option(
    "--prune", is_flag=True, help="Remove the VOIs of cases that are no longer in the raw data."
)
@click.option("--dry-run", is_flag=True, help="Print what would be read; write nothing.")
@json_option
def command(as_json: bool, **arguments: Any) -> int:
    """Turn the raw data of one source into VOIs and a manifest.

    NAME is a shipped recipe (`uls-data recipe list`), FILE one of your own. Run the
    same command again to continue an interrupted build. Every lesion, and every
    case that failed, is a row of OUT/manifest/<source>.parquet. Exit code 1: some
    cases failed, or no VOI was made at all.
    """
    from uls_data.engine.start import start_light

    start_light()
    from uls_data.factory import build

    with Progress("lesions") as bar:
        report = build(
            **arguments,
            started=bar.begin,
            progress=lambda _case, rows: bar.step(1, _made(rows)),
        )
    if arguments["dry_run"]:
        _print_plan(report, as_json)
        return 0
    if as_json:
        for row in report.rows:
            json_line({column: row.get(column) for column in _JSON_COLUMNS})
    else:
        _summary(report, arguments["raw"])
    return 1 if report.failed or not report.ok else 0


def _made(rows: list[Row]) -> int:
    return len({row["voi_id"] for row in rows if row["status"] == "ok"})


def _print_plan(report: Any, as_json: bool) -> None:
    if as_json:
        for row in report.rows:
            json_line(row)
        return
    columns = ("case_id", "image_source", "label_source", "status", "reason")
    table(([row[column] for column in columns] for row in report.rows), columns)
    click.echo(f"{report.cases} cases of {report.source}; nothing was written.", err=True)


def _summary(report: Any, raw: Path) -> None:
    from uls_data.recipe import load_recipe

    done = f", of which {report.done_before} were finished before" if report.done_before else ""
    click.echo(f"{report.source}: {report.cases} cases in this call{done}.")
    click.echo(
        f"The manifest holds {report.ok} VOIs, {report.skipped} skipped and "
        f"{report.failed} failed rows."
    )
    if report.cases and report.done_before == report.cases:
        click.echo("Nothing to do: every case was finished before.")
    for (status, reason), count in sorted(
        report.outcomes.items(), key=lambda item: (-item[1], str(item[0]))
    ):
        if reason is not None:
            click.echo(f"  {status:8} {reason:24} {count}")
    failures(report.failures(SHOWN_FAILURES), "case_id", report.failed)
    if report.flags:
        click.echo("Flags, and how many rows have them:")
        for flag, count in report.flags.items():
            click.echo(f"  {flag:28} {count}")
    for note in report.notes:
        click.echo(f"  {note}", err=True)
    _expectation(report, load_recipe)
    click.echo(f"Manifest: {report.manifest}")
    manifest, where = quoted(report.manifest), quoted(raw)
    if report.outcomes[Status.SKIPPED.value, Reason.AWAITING_LINES.value]:
        next_step(f"uls-data triage {manifest} --draw {where} --author NAME, then build again")
    else:
        next_step(f"uls-data stats {manifest}, uls-data report {manifest}")
    sys.stdout.flush()


def _expectation(report: Any, load_recipe: Any) -> None:
    """Say how a whole build compares with the paper's Table 1."""
    from uls_data.recipe import recipe_names

    if report.source not in recipe_names() or not report.complete:
        return
    expect = load_recipe(report.source).recipe.expect
    if expect.lesions is not None:
        lesions, series = report.lesions()
        click.echo(
            f"  paper's Table 1: {expect.lesions} lesions in {expect.series} series; "
            f"here: {lesions} in {series}"
        )
