"""Rows of manifests that meet an expression."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errors import ManifestError
from uls_data.manifest.parquet import frame_of, load_manifest, manifest_files, read_rows, read_table
from uls_data.manifest.schema import column_names, document

if TYPE_CHECKING:
    import pandas as pd

_FLAG = "_flag_"
_EXAMPLE = 'Example: status == "ok" and long_axis_mm > 30 and flagged("cut_by_voi")'
# What an expression may call on a column; pandas has others that write files.
_METHODS = (
    "isna",
    "notna",
    "isin",
    "between",
    "abs",
    "str",
    "contains",
    "startswith",
    "endswith",
    "len",
)


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
        Columns of the answer. What the expression names is read first, and they only where a row
        meets it.

    Returns
    -------
    DataFrame
        Its index says which rows of the manifests they are, from 0.

    Raises
    ------
    ManifestError
        The expression is not one, or names what is not a column.
    """
    tree = _parsed(expression)
    wanted = None if columns is None else list(columns)
    if tree is None:
        return load_manifest(paths, wanted)
    flags = _Flags()
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    text = ast.unparse(flags.visit(tree))
    tested = sorted(names & set(column_names()) | {"status"})
    files = manifest_files(paths)
    table = read_table(files, sorted({*tested, "qc_flags"} if flags.found else tested))
    frame = frame_of(table.select(tested))
    for flag in flags.found:
        frame[_FLAG + flag] = _holds(table["qc_flags"], flag)
    try:
        met = frame.query(text, engine="python").index
    except Exception as error:
        raise ManifestError(f"query {expression!r}: {error}\n  {_EXAMPLE}") from error
    return frame_of(read_rows(files, list(met), wanted)).set_index(met)


def _holds(flags: pa.ChunkedArray, flag: str) -> NDArray[np.bool_]:
    """Whether each list holds a flag; null holds none."""
    lists = flags.combine_chunks()
    found = np.zeros(len(lists), dtype=bool)
    parents = pc.list_parent_indices(lists)
    found[parents.filter(pc.equal(pc.list_flatten(lists), flag)).to_numpy()] = True
    return found


def _parsed(expression: str) -> ast.Expression | None:
    """Syntax tree of an expression, known to hold nothing but a condition on columns."""
    if not expression.strip():
        return None
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ManifestError(
            f"query {expression!r}: not an expression ({error}).\n  {_EXAMPLE}"
        ) from error
    functions = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in _METHODS:
            raise ManifestError(
                f"query {expression!r}: .{node.attr} cannot be used; known: {', '.join(_METHODS)}"
            )
        if isinstance(node, ast.Name) and node in functions and node.id != "flagged":
            raise ManifestError(f"query {expression!r}: {node.id}() is not known; flagged() is")
        if isinstance(node, ast.Name) and node not in functions and node.id not in column_names():
            near = difflib.get_close_matches(node.id, column_names(), n=1)
            hint = f"did you mean {near[0]}?" if near else "text must stand in quotes."
            raise ManifestError(f"query {expression!r}: no column {node.id!r}; {hint}")
    return tree


class _Flags(ast.NodeTransformer):
    """Replace every `flagged("x")` by a column of its own, and remember which."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not isinstance(node.func, ast.Name):
            return self.generic_visit(node)
        match node.args:
            case [ast.Constant(value=str(flag))] if not node.keywords:
                if flag not in document()["closed_lists"]["qc_flags"]:
                    raise ManifestError(f"query: flagged({flag!r}): no such flag")
                self.found.add(flag)
                return ast.Name(_FLAG + flag, ast.Load())
        raise ManifestError('query: write flagged("name of a flag")')
