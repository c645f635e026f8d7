"""`uls-data mine`."""

from __future__ import annotations

from pathlib import Path

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, table
from uls_data.cli.progress_bar import Progress


@click.command(
    epilog="""\b
Examples:
  uls-data mine reports --out lesions.csv
  uls-data mine reports --out lesions.csv --lexicon words.yaml --json
"""
)
@click.argument("reports", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="TABLE.csv",
    help="Table to write.",
)
@click.option(
    "--lexicon",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="YAML",
    help="Words to add to English or Dutch, or another language.",
)
@json_option
def command(reports: Path, out: Path, lexicon: Path | None, as_json: bool) -> int:
    """Find measured lesions in radiology reports (txt, md, docx, HL7 ORU).

    REPORTS is a file or a folder. Each measurement becomes a row: axes in mm, series and image,
    lesion type, target or non-target, and the characters that it came from. Measurements that are
    not of a lesion seen now (organs, distances, earlier sizes, negations) are skipped rows with
    their reason. No other text of a report is written, except the names of files.
    """
    from uls_data.mining import mine

    with Progress("lesions", "files") as bar:
        found = mine(
            reports, out, lexicon=lexicon, started=bar.begin, progress=lambda n: bar.step(1, n)
        )
    if as_json:
        for row in found.rows:
            json_line(row)
    else:
        counts = sorted(found.counts().items())
        table(
            [[status, reason, count] for (status, reason), count in counts],
            ("status", "reason", "rows"),
        )
        click.echo(f"{len(found.lesions)} lesions in {found.reports} reports: {out}")
        next_step(f"look at the rows of {out} with the lowest confidence first")
    failures(found.failed, "report")
    return 1 if found.failed else 0
