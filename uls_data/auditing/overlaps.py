"""Sources with scans in common that no name tells: what recipes say of it (`overlaps`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from uls_data.recipe import load_recipe, recipe_names


@dataclass(frozen=True)
class Untold:
    """Two sources that hold some of the same scans; only voxels tell which.

    Attributes
    ----------
    sources : tuple of 2 str
        In alphabetical order.
    evidence : str
        How it is known.
    """

    sources: tuple[str, str]
    evidence: str


def untold(sources: Collection[str]) -> list[Untold]:
    """Pairs among some sources for which names settle nothing, by the shipped recipes."""
    found = []
    for name in recipe_names():
        recipe = load_recipe(name).recipe
        for one in recipe.overlaps:
            if one.told_by == "voxels" and {recipe.source, one.source} <= set(sources):
                first, second = sorted((recipe.source, one.source))
                found.append(Untold((first, second), " ".join(one.evidence.split())))
    return sorted(found, key=lambda it: it.sources)
