"""`uls-data index`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, workers_option
from uls_data.cli.progress_bar import Progress


@click.command(
    epilog="""\b
Examples:
  uls-data index annotations/ULS23 --out published.parquet
  uls-data index labels/kits21 --source kits21 --out kits21.parquet --workers 2
"""
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--source",
    default="auto",
    show_default=True,
    help="Source whose published names the files follow; auto: detected for every file.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Parquet file to write."
)
@workers_option
@json_option
def command(folder: Path, source: str, out: Path, workers: int, as_json: bool) -> int:
    """Write the manifest of an existing archive of VOIs, such as the published one.

    Reads labels (.nii.gz, or zipped .nii.gz.zip) below DIR, with or without images,
    measures them and hashes them. Columns that need the raw scan stay null.
    """
    from uls_data.manifest.index import index

    with Progress("labels", "labels") as bar:
        rows = index(
            folder,
            out,
            source=source,
            workers=workers,
            started=bar.begin,
            progress=lambda some: bar.step(len(some), len(some)),
        )
    failed = [row for row in rows if row["status"] == "failed"]
    if as_json:
        for row in sorted(rows, key=lambda row: (row["voi_id"], row["label_path"] or "")):
            json_line(row)
    else:
        for name, count in sorted(Counter(row["source"] for row in rows).items()):
            click.echo(f"  {name:22} {count}")
        failures(failed)
        click.echo(f"{len(rows)} rows, {len(failed)} failed. Manifest: {out}")
        next_step(f"uls-data stats {quoted(out)}")
    return 1 if failed else 0
