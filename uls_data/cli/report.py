"""`uls-data report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from uls_data.cli.folder import folder_options, view_of
from uls_data.cli.output import json_line, json_option, next_step, quoted
from uls_data.cli.progress_bar import Progress

_LISTED = 5


@click.command(
    epilog="""\b
Examples:
  uls-data report vois
  uls-data report vois --to shared/vois.html --columns lesion_type,long_axis_mm,hu_max
  uls-data report kept/manifest/round1.parquet --to kept --json
  uls-data report nnUNet_raw/Dataset007_Mine --to mine.html
"""
)
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="HTML file, or folder to write report.html into.  [default: OUT; for a folder without a "
    "manifest ./NAME-report.html]",
)
@click.option("--columns", metavar="A,B", help="Manifest columns to write below each picture.")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What `uls-data certify` wrote: adds its risk against coverage; may be repeated.",
)
@click.option("--top", default=10, show_default=True, help="Entries of each outlier ranking.")
@folder_options
@json_option
def command(
    out: Path,
    to: Path | None,
    columns: str | None,
    certificates: tuple[Path, ...],
    top: int,
    as_json: bool,
    **folder: Any,
) -> int:
    """Write one page about a build: what was built, how good it is, what to look at first.

    OUT is the folder of a build, or a manifest. It may also be a folder that was never built:
    nnU-Net raw data, pairs of volumes, DICOM with masks, or a JSON list of pairs. Such a folder is
    only read; its VOIs are cut into a cache. The page opens from disk and needs no network. It
    shows counts against the recipes' expectations, failures by reason, Table 1 and the paper's
    figures of this build, pseudo-mask quality, outliers by several rules, and pictures of all
    lesions to sort and filter by any column. Plots are beside it as SVG, PNG and CSV, in
    <name>-files, and so are the pictures if there are more than 2,000 masks.

    --json prints one object per entry of a ranking, then the report itself.
    """
    from uls_data.reporting import report

    given = [f" --{name} {quoted(folder[name])}" for name in ("values", "cache") if folder[name]]
    again = "".join([f"uls-data triage {quoted(out)}", *given])
    view = view_of(out, folder, as_json)
    if view is not None:
        out, to = view.out, view.outside(to or Path(f"{view.source}-report.html"))
    with Progress("pictures", "rows") as bar:
        made = report(
            out,
            to,
            columns=None if columns is None else [name.strip() for name in columns.split(",")],
            top=top,
            certificates=certificates,
            started=bar.begin,
            progress=lambda pictures: bar.step(1, pictures),
        )
    counts = {
        name: getattr(made, name)
        for name in ("rows", "vois", "skipped", "failed", "pictures", "made")
    }
    if as_json:
        for row in made.outliers:
            json_line({"kind": "outlier", **row})
        json_line(
            {"kind": "report", **counts, "missing": len(made.missing), "page": str(made.page)}
        )
    else:
        click.echo(
            f"{made.vois} VOIs, {made.pictures} pictures ({made.made} drawn now), "
            f"{made.skipped} skipped and {made.failed} failed rows."
        )
        for ranking in made.rankings:
            if ranking.suspects:
                first = ranking.suspects[0]
                click.echo(f"  {ranking.title}  {len(ranking.suspects)}: {first.words}")
        click.echo(f"Page: {made.page}\nPlots and tables: {made.files}")
        if made.outliers:
            next_step(f"{again} --list {quoted(made.files / 'outliers.csv')}")
        else:
            next_step(again)
    for voi, why in made.missing[:_LISTED]:
        click.echo(f"  no picture of {voi}: {why}", err=True)
    if len(made.missing) > _LISTED:
        click.echo(f"  ... and of {len(made.missing) - _LISTED} more", err=True)
    return 1 if made.missing else 0
