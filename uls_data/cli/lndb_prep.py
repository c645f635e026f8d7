"""`uls-data lndb-prep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.output import (
    SHOWN_FAILURES,
    failures,
    json_line,
    json_option,
    next_step,
    quoted,
    workers_option,
)
from uls_data.cli.progress_bar import Progress

if TYPE_CHECKING:
    from uls_data.factory.lndb_prep import Download, NameCheck, Prepared

_SHOWN = 10
_WHERE = "https://zenodo.org/records/8309612 (the challenge: https://lndb.grand-challenge.org)"
_LICENCE = (
    "LNDb is licensed CC BY-NC-ND: use these volumes yourself, but do not pass them on, whole or "
    "in part. The digest holds no image data and may be shared."
)


@click.command(
    epilog="""\b
Examples:
  uls-data lndb-prep --raw /data/LNDb --out vois --dry-run
  uls-data lndb-prep --raw /data/LNDb --out vois --workers 4 --write-digest lndb.txt
"""
)
@click.option("--raw", required=True, type=click.Path(path_type=Path), help="Your download.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@workers_option
@click.option(
    "--write-digest",
    "digest",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write hashes of the labels, for others to compare with theirs.",
)
@click.option("--dry-run", is_flag=True, help="Look at the download; write nothing.")
@json_option
def command(as_json: bool, **arguments: Any) -> int:
    """Make the LNDb part of the training set from your own download.

    LNDb may not be passed on, so everybody makes this part from their own download. The command
    says what is missing and where to get it, cuts the volumes, and compares the result with the
    lesion names and sizes that the ULS23 authors published. Run it again to continue an
    interrupted run.
    """
    from uls_data.factory.lndb_prep import prepare_lndb

    with Progress("lesions") as bar:
        prepared = prepare_lndb(
            **arguments,
            found=lambda download: _print_download(download, err=as_json),
            started=bar.begin,
            progress=lambda _case, rows: bar.step(1, sum(row["status"] == "ok" for row in rows)),
        )
    if as_json:
        json_line(_record(prepared))
    elif prepared.report is not None:
        _print_result(prepared, arguments["digest"])
    if prepared.report is None:
        return 0
    return 1 if prepared.report.failed else 0


def _print_download(download: Download, err: bool) -> None:
    from uls_data.factory.lndb_prep import WHOLE_MASKS, WHOLE_SCANS, WHOLE_TRAINING
    from uls_data.sources.lndb.find import TABLES

    def say(line: str = "") -> None:
        click.echo(line, err=err)

    say("What your download holds:")
    say(f"  CT scans         {download.scans} of {WHOLE_SCANS}")
    say(f"  readers' masks   {download.masks} of {WHOLE_MASKS}")
    say(f"  tables           {len(download.tables)} of {len(TABLES)}")
    say(f"  training scans   {download.complete} of {WHOLE_TRAINING} with every reader's mask")
    if download.missing_tables:
        say(f"Missing tables: {', '.join(download.missing_tables)}")
    for title, lines in (
        ("Volumes that are cut short (copy or unpack them again):", download.cut_short),
        ("Scans that cannot be built:", download.problems),
    ):
        if lines:
            say(title)
        for name, why in lines[:_SHOWN]:
            say(f"  {name}: {why}")
        if len(lines) > _SHOWN:
            say(f"  ... and {len(lines) - _SHOWN} more")
    if download.whole:
        say("Nothing is missing.")
    else:
        say(f"Get what is missing from {_WHERE}:")
        say(
            "  data0 to data5 (scans), masks, and trainset_csv (tables), unpacked below one folder."
        )
        if download.packed:
            say(f"  Still packed here: {', '.join(download.packed[:_SHOWN])}")
    say()


def _print_result(prepared: Prepared, digest: Path | None) -> None:
    report, names, table1 = prepared.report, prepared.names, prepared.table1
    assert report is not None and names is not None
    click.echo(
        f"Made {report.ok} volumes with labels; {report.skipped} rows skipped, "
        f"{report.failed} failed."
    )
    failures(report.failures(SHOWN_FAILURES), "case_id", report.failed)
    click.echo()
    click.echo("Compared with what the ULS23 authors published:")
    _print_names(names)
    _print_table1(table1)
    click.echo()
    click.echo(f"Table of all lesions: {report.manifest}")
    click.echo(f"Hash over all labels: {prepared.root_hash}")
    if digest is not None:
        click.echo(f"Digest to compare:    {digest}")
    click.echo(_LICENCE)
    next_step(f"uls-data report {quoted(report.manifest)}")


def _print_names(names: NameCheck) -> None:
    here = names.scans - len(names.scans_absent)
    click.echo(f"  lesion names   {names.same} of {names.lesions} are the same")
    click.echo(f"  scans          {names.scans_equal} of {here} built here have the same lesions")
    if names.scans_absent:
        click.echo(f"  not built here {len(names.scans_absent)} scans: {_some(names.scans_absent)}")
    for title, several in (
        ("published, not made here", names.missing),
        ("made here, not published", names.extra),
    ):
        if several:
            click.echo(f"  {title}: {_some(several)}")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _print_table1(table1: dict[str, float]) -> None:
    from uls_data.recipe import load_recipe

    expect = load_recipe("lndb").recipe.expect
    for axis, published in (("long", expect.long_axis_vox), ("short", expect.short_axis_vox)):
        if published is not None and table1["lesions"] > 1:
            here = f"{table1[f'{axis}_mean']:.2f} ± {table1[f'{axis}_std']:.2f}"
            click.echo(
                f"  {axis + ' axis':14} {here} pixels; published {published[0]} ± {published[1]}"
            )


def _record(prepared: Prepared) -> dict[str, Any]:
    download, report, names = prepared.download, prepared.report, prepared.names
    record: dict[str, Any] = {
        "scans": download.scans,
        "masks": download.masks,
        "tables": list(download.tables),
        "complete": download.complete,
        "whole": download.whole,
        "problems": [list(problem) for problem in download.problems],
        "cut_short": [list(found) for found in download.cut_short],
        "packed": list(download.packed),
    }
    if report is not None and names is not None:
        record |= {
            "manifest": str(report.manifest),
            "ok": report.ok,
            "skipped": report.skipped,
            "failed": report.failed,
            "names_same": names.same,
            "names_missing": list(names.missing),
            "names_extra": list(names.extra),
            "scans_equal": names.scans_equal,
            "scans_absent": list(names.scans_absent),
            "root_hash": prepared.root_hash,
            **prepared.table1,
        }
    return record
