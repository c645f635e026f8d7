"""`uls-data recipe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from uls_data.cli.output import json_line, json_option, next_step, prose, quoted, table
from uls_data.cli.suggesting import Suggesting

if TYPE_CHECKING:
    from uls_data.recipe.model import MinimumSize


@click.group(cls=Suggesting)
def command() -> None:
    """List, show, check and start recipes, which describe each source."""


@command.command("list", epilog="Example: uls-data recipe list")
@json_option
def list_(as_json: bool) -> int:
    """List the shipped recipes."""
    from uls_data.recipe import load_recipe, recipe_names

    recipes = [load_recipe(name).recipe for name in recipe_names()]
    if as_json:
        for recipe in recipes:
            json_line(recipe.model_dump(mode="json"))
        return 0
    rows = [
        (
            recipe.source,
            recipe.lesion_type.value,
            recipe.expect.lesions,
            "yes" if recipe.reader.name != "archive_only" else "index only",
            recipe.licence.name,
            {True: "yes", False: "no", None: "unknown"}[recipe.licence.redistributable],
            recipe.title,
        )
        for recipe in recipes
    ]
    table(rows, ("source", "type", "lesions", "builds", "licence", "redistributable", "title"))
    return 0


def _size_rule(rule: MinimumSize | None) -> str:
    if rule is None:
        return "none"
    return f"{rule.measure} {'>' if rule.exclusive else '>='} {rule.at_least:g}"


@command.command(epilog="Example: uls-data recipe show lits")
@click.argument("recipe", metavar="NAME|FILE", required=False)
@click.option("--quirks", is_flag=True, help="Say what each quirk does; needs no recipe.")
@json_option
def show(recipe: str | None, quirks: bool, as_json: bool) -> int:
    """Show one recipe: licence, how to get the data, and the rules."""
    from uls_data.recipe import load_recipe

    if recipe is None:
        if not quirks:
            raise click.UsageError("Missing argument 'NAME|FILE' (only --quirks goes without).")
        _print_quirks(as_json)
        return 0
    loaded = load_recipe(recipe)
    it = loaded.recipe
    if as_json:
        json_line({**it.model_dump(mode="json"), "recipe_sha256": loaded.sha256})
        return 0
    allowed = {True: "may be passed on", False: "may NOT be passed on", None: "unknown"}
    click.echo(f"{it.source}: {it.title} (recipe version {it.recipe_version})")
    click.echo(f"Licence: {it.licence.name}; VOIs: {allowed[it.licence.redistributable]}.")
    prose(" ".join(it.licence.evidence.split()), "  ")
    prose(" ".join(it.citation.split()), "  ", "Cite: ")
    click.echo("Get it:")
    for at, step in enumerate(it.access, 1):
        prose(" ".join(step.split()), "     ", f"  {at}. ")
    for line in it.reader.described():
        click.echo(line)
    click.echo(f"Lesions: {it.instances.model_dump_json()}; annotated: {it.annotation_scope}")
    click.echo(f"Minimum size: {_size_rule(it.minimum_size)}")
    click.echo(f"VOI names: {it.voi_name}")
    click.echo(f"Quirks: {', '.join(it.quirks) or 'none'}")
    if quirks:
        _print_quirks(as_json)
    click.echo(f"Held-out patients: {len(it.heldout_patients)}")
    if it.expect.counts is not None and it.fetch is not None and it.fetch.idc is not None:
        counts = it.expect.counts
        click.echo(
            f"Index (idc-index-data {it.fetch.idc.index}): {counts.objects} objects "
            f"({counts.with_images} in studies with CT) of {counts.patients} patients; "
            f"{counts.images} CT series, {counts.gigabytes:g} GB in all"
        )
    if it.expect.lesions is not None:
        click.echo(f"Paper's Table 1: {it.expect.lesions} lesions in {it.expect.series} series")
    for overlap in it.overlaps:
        evidence = " ".join(overlap.evidence.split())
        prose(f"{overlap.source} (told by {overlap.told_by}): {evidence}", "  ", "Same scans in: ")
    for note in it.notes:
        prose(" ".join(note.split()), "  ", "Note: ")
    click.echo(f"File: {loaded.path}")
    return 0


def _print_quirks(as_json: bool) -> None:
    from uls_data.recipe.model import QUIRK_MEANING

    for quirk, meaning in QUIRK_MEANING.items():
        if as_json:
            json_line({"quirk": quirk.value, "meaning": meaning})
            continue
        prose(meaning, "    ", f"  {quirk}: ")


@command.command(
    epilog="Example: uls-data recipe check my_source.yaml",
    short_help="Check a recipe; name each wrong field and the fix.",
)
@click.argument("recipe", metavar="NAME|FILE")
@json_option
def check(recipe: str, as_json: bool) -> int:
    """Check a recipe: name each wrong field, what was expected, and the fix."""
    from uls_data.fetching.wanted import list_problems
    from uls_data.recipe import load_recipe, recipe_problems

    problems = recipe_problems(recipe) or list_problems(load_recipe(recipe))
    for problem in problems:
        if as_json:
            json_line({"recipe": recipe, "problem": problem})
        else:
            click.echo(problem)
    if problems:
        return 2
    loaded = load_recipe(recipe)
    if as_json:
        json_line({"recipe": recipe, "source": loaded.recipe.source, "sha256": loaded.sha256})
    else:
        click.echo(f"{recipe}: valid. {loaded.recipe.title} ({loaded.recipe.licence.name})")
        left = loaded.path.read_text(encoding="utf-8").count("EDIT")
        if left > 1:  # the heading names the word once
            click.echo(f"{left - 1} lines are still marked EDIT: check them, and remove the word")
        next_step(f"uls-data build {quoted(recipe)} --raw DIR --out OUT --dry-run")
    return 0


@command.command(
    epilog="""\b
Examples:
  uls-data recipe new my_source --raw /data/mine
  uls-data recipe new my_kits --from kits21
"""
)
@click.argument("name")
@click.option("--from", "origin", metavar="NAME", help="Start from a shipped recipe instead.")
@click.option(
    "--raw",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Look at this folder of raw data first, and propose layout, values and names.",
)
@click.option("--force", is_flag=True, help="Overwrite a file of that name.")
@json_option
def new(name: str, origin: str | None, raw: Path | None, force: bool, as_json: bool) -> int:
    """Write NAME.yaml, a commented recipe to edit, to the current folder.

    With --raw, propose a recipe for this data: pairs of volumes, or DICOM series with RTSTRUCT, SEG
    or mask volumes. Prints values and names with counts, and what the data do not say.
    """
    from uls_data.errors import RecipeError
    from uls_data.io import write_bytes
    from uls_data.recipe import recipe_template

    path = Path(f"{name}.yaml")
    if raw is not None and origin is not None:
        raise click.UsageError("--raw and --from are two ways to begin; give one")
    if raw is not None:
        from uls_data.sources.proposing import propose_recipe

        proposal = propose_recipe(name, raw)
        text, seen, unsure = proposal.text, proposal.seen, proposal.unsure
    else:
        text, seen, unsure = recipe_template(name, origin), [], []
    if path.exists() and not force:
        raise RecipeError(f"{path} exists already; --force overwrites it")
    write_bytes(path, text.encode("utf-8"))
    if as_json:
        json_line({"file": str(path), "from": origin, "seen": seen, "unsure": unsure})
    else:
        for line in seen:
            click.echo(line)
        if unsure:
            click.echo("What it could not tell:")
        for line in unsure:
            prose(line, "    ", "  - ")
        click.echo(f"Wrote {path}. Edit it.")
        next_step(f"uls-data recipe check {quoted(path)}")
    return 0
