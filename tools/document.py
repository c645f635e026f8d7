"""`python -m tools.document`: write what is generated from the schemas.

The recipe's JSON Schema goes to `manifests/schema/recipe.schema.json`, the tables
of manifest columns and closed lists between marks in docs/data-model.md. A test holds them
current.
"""

from __future__ import annotations

import json
from pathlib import Path

from uls_data.manifest.schema import markdown
from uls_data.recipe import Recipe
from uls_data.resources import shipped

BEGIN = "<!-- columns: written by `make schema` -->"
END = "<!-- columns end -->"


def recipe_schema() -> str:
    """JSON Schema of a recipe, as text."""
    return json.dumps(Recipe.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def with_columns(page: str) -> str:
    """Return a page with the table of columns, as the schema has them, between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown()}{END}{after}"


def write() -> None:
    """Write both below the checkout."""
    schemas = shipped("manifests", "schema")
    (schemas / "recipe.schema.json").write_text(recipe_schema(), encoding="utf-8")
    page = Path(schemas.parent.parent, "docs", "data-model.md")
    page.write_text(with_columns(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
