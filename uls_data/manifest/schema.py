"""The manifest's schema: `manifests/schema/lesion.json` as Arrow types and as words."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pyarrow as pa

from uls_data.resources import shipped

VERSION_KEY = b"uls_data_schema_version"

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
    "list<float64>[16]": pa.list_(pa.float64(), 16),
    "list<struct<candidate: string, measure: string, value: float64>>": pa.list_(
        pa.struct([("candidate", pa.string()), ("measure", pa.string()), ("value", pa.float64())])
    ),
}


@cache
def document() -> dict[str, Any]:
    """Return the schema as its text says it: version, key, columns, closed lists."""
    text = shipped("manifests", "schema", "lesion.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def arrow_schema() -> pa.Schema:
    """Arrow schema of a manifest, with its version in the metadata."""
    fields = [pa.field(column["name"], _TYPES[column["type"]]) for column in document()["columns"]]
    return pa.schema(fields, metadata={VERSION_KEY: str(document()["version"]).encode()})


def column_names() -> list[str]:
    """All columns, in order."""
    return [column["name"] for column in document()["columns"]]


@cache
def columns_of(what: str) -> frozenset[str]:
    """Columns that belong to one thing: `row`, `scan`, `lesion`, `voi`, `measurement` or `mask`.

    Raises
    ------
    KeyError
        The schema knows no such thing.
    """
    if what not in document()["of"]:
        raise KeyError(what)
    return frozenset(column["name"] for column in document()["columns"] if column["of"] == what)


@cache
def columns_since(version: int) -> frozenset[str]:
    """Columns that a manifest of this version of the schema need not have."""
    return frozenset(c["name"] for c in document()["columns"] if c.get("since", 1) > version)


def markdown() -> str:
    """Table of the columns for README, one line a group."""
    groups: dict[str, list[str]] = {}
    for column in document()["columns"]:
        groups.setdefault(column["group"], []).append(f"`{column['name']}`")
    lines = ["| group | columns |", "|---|---|"]
    lines += [f"| {group} | {', '.join(names)} |" for group, names in groups.items()]
    return "\n".join(lines) + "\n"
