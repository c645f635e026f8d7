"""Recipes: what is known of each source, as data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uls_data.recipe.catalogue import (
        LoadedRecipe,
        load_recipe,
        recipe_names,
        recipe_problems,
        recipe_template,
    )
    from uls_data.recipe.model import Quirk, Recipe

__all__ = [
    "LoadedRecipe",
    "Quirk",
    "Recipe",
    "load_recipe",
    "recipe_names",
    "recipe_problems",
    "recipe_template",
]


def __getattr__(name: str) -> Any:
    # Workers are handed recipes, and do not need what reads them.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "model" if name in ("Quirk", "Recipe") else "catalogue"
    return getattr(import_module(f"{__name__}.{module}"), name)
