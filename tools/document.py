"""`python -m tools.document`: write what is generated from the schemas.

The recipe's JSON Schema goes to `manifests/schema/recipe.schema.json`, the tables
of manifest columns and closed lists between marks in docs/data-model.md, that of all recipes in
docs/collections.md, README and references of recipes to their folders, the type of a row to
`uls_data/manifest/row.py`. A test holds them current.
"""

from __future__ import annotations

import json

from tools.citations import generated
from tools.collections import with_recipes
from uls_data.manifest.schema import document, markdown
from uls_data.recipe import Recipe
from uls_data.recipe.part import build_parts
from uls_data.resources import shipped

BEGIN = "<!-- columns: written by `make schema` -->"
END = "<!-- columns end -->"
_PYTHON = {
    "string": "str",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "float64": "float",
    "list<string>": "list[str]",
    "list<float32>": "list[float]",
    "list<float64>[16]": "list[float]",
    "list<struct<candidate: string, measure: string, value: float64>>": "list[Score]",
}
_ROW_HEAD = '''"""A row of a manifest, as mypy reads it: a misspelt column is an error there.

Generated from `manifests/schema/lesion.json` by `make schema` (`python -m tools.document`):
change the schema, not this file. Behind each column is what it describes; the schema says what
that means, and `uls_data.manifest.schema.columns_of` returns it.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Score(TypedDict):
    """One score of one candidate mask."""

    candidate: str
    measure: str
    value: float


class Row(TypedDict, total=False):
    """Columns of a row, or those of them that were asked for; None is null."""

'''


def recipe_schema() -> str:
    """JSON Schema of a recipe, as text."""
    build_parts()  # see uls_data.recipe.catalogue
    return json.dumps(Recipe.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def with_columns(page: str) -> str:
    """Return a page with the table of columns, as the schema has them, between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown()}{END}{after}"


def row_module() -> str:
    """Text of the module that holds the type of a row and the names of its columns."""
    columns, filled = document()["columns"], document()["never_null"]
    null = {c["name"]: "" if c["name"] in filled else " | None" for c in columns}
    fields = [
        f"    {c['name']}: {_PYTHON[c['type']]}{null[c['name']]}  # {c['of']}" for c in columns
    ]
    names = [f"    {json.dumps(c['name'])}," for c in columns]
    column = ["", "", "Column = Literal[", *names, "]"]
    return _ROW_HEAD + "\n".join([*fields, *column]) + "\n"


def write() -> None:
    """Write them below the checkout."""
    schemas = shipped("manifests", "schema")
    (schemas / "recipe.schema.json").write_text(recipe_schema(), encoding="utf-8")
    root = schemas.parent.parent
    (root / "uls_data" / "manifest" / "row.py").write_text(row_module(), encoding="utf-8")
    page = root / "docs" / "data-model.md"
    page.write_text(with_columns(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = root / "docs" / "collections.md"
    page.write_text(with_recipes(page.read_text(encoding="utf-8")), encoding="utf-8")
    for path, text in generated():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
