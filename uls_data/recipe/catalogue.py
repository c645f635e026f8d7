"""Find, load and check recipes; shipped ones and a user's own work alike."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uls_data.errors import RecipeError, did_you_mean
from uls_data.recipe.model import Recipe
from uls_data.recipe.part import build_parts
from uls_data.resources import shipped
from uls_data.yaml_text import YamlError, read_yaml

MAXIMUM_RECIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe, where it came from, and the hash of what it says.

    `sha256` covers the validated content in canonical JSON: comments, order and
    layout of the YAML do not change it, nor do `fetch` and `overlaps`: wherever files came
    from, and whatever else holds them, the same is made of them.
    """

    recipe: Recipe
    path: Path
    sha256: str


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.parent.name for path in shipped("recipes").glob("*/recipe.yaml"))


def recipe_path(name_or_file: str) -> Path:
    """File of a shipped recipe's name, or of a user's own recipe.

    Raises
    ------
    RecipeError
        Neither a shipped name nor a file; the message suggests the nearest name.
    """
    if name_or_file in recipe_names():
        return shipped("recipes", name_or_file, "recipe.yaml")
    path = Path(name_or_file)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.is_file():
        return path
    hint = did_you_mean(name_or_file, recipe_names())
    raise RecipeError(
        f"{name_or_file}: neither a shipped recipe nor a file.{hint}\n"
        f"  Shipped: {', '.join(recipe_names())}.\n"
        "  `uls-data recipe new NAME` writes a recipe of your own to start from."
    )


def recipe_problems(name_or_file: str) -> list[str]:
    """Everything wrong with a recipe, one message a problem; empty if it is valid."""
    try:
        load_recipe(name_or_file)
    except RecipeError as error:
        return str(error).splitlines()
    return []


@cache
def load_recipe(name_or_file: str) -> LoadedRecipe:
    """Load and validate a recipe.

    Raises
    ------
    RecipeError
        Missing, not YAML, or not valid: each field with what was expected, what
        was found and how to correct it.
    """
    path = recipe_path(name_or_file)
    content = _content(path)
    _take_in_crosswalk(content, path)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        lines = [_explain(problem, content) for problem in error.errors(include_url=False)]
        raise RecipeError("\n".join(f"{path}: {line}" for line in lines)) from error
    # A set without parts is what it was before recipes could say any.
    left_out = {"fetch", "overlaps"} | (set() if recipe.splits else {"splits"})
    content = recipe.model_dump(mode="json", exclude=left_out)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return LoadedRecipe(recipe, path, hashlib.sha256(canonical.encode()).hexdigest())


def _content(path: Path) -> dict[str, Any]:
    """Fields of a recipe file, of which nothing is checked yet."""
    try:
        content = read_yaml(path, MAXIMUM_RECIPE_BYTES)
    except YamlError as error:
        raise RecipeError(str(error)) from error
    if not isinstance(content, dict):
        raise RecipeError(
            f"{path}: expected fields (`source: ...`), found {type(content).__name__}.\n"
            "  `uls-data recipe new NAME` writes one to start from."
        )
    return content


def _take_in_crosswalk(content: dict[str, Any], path: Path) -> None:
    """Put the table that a recipe names beside itself in the place of its name."""
    reader = content.get("reader")
    if not isinstance(reader, dict) or not isinstance(reader.get("crosswalk"), str):
        return
    folder, _, name = reader["crosswalk"].rpartition("/")
    beside = path.parent / name
    if folder in recipe_names():
        beside = shipped("recipes", folder, name)
    try:
        if beside.stat().st_size > MAXIMUM_RECIPE_BYTES:
            raise RecipeError(f"{beside}: larger than a crosswalk can be (1 MiB)")
        lines = beside.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: reader.crosswalk: {beside.name} cannot be read") from error
    rows = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
    reader["crosswalk"] = [
        {
            "case": row.get("case") or row.get("series_instance_uid") or "",
            "series_instance_uid": row.get("series_instance_uid") or "",
            "patient": row.get("patient") or "",
        }
        for row in rows
        if row.get("series_instance_uid")
    ]


def _explain(problem: Any, content: dict[str, Any]) -> str:
    """One problem as: field, what was expected, what was found, the fix."""
    # pydantic puts the name of the chosen alternative behind these two fields.
    loc = problem["loc"]
    place = [
        part for at, part in enumerate(loc) if at != 1 or loc[0] not in ("reader", "instances")
    ]
    field = ".".join(str(part) for part in place) or "recipe"
    found = problem.get("input")
    expected = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "missing":
            return f"{field}: missing. Add `{place[-1]}: ...`; {_meaning(place)}"
        case "extra_forbidden":
            known = _fields_beside(place, content)
            hint = did_you_mean(str(place[-1]), known) or f" Known here: {', '.join(known)}."
            return f"{field}: no such field.{hint} Otherwise remove it."
        case "union_tag_invalid" | "union_tag_not_found" | "enum" | "literal_error":
            said = problem.get("ctx", {})
            known = re.findall("'([^']*)'", said.get("expected_tags") or said.get("expected", ""))
            hint = did_you_mean(str(said.get("tag", found)), known)
            return f"{field}: {expected}; found {_short(found)}.{hint or ' Choose one of those.'}"
    return f"{field}: {expected}; found {_short(found)}. {_meaning(place)}"


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "..."


@cache
def _schema() -> dict[str, Any]:
    """JSON Schema of recipes: made once, for it reads the source of every part."""
    # Before version 2.13 pydantic cannot describe a default whose class is not built yet.
    build_parts()
    return Recipe.model_json_schema()


def _schema_at(place: list[Any]) -> dict[str, Any]:
    """Part of the JSON Schema that describes a place in a recipe."""
    schema = _schema()
    definitions = schema.get("$defs", {})
    here: dict[str, Any] = schema
    for part in place:
        options = [here, *here.get("oneOf", []), *here.get("anyOf", [])]
        options = [definitions.get(o.get("$ref", "").split("/")[-1], o) for o in options]
        nested: dict[str, Any] = {}
        for option in options:
            if isinstance(part, int) and "items" in option:
                nested = option["items"]
            elif part in option.get("properties", {}):
                nested = option["properties"][part]
        if not nested:
            return {}
        reference = nested.get("$ref", "").split("/")[-1]
        here = {**definitions.get(reference, {}), **nested}
    return here


def _meaning(place: list[Any]) -> str:
    meaning = " ".join(str(_schema_at(place).get("description", "")).split())
    return f"Meaning: {meaning}" if meaning else "See `uls-data recipe new`."


def _fields_beside(place: list[Any], content: dict[str, Any]) -> list[str]:
    here: Any = content
    for part in place[:-1]:
        here = here[part] if isinstance(here, dict | list) else {}
    schema = _schema_at(place[:-1])
    known = set(schema.get("properties", {}))
    definitions = _schema().get("$defs", {})
    for option in [*schema.get("oneOf", []), *schema.get("anyOf", [])]:
        known |= set(
            definitions.get(option.get("$ref", "").split("/")[-1], {}).get("properties", {})
        )
    return sorted(known)


def recipe_template(name: str, origin: str | None = None) -> str:
    """Commented text of a new recipe, for a user's own volumes or from a shipped one.

    Raises
    ------
    RecipeError
        The name cannot be a source's name, or there is no such recipe to start from.
    """
    path = shipped("recipes", "template.yaml") if origin is None else recipe_path(origin)
    content = _content(path)
    text = path.read_text(encoding="utf-8")
    reader = content.get("reader")
    if isinstance(reader, dict) and isinstance(reader.get("crosswalk"), str):
        old_table = reader["crosswalk"]
        text = text.replace(f"crosswalk: {old_table}", f"crosswalk: {path.parent.name}/{old_table}")
        _take_in_crosswalk(content, path)
    try:
        Recipe.model_validate({**content, "source": name})
    except ValidationError as error:
        raise RecipeError(
            f"{name!r} cannot name a source: use lower-case letters, digits and _, "
            "starting with a letter"
        ) from error
    old = content["source"]
    return (
        re.sub(rf"\b{old}\b", name, text)
        if origin is None
        else re.sub(rf"(?m)^source: {old}\b", f"source: {name}", text)
    )
