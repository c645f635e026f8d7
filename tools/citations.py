"""README.md and CITATION.bib of recipes that have none written by hand, made from recipe.yaml.

`make schema` writes them. What is generated says so in its first line; other files are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from uls_data.recipe import Recipe, load_recipe, recipe_names

GENERATED = (
    "<!-- Generated from recipe.yaml by `make schema`: change the recipe, not this file. -->"
)
_ENTRY = re.compile(
    r"(?:(?P<authors>.*?\.) \((?P<year>\d{4})\), )?(?P<title>.+?)"
    r"(?: \((?P<late>\d{4})\))?(?:(?: \[Data ?set\])?, (?P<where>[^\[]+?))?"
    r",? (?P<kind>doi|arXiv)[.:](?P<id>\S+)"
)


def generated() -> Iterator[tuple[Path, str]]:
    """Path and text of each generated file, in the order of recipes."""
    for name in recipe_names():
        loaded = load_recipe(name)
        folder = loaded.path.parent
        page = folder / "README.md"
        if not page.exists() or page.read_text(encoding="utf-8").startswith(GENERATED):
            yield page, readme(loaded.recipe)
            yield folder / "CITATION.bib", bibtex(loaded.recipe)


def readme(recipe: Recipe) -> str:
    """Page about a source: how to get it, what to know of it, its licence, what to cite."""
    licence = recipe.licence
    shared = {True: "may be passed on", False: "must not be passed on", None: "not known"}
    access = [f"- {line.strip()}" for line in recipe.access]
    notes = [f"- {line.strip()}" for line in recipe.notes]
    held = (
        [f"Held out: {len(recipe.heldout_patients)} patients."] if recipe.heldout_patients else []
    )
    parts = [
        GENERATED,
        f"# {recipe.source}: {recipe.title}",
        "## Get it, and where to put it",
        "\n".join(access),
        f"Then build it: `uls-data build {recipe.source} --raw DIR --out OUT`.",
        *(["## What to know", "\n".join(notes)] if notes else []),
        *([f"Checked: {recipe.verified}."] if recipe.verified else []),
        *held,
        "## Licence",
        f"{licence.name}; VOIs {shared[licence.redistributable]}. {licence.evidence.strip()}",
        *([licence.url] if licence.url else []),
        "## Cite",
        f"{recipe.citation.strip()}. As BibTeX: `CITATION.bib`.",
    ]
    return "\n\n".join(parts) + "\n"


def bibtex(recipe: Recipe) -> str:
    """One entry for each reference of the recipe's citation."""
    entries = []
    for number, reference in enumerate(recipe.citation.strip().split("; "), 1):
        found = _ENTRY.fullmatch(reference)
        if found is None:
            raise ValueError(
                f"{recipe.source}: {reference!r} has no title and doi:... or arXiv:..."
            )
        title = found["title"]
        if title in ("images", "masks as DICOM"):
            title = f"{recipe.title} ({title})"
        fields = {
            "title": f"{{{title}}}",
            "author": _authors(found["authors"]),
            "year": found["year"] or found["late"],
            "howpublished": found["where"],
        }
        if found["kind"] == "doi":
            fields["doi"] = found["id"]
        else:
            fields |= {"eprint": found["id"], "archivePrefix": "arXiv"}
        body = ",\n".join(f"  {key:<13} = {{{value}}}" for key, value in fields.items() if value)
        entries.append(f"@misc{{{recipe.source}_{number},\n{body}\n}}\n")
    return "\n".join(entries)


def _authors(text: str | None) -> str:
    """`Moawad A.W. et al.` as BibTeX has it: `Moawad, A. W. and others`."""
    names = (text or "").replace(" et al.", " and others").split(" and ")
    return " and ".join(re.sub(r"^(.+) ((?:[A-Z]\.)+)$", _name, name) for name in names if name)


def _name(match: re.Match[str]) -> str:
    return f"{match[1]}, {' '.join(re.findall(r'[A-Z][.]', match[2]))}"
