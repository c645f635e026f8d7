"""On what terms a source's VOIs may be passed on, and the texts that must go with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import RecipeError
from uls_data.manifest.row import Row
from uls_data.recipe import load_recipe, recipe_names
from uls_data.recipe.model import Recipe

_LARGEST_BIBTEX_BYTES = 1 << 20
_MAY = {
    True: "VOIs cut from it may be passed on, on these terms.",
    False: "VOIs cut from it MAY NOT be passed on.",
    None: "Whether VOIs cut from it may be passed on is NOT KNOWN.",
}


@dataclass(frozen=True)
class Terms:
    """A source's recipe, and its papers as BibTeX (empty where the recipe has none)."""

    recipe: Recipe
    bibtex: str

    @property
    def redistributable(self) -> bool | None:
        """Whether VOIs may be passed on; None: not known."""
        return self.recipe.licence.redistributable

    def licence_text(self) -> bytes:
        """`LICENCE.md` of the source."""
        recipe = self.recipe
        licence = recipe.licence
        lines = [
            f"# Licence of {recipe.source}: {recipe.title}",
            "",
            f"**{licence.name}**" + (f", <{licence.url}>" if licence.url else ""),
            "",
            _MAY[licence.redistributable],
            "",
            f"Read where: {_one_line(licence.evidence)}",
            "",
            "The VOIs and everything measured on them are adapted from this source and stand under",
            "its terms. What was changed is in ATTRIBUTION.md.",
        ]
        return ("\n".join(lines) + "\n").encode()

    def attribution_text(self) -> bytes:
        """`ATTRIBUTION.md` of the source."""
        recipe = self.recipe
        lines = [
            f"# Attribution of {recipe.source}: {recipe.title}",
            "",
            _one_line(recipe.licence.attribution or recipe.citation),
            "",
            f"Please cite: {_one_line(recipe.citation)}",
            "",
            f"Licence: {recipe.licence.name}"
            + (f", <{recipe.licence.url}>" if recipe.licence.url else ""),
            "",
            "Changed by this project: scans were turned to RAS by permuting and flipping, cut to",
            "256 x 256 x 128 voxels round a lesion, and padded; nothing was resampled. Masks keep",
            "one lesion. The manifest says for every mask where it comes from (`layer`).",
        ]
        return ("\n".join(lines) + "\n").encode()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def all_terms(recipes: Sequence[Path]) -> dict[str, Terms]:
    """Terms of every shipped source, and of the sources of further recipe files.

    Raises
    ------
    RecipeError
        A file is not a valid recipe, or lifts the ban of a shipped one.
    """
    found = {name: _terms(name) for name in recipe_names()}
    for path in recipes:
        own = _terms(str(path))
        source = own.recipe.source
        shipped = found.get(source)
        if shipped is not None and shipped.redistributable is False and own.redistributable:
            raise RecipeError(
                f"{path}: {source} may not be passed on ({shipped.recipe.licence.name}); a recipe "
                "of your own cannot change that"
            )
        found[source] = own
    return found


def _terms(name: str) -> Terms:
    loaded = load_recipe(name)
    path = loaded.path.parent / "CITATION.bib"
    try:
        bibtex = ""
        if path.is_file() and path.stat().st_size <= _LARGEST_BIBTEX_BYTES:
            bibtex = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    return Terms(loaded.recipe, bibtex)


def check_terms(source: str, terms: Terms | None, rows: Iterable[Row]) -> list[str]:
    """Say what is missing or contradictory in the terms of a source."""
    if terms is None:
        return [f"{source}: no licence terms; give its recipe with --recipe FILE"]
    licence = terms.recipe.licence
    problems = []
    if licence.redistributable and licence.name == "unknown":
        problems.append(f"{source}: missing licence terms: its recipe names no licence")
    said = {(row["licence"], row["redistributable"]) for row in rows}
    other = sorted(f"{name}, redistributable {may}" for name, may in said - {_pair(terms)})
    if other:
        problems.append(
            f"{source}: its rows say {'; '.join(other)}; its recipe now says {licence.name}, "
            f"redistributable {licence.redistributable}: run `uls-data build` again"
        )
    return problems


def _pair(terms: Terms) -> tuple[str, bool | None]:
    return terms.recipe.licence.name, terms.redistributable


def closed_sources(terms: dict[str, Terms]) -> list[str]:
    """Say which sources may not be passed on, and what to do; nothing where all may be."""
    closed = sorted(name for name, its in terms.items() if not its.redistributable)
    if not closed:
        return []
    lines = [
        f"{name}: {_MAY[terms[name].redistributable]} ({terms[name].recipe.licence.name})"
        for name in closed
    ]
    if "lndb" in closed:
        lines.append(
            "lndb: leave it out; everybody makes these VOIs alone, from their own download, by "
            "`uls-data lndb-prep --raw DIR --out OUT`; both manifests together are complete"
        )
    if any(terms[name].redistributable is None for name in set(closed) - set(recipe_names())):
        lines.append(
            "If you know that they may be: redistributable: true in its recipe, then build it again"
        )
    others = sorted(terms.keys() - set(closed))
    if others:
        chosen = " ".join(f"--source {name}" for name in others)
        lines.append(f"What may be passed on: the same command with {chosen}")
    lines.append("For your own use at one place: --local-only, which marks every part so")
    return lines
