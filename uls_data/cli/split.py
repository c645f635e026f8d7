"""`uls-data split`."""

from __future__ import annotations

from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option, table


@click.command(
    epilog="""\b
Examples:
  uls-data split vois --lesions 25 --by source --rest test
  uls-data split vois --lesions 10 --by lesion_type --name tuning --seed 3 --json
"""
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option(
    "--lesions", required=True, type=int, metavar="N", help="Lesions of each value of the column."
)
@click.option(
    "--by",
    default="source",
    show_default=True,
    metavar="COLUMN",
    help="Manifest column of text to balance by.",
)
@click.option("--name", default="validation", show_default=True, help="Name of the part.")
@click.option("--rest", metavar="NAME", help="Name of a second part, of all other patients.")
@click.option("--seed", default=0, show_default=True, type=int, help="Random seed for the draw.")
@json_option
def command(
    manifests: tuple[Path, ...],
    lesions: int,
    by: str,
    name: str,
    rest: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Draw a part of a set by patient, with as many lesions of each kind as wanted.

    Prints the patients in the form of a recipe (`splits`); the next build writes the part's name
    into `source_split`. No patient is in two parts, and the same seed draws the same patients.
    """
    from uls_data.manifest.set_parts import split

    found = split(list(manifests), lesions, by=by, name=name, rest=rest, seed=seed)
    parts = [part for part in (found.drawn, found.rest) if part is not None]
    if as_json:
        for part in parts:
            json_line({"part": part.name, "lesions": part.lesions, "patients": part.patients})
        return 0
    values = sorted({value for part in parts for value in part.lesions})
    rows = [
        [part.name, sum(map(len, part.patients.values())), *(part.lesions[it] for it in values)]
        for part in parts
    ]
    table(rows, ("part", "patients", *values))
    if short := {it: found.drawn.lesions[it] for it in values if found.drawn.lesions[it] < lesions}:
        said = ", ".join(f"{count} of {value}" for value, count in short.items())
        click.echo(f"Fewer than {lesions} lesions: {said}; no other patient fits", err=True)
    for words, count in found.left_out.items():
        click.echo(f"{count} lesions {words} are left out", err=True)
    for source in sorted({source for part in parts for source in part.patients}):
        click.echo(f"\nInto the recipe of {source}:\nsplits:")
        for part in parts:
            if ids := part.patients.get(source):
                click.echo(f"  {part.name}: [{', '.join(map(_quoted, ids))}]")
    return 0


def _quoted(patient: str) -> str:
    return "'" + patient.replace("'", "''") + "'"
