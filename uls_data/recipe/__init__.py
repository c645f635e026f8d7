"""Recipes: what is known of each source, as data."""

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
