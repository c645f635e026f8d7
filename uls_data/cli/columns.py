"""`uls-data columns`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from uls_data.cli.output import json_line, json_option, prose


@click.command(
    epilog="""\b
Examples:
  uls-data columns
  uls-data columns long_axis_mm
  uls-data columns axis
"""
)
@click.argument("name", metavar="[NAME]", required=False)
@json_option
def command(name: str | None, as_json: bool) -> int:
    """List the columns of manifests with type and meaning, or describe one in full.

    NAME is a column, or a part of the names of several. `since` is the first version of the schema
    that has the column; older manifests lack it.
    """
    from uls_data.errors import ManifestError, did_you_mean
    from uls_data.manifest.schema import document

    columns: list[dict[str, Any]] = document()["columns"]
    exact = [column for column in columns if column["name"] == name]
    found = exact or [column for column in columns if name is None or name in column["name"]]
    if not found:
        hint = did_you_mean(name or "", [column["name"] for column in columns])
        raise ManifestError(f"no column {name!r}.{hint} `uls-data columns` lists them")
    if as_json:
        for column in found:
            values = document()["closed_lists"].get(column["name"])
            json_line({"since": 1, **column, **({"values": values} if values else {})})
    elif exact:
        _whole(exact[0])
    else:
        _list(found)
    return 0


def _list(columns: Iterable[dict[str, Any]]) -> None:
    group = ""
    for column in columns:
        if column["group"] != group:
            group = column["group"]
            click.echo(f"{group}:")
        click.echo(f"  {_head(column)}")
        prose(column["meaning"], "      ")


def _whole(column: dict[str, Any]) -> None:
    from uls_data.manifest.schema import document

    click.echo(_head(column))
    prose(column["meaning"], "  ")
    prose(document()["of"][column["of"]], "  ", "  Of: ")
    values = document()["closed_lists"].get(column["name"])
    if values:
        click.echo("  Values:")
        for value, meaning in values.items():
            prose(meaning, "        ", f"    {value}: ")


def _head(column: dict[str, Any]) -> str:
    unit = f", {column['unit']}" if column["unit"] else ""
    return f"{column['name']}  {column['type']}{unit} (since {column.get('since', 1)})"
