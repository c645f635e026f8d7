"""`uls-data contact-sheet`."""

from __future__ import annotations

from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option, next_step, quoted


@click.command(
    "contact-sheet",
    epilog="""\b
Examples:
  uls-data contact-sheet vois --to sheet.png
  uls-data contact-sheet vois/manifest/deeplesion.parquet --to worst.png \\
      --where 'layer == "jury" and predicted_dice < 0.8' --sort predicted_dice
  uls-data contact-sheet vois --to disputed.png --where 'agreement_level > 1' --sort -uncertainty
""",
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="PNG to write.")
@click.option("--where", default="", metavar="EXPRESSION", help="As for `uls-data query`.")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Smallest values of this column first; largest first with a minus: -uncertainty.",
)
@click.option("--limit", default=48, show_default=True, help="Maximum number of lesions.")
@click.option("--columns", default=2, show_default=True, help="Lesions per row.")
@json_option
def command(
    manifests: tuple[Path, ...],
    to: Path,
    where: str,
    sort: str | None,
    limit: int,
    columns: int,
    as_json: bool,
) -> int:
    """Draw lesions side by side: the slice with its lines, every mask, and the chosen one.

    The window is the lung's for lung lesions (level -500, width 1400), else level
    40, width 350. --where chooses the mask; without it, the first layer of a VOI. Padding is shown
    in a colour that no tissue has. Where several readers outlined a lesion, the slice is the one
    on which they differ most, and the last picture shows what only some of them marked: green
    inside the majority's mask, red outside of it.
    """
    from uls_data.pictures.contact import contact_sheet

    count = contact_sheet(list(manifests), to, where, limit=limit, columns=columns, sort=sort)
    if as_json:
        json_line({"lesions": count, "file": str(to)})
    else:
        click.echo(f"{count} lesions: {to}")
        next_step(f"uls-data triage {quoted(manifests[0])}, to judge them one by one")
    return 0
