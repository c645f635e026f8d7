"""Rows of manifests that meet an expression."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uls_data.errors import ManifestError
from uls_data.manifest.schema import column_names, document
from uls_data.manifest.table import load_manifest

if TYPE_CHECKING:
    import pandas as pd


def query(
    paths: str | Path | Sequence[str | Path],
    expression: str = "",
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows that meet a pandas query expression.

    Parameters
    ----------
    expression : str
        Such as `status == "ok" and long_axis_mm > 30`; empty takes every row.
        `flagged("cut_by_voi")` asks for a quality flag.
    columns : sequence of str, optional
        Columns of the answer. Others that the expression names are read but not returned.

    Raises
    ------
    ManifestError
        The expression is not one, or names what is not a column.
    """
    known = column_names()
    named = _names(expression)
    flags = _flags(expression)
    wanted = None if columns is None else list(columns)
    needed = None
    if wanted is not None:
        extra = ["qc_flags"] if flags else []
        needed = [c for c in known if c in {*wanted, *named, *extra}]
        for column in wanted:
            if column not in known:
                needed.append(column)  # load_manifest names it in its message
    frame = load_manifest(paths, needed)
    if expression.strip():
        for flag in flags:
            frame[f"_flag_{flag}"] = [flag in row for row in frame["qc_flags"]]
        text = expression
        for flag in flags:
            for quote in ("'", '"'):
                text = text.replace(f"flagged({quote}{flag}{quote})", f"_flag_{flag}")
        try:
            frame = frame.query(text, engine="python")
        except Exception as error:
            raise ManifestError(
                f"query {expression!r}: {error}\n"
                '  Example: status == "ok" and long_axis_mm > 30 and flagged("cut_by_voi")'
            ) from error
        frame = frame.drop(columns=[f"_flag_{flag}" for flag in flags])
    return frame if wanted is None else frame[wanted]


def _names(expression: str) -> set[str]:
    """Names that an expression uses; refuses what is not plain data."""
    if not expression.strip():
        return set()
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise ManifestError(
            f"query {expression!r}: not an expression ({error.msg}).\n"
            '  Example: status == "ok" and long_axis_mm > 30'
        ) from error
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    unknown = names - set(column_names()) - {"flagged", "True", "False"}
    if unknown:
        name = sorted(unknown)[0]
        near = difflib.get_close_matches(name, column_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "text must stand in quotes."
        raise ManifestError(f"query {expression!r}: no column {name!r}; {hint}")
    if any(
        isinstance(node, ast.Attribute) and node.attr.startswith("_") for node in ast.walk(tree)
    ):
        raise ManifestError(f"query {expression!r}: names with _ in front cannot be used")
    return names


def _flags(expression: str) -> list[str]:
    if not expression.strip():
        return []
    flags = []
    for node in ast.walk(ast.parse(expression.strip(), mode="eval")):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            match node.args:
                case [ast.Constant(value=str(flag))] if node.func.id == "flagged":
                    if flag not in document()["closed_lists"]["qc_flags"]:
                        raise ManifestError(f"query {expression!r}: no flag {flag!r}")
                    flags.append(flag)
                case _:
                    raise ManifestError(f'query {expression!r}: write flagged("name of a flag")')
    return sorted(set(flags))
